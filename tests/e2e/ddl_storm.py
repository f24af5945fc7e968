"""ddl_storm - restorable-set A4: sets that are taken while DDL storms over the source

Tables, partitions, indexes and tablegroups come and go while each set is made. A set must end SUCCESS and restore equal
at a seeded time, or FAILED because the DDL never paused; at least half must have needed more than one pass.
"""
import contextlib
import random
import re
import subprocess
import sys
import threading
import time

import first_whole_path as path
import harness
import rules

CLOSED = "could not be closed"
EARLY = (None, "PREPARE", "SCHEDULE", "GENERATE")
KEPT_TABLES = 14  # a tenant's tables of the storm: more are dropped again
OPS = (("create_table", 5), ("drop_table", 3), ("truncate", 3), ("index", 5), ("global_index", 2), ("drop_index", 1),
       ("add_partition", 2), ("drop_partition", 1), ("group", 1), ("group_table", 3), ("group_drop", 2), ("loose_group", 1))


def slow(site):
    """The next answers with macroblocks come late: the copy lasts a while."""
    for host in (1, 2, 3):
        site.cluster("source", "ctl", "--host", host, "fault", "kind=stall", "pcode=0x471", "count=6", "arg=1500000",
                     check=False)


def phase(site):
    jobs = site.cli("job", "list", "--running")["jobs"]
    return next((j["phase"] for j in jobs if j["kind"] == "backup"), None)


class Tenant:
    """What the storm has made in one tenant."""

    def __init__(self, number):
        self.number = number
        self.tables = {}  # low id -> {"parts": [...], "indexes": [...]}
        self.groups = {}  # low id -> [tables of it that are left]
        self.loose = None  # a tablegroup without binding


class Storm(threading.Thread):
    """DDL at seeded moments from start() to stop(); pauses between two statements are up to gap seconds."""

    def __init__(self, site, tenants, rng, gap):
        super().__init__(daemon=True)
        self.site, self.tenants, self.rng, self.gap = site, tenants, rng, gap
        self.ended, self.done, self.refused, self.error = threading.Event(), {}, 0, None
        self.lock = threading.Lock()

    def run(self):
        try:
            while not self.ended.is_set():
                self.strike(self.rng.choices([o for o, _ in OPS], [w for _, w in OPS])[0], self.rng.choice(self.tenants))
                self.ended.wait(self.rng.uniform(0.02, self.gap))
        except Exception as e:  # a storm that died is no storm
            self.error = e

    def strike(self, op, tenant):
        with self.lock:
            try:
                if getattr(self, op)(tenant):
                    self.done[op] = self.done.get(op, 0) + 1
            except harness.Failure as e:
                self.refused += 1
                print(f"storm: {op}: {str(e)[:120]}", file=sys.stderr, flush=True)

    def stop(self):
        self.ended.set()
        self.join(120)
        if self.error or self.is_alive():
            raise harness.Failure(f"the storm broke off: {self.error or 'a statement hangs'}")

    def ddl(self, t, op, **args):
        return self.site.ctl_direct("source", "ddl", op=op, tenant=t.number, **args)

    def pick(self, things):
        things = sorted(things)
        return self.rng.choice(things) if things else None

    def create_table(self, t, tablegroup=0):
        if len(t.tables) >= KEPT_TABLES:
            return self.drop_table(t)
        parts = 2 if tablegroup else self.rng.randint(1, 3)
        made = self.ddl(t, "create_table", partitions=parts, index=self.rng.random() < 0.3,
                        compressor=self.rng.choice(["none", "lz4_1.0"]), tablegroup=tablegroup)
        if tablegroup:
            t.groups[tablegroup].append(made["table_id"])
        else:
            t.tables[made["table_id"]] = {"parts": list(range(parts)), "indexes": [], "global": False}
        return True

    def drop_table(self, t):
        table = self.pick(t.tables)
        if table is None:
            return False
        del t.tables[table]
        self.ddl(t, "drop_table", table=table)
        return True

    def truncate(self, t):
        """The old table goes, an empty one under a new id comes."""
        table = self.pick(i for i, v in t.tables.items() if not v["global"])
        if table is None:
            return False
        made = self.ddl(t, "truncate", table=table)["table_id"]
        t.tables[made] = dict(t.tables.pop(table), indexes=[])
        return True

    def index(self, t):
        """Some are built long, some are AVAILABLE before a host has them."""
        table = self.pick(i for i, v in t.tables.items() if len(v["indexes"]) < 2 and not v["global"])
        if table is None:
            return False
        late = {"late_host": self.rng.choice((2, 3)), "late_us": self.rng.randrange(2_000_000, 8_000_000)}
        made = self.ddl(t, "add_index", table=table, build_us=self.rng.randrange(0, 800_000),
                        **(late if self.rng.random() < 0.5 else {}))["index_id"]
        t.tables[table]["indexes"].append(made)
        return True

    def global_index(self, t):
        table = self.pick(i for i, v in t.tables.items() if not v["global"])
        if table is None:
            return False
        self.ddl(t, "add_index", table=table, build_us=self.rng.randrange(0, 800_000), **{"global": True})
        t.tables[table]["global"] = True
        return True

    def drop_index(self, t):
        table = self.pick(i for i, v in t.tables.items() if v["indexes"])
        if table is None:
            return False
        self.ddl(t, "drop_index", index=t.tables[table]["indexes"].pop())
        return True

    def add_partition(self, t):
        table = self.pick(i for i, v in t.tables.items() if not v["global"])
        if table is None:
            return False
        made = self.ddl(t, "add_partition", table=table)["partition_id"]
        t.tables[table]["parts"].append(made)
        return True

    def drop_partition(self, t):
        table = self.pick(i for i, v in t.tables.items() if len(v["parts"]) > 1 and not v["global"])
        if table is None:
            return False
        self.ddl(t, "drop_partition", table=table, partition=t.tables[table]["parts"].pop(0))
        return True

    def group(self, t):
        if len(t.groups) >= 3:
            return False
        made = self.ddl(t, "create_tablegroup", partitions=2, tables=1)["tablegroup_id"]
        t.groups[made] = []
        return True

    def group_table(self, t):
        group = self.pick(g for g, tables in t.groups.items() if len(tables) < 4)
        return group is not None and self.create_table(t, tablegroup=group)

    def group_drop(self, t):
        group = self.pick(g for g, tables in t.groups.items() if tables)
        if group is None:
            return False
        self.ddl(t, "drop_table", table=t.groups[group].pop())
        return True


    def loose_group(self, t):
        """A tablegroup without binding has no PGs: tables come and go in it, and nothing is to be copied for that."""
        if t.loose is None:
            t.loose = self.ddl(t, "create_tablegroup", partitions=1, tables=0, binding=False)["tablegroup_id"]
            return True
        table = self.pick(i for i, v in t.tables.items() if len(v["parts"]) == 1)
        if table is None:
            return False
        self.ddl(t, "tablegroup_join", table=table, tablegroup=t.loose)
        self.ddl(t, "tablegroup_leave", table=table, tablegroup=t.loose)
        return True


