"""rules - every rule of the restorable set, kept and broken on purpose (tests/accept/02-right-by-every-rule)

One site makes a good set on ground that has every trap (two majors, open transactions, cold PGs with new indexes, a
tablegroup, moving multi_version_start), then one set per seeded bug. A set is judged by the stand-in's own restore, which
must be equal for the good set and wrong or refused for the others; a bug that did not strike is a failure of its line.
"""
import contextlib
import json
import os
import re
import sqlite3
import threading
import time

import first_whole_path as path
import harness
import rules_sql
from rules_ground import TENANT, Ground, Unsettled, arm, compacted, new_index, no_prep, odd_assist, restoring
from rules_ground import trans_always_behind, trans_behind, why

# rule, bug, preparation, restore at S + 1 instead of now
BROKEN_SETS = (
    ("A3 a: position and sstables of one moment", "bug.a3a_position_of_the_end", Unsettled, False),
    ("A3 a: transaction states reach the position", "bug.a3a_trans_not_compared", trans_always_behind, False),
    ("A3 b: one major an index", "bug.a3b_two_majors", no_prep, False),
    ("A3 c: minors up to the position", "bug.a3c_minor_short", no_prep, False),
    ("A3 c: transaction states are copied", "bug.a3c_no_trans", no_prep, False),
    ("A3 d: schema version of a cold PG is raised to S_v", "bug.a3d_schema_version_small", new_index, False),
    ("A3 e: no replica that is being restored", "bug.a3e_replica_state", restoring, False),
    ("A3 f: S is not below what the copies keep", "bug.a3f_s_below_l", compacted, True),
    ("A5: layout 4 only", "bug.a5_layout_1", no_prep, False),
    ("A6: every system PG", "bug.a6_sys_pg_missing", no_prep, False),
    ("A6: every tablegroup PG", "bug.a6_tablegroup_missing", no_prep, False),
    ("A8: cluster version is a known release", "bug.a8_build_version", no_prep, False),
    ("D22: locality is never empty", "bug.d22_locality_empty", no_prep, False),
)
QUICK = ("bug.a3b_two_majors",)


class Kept:
    """Sets made by every rule: one on quiet ground, one under each trouble that a rule is about."""

    def __init__(self, ground, quick):
        self.ground, self.quick, self.set_dir, self.log = ground, quick, None, []
        self.quiet = self.troubled = ("no set", False)

    def on_quiet_ground(self):
        g = self.ground
        g.two_majors()
        for _ in range(2):  # rows of open transactions get into minors
            time.sleep(0.7)
            g.freeze()
        g.compact()
        g.new_index()
        began = g.now()
        answer, self.set_dir = g.backup()
        self.log = [e for e in g.sql_log(began) if e["ts"] <= g.now()]
        if not g.good(answer):
            return False, f"no good set: {why(answer)}"
        self.snapshot = g.snapshot(self.set_dir)
        times = (self.snapshot + 1,) if self.quick else (self.snapshot + 1, g.now())
        found = [g.judge(self.set_dir, at) for at in times]
        self.quiet = ", later ".join(text for text, _ in found), all(equal for _, equal in found)
        return self.quiet[1], self.quiet[0]

    def in_trouble(self):
        g = self.ground
        with trans_behind(g), restoring(g):
            with Unsettled(g):
                answer, made = g.backup()
        if not g.good(answer):
            return False, f"no good set: {why(answer)}"
        self.troubled = g.judge(made, g.now())
        return self.troubled[1], self.troubled[0]


def broken_set(ground, kept, bug, prep, at_snapshot):
    g = ground
    before = g.strikes(bug)
    with prep(g):
        answer, made = g.backup(bug)
    struck = g.strikes(bug) - before
    if made and g.good(answer):
        text, equal = g.judge(made, g.snapshot(made) + 1 if at_snapshot else g.now())
    else:
        text, equal = f"no good set: {why(answer)}", False
    good = kept.quiet if prep in (no_prep, new_index, compacted) else kept.troubled
    return good[1] and struck > 0 and not equal, (
        f"kept: {'equal' if good[1] else good[0]}; broken ({struck} strikes): {text}")