class Sets:
    """The sets of one run: how each ended, and what it restores to."""

    def __init__(self, accept, site, rng, judge=None):
        self.accept, self.site, self.rng, self.judge = accept, site, rng, judge
        self.tenants = [Tenant(t) for t in site.tenants]
        self.equal, self.failed, self.wrong, self.passes = 0, 0, [], []

    def log_passes(self, set_id):
        with open(self.site.coordinator.log, errors="replace") as f:
            found = re.findall(rf"set {set_id}, pass (\d+):", f.read())
        return 1 + max(map(int, found), default=0)

    def job(self, job):
        code, answer = self.site.cli_raw("job", "show", job)
        return answer if code == 0 else {"state": ""}

    def one(self, storm_s, gap, restores):
        """One backup with a storm that begins before it and lasts storm_s seconds into it (0: to its end)."""
        site = self.site
        storm = Storm(site, self.tenants, random.Random(self.rng.random()), gap)
        storm.start()
        time.sleep(self.rng.uniform(0, 1))
        slow(site)
        job = site.cli("backup", "start")["job_id"]
        harness.wait_for("the copy begins", 60, lambda: self.job(job).get("phase") not in EARLY)
        for tenant in self.tenants:
            storm.strike(self.rng.choice(("create_table", "truncate")), tenant)
            storm.strike("index", tenant)
        if storm_s:
            time.sleep(storm_s)
            storm.stop()
        harness.wait_for("the backup ends", 150, lambda: self.job(job)["state"] in ("SUCCESS", "FAILED"), step=0.3)
        if not storm_s:
            storm.stop()
        ended = self.job(job)
        print(f"set: {ended['state']}, storm {storm.done}, refused {storm.refused}: {ended.get('error')}",
              file=sys.stderr, flush=True)
        if ended["state"] == "FAILED":
            self.failed += 1
            if CLOSED not in str(ended.get("error")):
                self.wrong.append(f"{job} failed with: {ended.get('error')}")
            return
        newest = max(s["set_id"] for s in site.cli("backup", "list")["sets"])
        self.passes.append(self.log_passes(newest))
        if restores:
            self.restore(job, newest, restores)

    def restore(self, job, newest, restores):
        site = self.site
        time.sleep(0.5)
        site.ctl("source", "minor_freeze")
        time.sleep(1)
        now = site.ctl("source", "now")["now"]
        for tenant in self.rng.sample(site.tenants, min(restores, len(site.tenants))):
            at = self.rng.randrange(site.window(tenant)[0] if len(self.passes) == 1 else now - 1_500_000, now)
            if self.judge:
                made = next(d for d in self.judge.set_dirs() if f"/backup_set_{newest}_" in d)
                note, same = self.judge.judge(made, at)
                self.equal += same
                if not same:
                    self.wrong.append(f"{job}, tenant {tenant}@{at}: {note}")
                continue
            wanted = site.digests("source", tenant, at)
            site.wait_window_past(at)
            same, note = path.compare_restore(site, tenant, at, wanted, f"{job}x{tenant}".replace("-", ""))
            self.equal += same
            if not same:
                self.wrong.append(f"{job}, tenant {tenant}@{at}: {note}")

    def result(self, wanted):
        deep = sum(p > 1 for p in self.passes)
        return not self.wrong and len(self.passes) + self.failed == wanted and deep * 2 >= wanted, (
            f"{len(self.passes)} of {wanted} sets good, {deep} of them in more than one pass (passes {self.passes}), "
            f"{self.failed} failed because DDL did not pause, {self.equal} restores equal {self.wrong[:2] or ''}")


def own_reader(site):
    """What obvault's own reader finds damaged in the sets."""
    done = subprocess.run([f"{site.build}/agent/obvault-agent", "--config", site.path("conf", "agent1.yaml"), "local", "verify",
                           "--output", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
    lines = done.stdout.splitlines()
    damage = [line for line in lines if '"class":"leftover"' not in line]
    return [] if done.returncode == 0 and lines else [f"local verify: exit {done.returncode}, {damage[:3]} {done.stderr[:200]}"]


def storm(accept, quick, seed):
    """Quick: two sets of one tenant, judged by the stand-in's restore without a target cluster around it."""
    sets, rng = (2 if quick else 10), random.Random(seed)
    with path.new_site(accept, 60, tenants=(1001,) if quick else (1001, 1002)) as site:
        story = path.Story(site, mib_per_tenant=4, seed=seed)
        story.begin()
        if not quick:
            path.start_target(site)
        run = Sets(accept, site, rng, rules.Ground(accept, site, seed) if quick else None)
        for i in range(sets):
            run.one(storm_s=rng.uniform(2, 6), gap=rng.uniform(0.1, 0.6), restores=1 if quick else 2)
        site.ctl("source", "workload", op="stop")
        time.sleep(2)
        if not run.wrong:
            ok, note = path.strict(accept, site, leftovers=True)
            if not ok:
                run.wrong.append(f"reader: {note}")
            run.wrong += own_reader(site)
        return run.result(sets)


def endless(accept, seed):
    """A storm that never ends: the set fails, tells why, and is offered by nobody."""
    rng = random.Random(seed)
    with path.new_site(accept, 64) as site:
        story = path.Story(site, mib_per_tenant=1, seed=seed, workload=False)
        story.begin(coordinator={"backup": {"closing_s": 15}})
        run = Sets(accept, site, rng)
        run.one(storm_s=0, gap=0.25, restores=0)
        windows = [site.window(t) for t in site.tenants]
        return run.failed == 1 and not run.wrong and windows == [(0, 0)] * len(windows), (
            f"{run.failed} set failed: {run.wrong or CLOSED}; windows {windows}")


# ---- the rule broken on purpose
@contextlib.contextmanager
def new_table(g):
    """A table comes, with rows, while the set is being copied."""
    slow(g.site)

    def strike():
        harness.wait_for("the copy begins", 60, lambda: phase(g.site) == "DOING", step=0.05)
        made = g.ctl("ddl", op="create_table", tenant=rules.TENANT, partitions=2)["table_id"]
        g.ctl("insert", tenant=rules.TENANT, table=made, partition=0, key=1, value="under the copy")

    thread = threading.Thread(target=strike)
    thread.start()
    yield
    thread.join()


@contextlib.contextmanager
def late_indexes(g):
    """Two indexes are AVAILABLE; one follower has not built this one, the other not that one. Copies are made from
    followers, and host 1 leads: whichever is taken lacks an index."""
    table = g.user_tables()[-1]
    for p in range(3):
        with contextlib.suppress(harness.Failure):  # it is there already
            g.ctl("leader_move", pg=f"{(rules.TENANT << 40) + table}/{p}", to=1)
    time.sleep(1)
    for host in (2, 3):
        g.ctl("ddl", op="add_index", tenant=rules.TENANT, table=table, late_host=host, late_us=20_000_000)
    yield


BROKEN = (("new PGs are copied", "bug.a4_lists_not_closed", new_table),
          ("every AVAILABLE index is in the copies", "bug.a4_contents_not_closed", late_indexes))


def broken(ground, bug, prep):
    g, texts, equals = ground, [], []
    before = g.strikes(bug)
    for name in ("", bug):
        with prep(g):
            answer, made = g.backup(name)
        if not g.good(answer):
            return False, f"no good set {f'with {name}' if name else ''}: {rules.why(answer)}"
        text, equal = g.judge(made, g.now())
        texts.append(text)
        equals.append(equal)
    struck = g.strikes(bug) - before
    return equals == [True, False] and struck > 0, f"kept: {texts[0]}; broken ({struck} strikes): {texts[1]}"


def check(accept, quick, seed):
    accept.check("DDL storm during backups: restores equal, or FAILED with the reason", storm, accept, quick, seed)
    if not quick:
        accept.check("DDL that never pauses fails the set with that reason", endless, accept, seed)
        with path.new_site(accept, 68, tenants=(rules.TENANT,)) as site:
            ground = rules.Ground(accept, site, seed).begin()
            for what, bug, prep in BROKEN:
                accept.check(f"A4: {what}", broken, ground, bug, prep)