def until_equals_s(ground, kept):
    """A2: refused by the product; with the bug it is offered, and the stand-in loses what lies behind the copies."""
    g, s = ground, kept.snapshot
    code, answer = restore_at(g, s)
    refused = code == 6 and harness.rfc3339(s + 1) in json.dumps(answer)
    g.bugs("bug.a2_until_equals_s")
    offered = min(w["from_us"] for t in g.site.cli("window")["tenants"] for w in t["windows"])
    g.bugs("")
    text, equal = g.judge(kept.set_dir, s)
    struck = g.strikes("bug.a2_until_equals_s")
    return refused and struck > 0 and offered == s and not equal, (
        f"kept: exit {code}, window begins at S + 1 us; broken ({struck} strikes): S offered, restore there: {text}")


def restore_at(g, at):
    return g.site.cli_raw("restore", "start", "--tenant", g.site.tenant_name(TENANT), "--to", "no", "--at", harness.rfc3339(at),
                          "--target", "standby", "--pool", "pool_no", "--wait", timeout=60)


def check_odd_assist(ground, kept):
    """A3 e: a table of before 1.4.3 is refused; the restore would not find its blocks by the key that it makes."""
    g, bug = ground, "bug.a3e_odd_assist"
    with odd_assist(g):
        answer, made = g.backup()
        refused = not g.good(answer) and "1.4.3" in json.dumps(answer)
        before = g.strikes(bug)
        answer, made = g.backup(bug)
        text, equal = g.judge(made, g.now()) if made and g.good(answer) else (f"no set: {why(answer)}", False)
    struck = g.strikes(bug) - before
    return kept.quiet[1] and refused and struck > 0 and not equal, (
        f"kept: the set fails and names it; broken ({struck} strikes): {text}")


# ---- A7: what must hold before a set is begun
@contextlib.contextmanager
def state(g, set_it, undo):
    verb, args = set_it
    g.ctl(verb, **args)
    try:
        yield
    finally:
        verb, args = undo
        g.ctl(verb, **args)


def sysvar(value):
    return "sysvar", {"tenant": TENANT, "name": "ob_timestamp_service", "value": value}


def parameter(name, value, host):
    return "parameter", {"name": name, "value": value, "host": host}


# what, bug or None, state, the normal state, word of the refusal
PRECONDITIONS = (
    ("GTS", "bug.a7_gts", sysvar("0"), sysvar("1"), "timestamp"),
    ("primary cluster", "bug.a7_standby", ("cluster_role", {"value": "PHYSICAL STANDBY"}),
     ("cluster_role", {"value": "PRIMARY"}), "standby"),
    ("no upgrade mode", "bug.a7_upgrade", parameter("enable_upgrade_mode", "True", 0),
     parameter("enable_upgrade_mode", "False", 0), "upgrade"),
    ("one min_observer_version", None, parameter("min_observer_version", "3.1.4", 2),
     parameter("min_observer_version", "3.1.5", 2), "upgrade"),
    ("tenant NORMAL", "bug.a7_tenant_state", ("tenant", {"op": "status", "tenant": TENANT, "value": "TENANT_STATUS_RESTORE"}),
     ("tenant", {"op": "status", "tenant": TENANT, "value": "TENANT_STATUS_NORMAL"}), "no user tenant"),
    ("base_backup_version", "bug.a7_base_version", ("backup_info", {"tenant": TENANT, "name": "base_backup_version", "value": "99"}),
     ("backup_info", {"tenant": TENANT, "name": "base_backup_version"}), "no tenant can be backed up"),
)


def precondition(ground, bug, bad, normal, word):
    """Refused with its reason; with the bug a set is made that only a real cluster would show to be wrong."""
    g = ground
    before = g.strikes(bug) if bug else 0
    with state(g, bad, normal):
        answer, made = g.backup()
        refused = made is None and word in json.dumps(answer)
        text = f"kept: {why(answer)}"
        if not bug:
            return refused, text
        answer, made = g.backup(bug)
        taken = g.good(answer)
    struck = g.strikes(bug) - before
    return refused and struck > 0 and taken, f"{text}; broken ({struck} strikes): {'a set is made' if taken else why(answer)}"


# ---- A9, A10: which set a restore from a cluster's root picks
def exact_incremental(ground):
    """No set is offered at S; the stand-in's restore of an incremental at exactly its S asks for pieces all the same."""
    spans = [w for t in ground.site.cli("window")["tenants"] for w in t["windows"]]
    snapshots = {ground.snapshot(d) for d in ground.set_dirs() if os.path.exists(f"{d}/single_backup_set_info")}
    behind = bool(spans) and all(w["from_us"] - 1 in snapshots and w["from_us"] not in snapshots for w in spans)
    code, out = ground.accept.command([harness.PYTHON, "tests/reader/test_rules.py", "-v", "-k", "incremental"], 120)
    ran = re.findall(r"^(test_\w+) .*\.\.\. ok$", out, re.M)
    return behind and code == 0 and bool(ran), (
        f"{len(spans)} windows begin at S + 1 us; stand-in's restore of an incremental at S refused: {', '.join(ran) or out[-100:]}")


class Pause:
    """The coordinator sleeps once the entries of a running set are stored."""

    def __init__(self, ground, ms):
        self.file = ground.site.fault_files["coordinator"]
        arm(ground, f"coordinator.backup_scheduled sleep:{ms} 1")

    def wait(self):
        harness.wait_for("the set's first entries", 60, lambda: os.path.exists(self.file + ".fired"), step=0.05)
        os.unlink(self.file + ".fired")


def picked_while_doing(ground, bug):
    """Name of the set that a restore from the root picks while another is DOING, or why it is refused."""
    g, done = ground, []
    pause = Pause(g, 6000)
    thread = threading.Thread(target=lambda: done.append(g.backup(bug)))
    thread.start()
    try:
        pause.wait()
        at = g.now()
        g.reach(at)
        result = g.restore(at, root=g.site.dest, preview=True)
        running = not done
    finally:
        thread.join()
    if not running:
        raise harness.Failure("the set had ended before the restore picked one")
    if result["rc"]:
        return None, f"refused {result['rc']}: {result['message'][:80]}"
    return os.path.basename(result["backup_set_list"][-1]), os.path.basename(result["backup_set_list"][-1])


def doing_result(ground):
    g, bug = ground, "bug.a10_doing_result_0"
    sets = {os.path.basename(d) for d in g.set_dirs()}
    kept, _ = picked_while_doing(g, "")
    before = g.strikes(bug)
    broken, text = picked_while_doing(g, bug)
    struck = g.strikes(bug) - before
    return kept in sets and broken not in sets and struck > 0, (
        f"kept: {kept} is picked while a set is DOING; broken ({struck} strikes): {text}")


# ---- A1: versions that a tenant keeps for its backup
def pinned(ground):
    """The variable is raised while a set is made and set back, also after a kill; with the bug it stays raised."""
    g, bug, wanted = ground, "bug.a1_pin_left", 600
    pins = [{"tenant": g.site.tenant_name(TENANT), "user": f"obv_pin@{g.site.tenant_name(TENANT)}",
             "password_file": g.site.password_file(), "undo_retention_s": wanted}]

    def value():
        db = sqlite3.connect(f"file:{g.site.path('source', 'shared', 'cluster.db')}?mode=ro", uri=True, timeout=20)
        with contextlib.closing(db):
            return int(db.execute("SELECT value FROM __all_virtual_sys_variable WHERE tenant_id = ? AND name ="
                                  " 'undo_retention'", (TENANT,)).fetchone()[0])

    def during(seed=""):
        """(values seen while a set was made, its answer)"""
        done, seen = [], set()
        thread = threading.Thread(target=lambda: done.append(g.backup(seed)))
        thread.start()
        while thread.is_alive():
            seen.add(value())
            time.sleep(0.1)
        return seen, done[0][0]

    def back():
        with contextlib.suppress(harness.Failure):
            harness.wait_for("undo_retention", 12, lambda: value() == before)
        return value() == before

    def again():
        g.site.coordinator.stop()
        g.site.start_coordinator(extra_env=g.env, pins=pins)

    before = value()
    again()
    seen, answer = during()
    kept = seen == {before, wanted} and g.good(answer) and back()
    arm(g, "coordinator.pin_taken kill 1")
    g.site.cli_raw("backup", "start", timeout=60)
    harness.wait_for("the coordinator's death", 30, lambda: not g.site.coordinator.alive())
    left = value()
    g.site.start_coordinator(extra_env=g.env, pins=pins)
    harness.wait_for("the end of its set", 120, lambda: not [j for j in g.site.cli("job", "list", "--running")["jobs"]
                                                             if j["job_id"].startswith("backup")])
    killed = left == wanted and back()
    g.bugs(bug)
    during(bug)
    g.bugs(bug)
    broken = not back()
    g.bugs("")
    struck = g.strikes(bug)
    healed = back()
    return kept and killed and broken and healed and struck > 0, (
        f"kept: {before} s, {wanted} s during the set, {before} s again{'' if killed else ', NOT after a kill'}"
        f"{', also after a kill' if killed else ''}; broken ({struck} strikes): {'left raised' if broken else 'set back'}")


# ---- D22: names
def tenant_names(ground, kept):
    """A tenant is renamed: a restore from the root finds it by the name that it had at that time."""
    g, bug = ground, "bug.d22_old_names_lost"
    old = g.site.tenant_name(TENANT)
    g.ctl("tenant", op="rename", tenant=TENANT, name="renamed")

    def find(at, name, seed=""):
        answer, _ = g.backup(seed)
        if not g.good(answer):
            raise harness.Failure(f"no good set: {why(answer)}")
        return g.restore(at, root=g.site.dest, name=name, preview=True)

    early = kept.snapshot + 1
    right = find(early, old)
    now = g.now()
    g.reach(now)
    renamed = g.restore(now, root=g.site.dest, name="renamed", preview=True)
    before = g.strikes(bug)
    wrong = find(early, old, bug)
    struck = g.strikes(bug) - before
    g.ctl("tenant", op="rename", tenant=TENANT, name=old)
    return right["rc"] == 0 and renamed["rc"] == 0 and wrong["rc"] != 0 and struck > 0, (
        f"kept: found by the old and the new name; broken ({struck} strikes): {wrong['rc']} {wrong['message'][:80]}")


# ---- the list -------------------------------------------------------------------------------------------------------
def always(accept, what, function):
    """A check that others stand on: done also when another one is asked for alone."""
    if accept.only and accept.only not in what:
        function()
    else:
        accept.check(what, function)


def check(accept, quick, seed):
    with path.new_site(accept, 120, tenants=(TENANT,)) as site:
        ground = Ground(accept, site, seed).begin()
        kept = Kept(ground, quick)
        always(accept, "rules kept: restore equal at S + 1 us and later", kept.on_quiet_ground)
        if not kept.quiet[1]:
            return
        accept.check("A2: UNTIL == S", until_equals_s, ground, kept)
        if not quick:
            always(accept, "rules kept while positions move and replicas restore: restore equal", kept.in_trouble)
        for rule, bug, prep, at_snapshot in BROKEN_SETS:
            if not quick or bug in QUICK:
                accept.check(rule, broken_set, ground, kept, bug, prep, at_snapshot)
        if quick:
            return
        accept.check("D19: agents ask their own server only", rules_sql.local_only, ground)
        accept.check("A3 e: keys that a restore makes anew", check_odd_assist, ground, kept)
        for what, bug, bad, normal, word in PRECONDITIONS:
            accept.check(f"A7: {what}", precondition, ground, bug, bad, normal, word)
        accept.check("A9: no exact restore of an incremental", exact_incremental, ground)
        accept.check("A10: DOING entries are not picked", doing_result, ground)
        accept.check("D20: accounts that read", rules_sql.accounts, ground, kept.log)
        accept.check("D21: dear tables", rules_sql.load, ground, kept.log)
        accept.check("A1: undo_retention of a tenant, opted in", pinned, ground)
        accept.check("D22: names of tenants", tenant_names, ground, kept)
