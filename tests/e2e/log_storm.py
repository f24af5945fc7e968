"""log_storm - leaders that move, agents and hosts that die, files that are recycled, while log is archived

A seeded storm over a site with two tenants and at least 200 PGs. What it hits is counted: a storm that never came to
pass is a failure, not a green line.
"""
import contextlib
import os
import random
import shutil
import sys
import tempfile
import threading
import time

import first_whole_path as path
import harness
import log_truth

PGS_LEAST = 200
GUEST = 1003  # the tenant that comes and goes


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Storm(threading.Thread):
    """Strikes at seeded moments from start() to end()."""

    STRIKES = (("flap", 3), ("move", 8), ("freeze", 2), ("recycle", 3), ("checkpoint", 1), ("commit", 8))

    def __init__(self, site, tables, rng, gap=0.5):
        super().__init__(daemon=True)
        self.site, self.rng, self.gap = site, rng, gap
        self.ended, self.struck, self.refused, self.error = threading.Event(), {}, 0, None
        self.commits, self.rows, self.host_away = [], 0, False
        self.tables = tables
        self.pgs = {t: [p["pg"] for p in self.ctl("digest", tenant=t)["pgs"]] for t in site.tenants}
        self.count = self.ctl("status")["pg_count"]

    def ctl(self, verb, **args):
        return self.site.ctl_direct("source", verb, **args)

    def run(self):
        try:
            names, weights = zip(*self.STRIKES)
            while not self.ended.is_set():
                self.strike(self.rng.choices(names, weights)[0])
                self.ended.wait(self.rng.uniform(0.05, self.gap))
        except Exception as e:  # a storm that died is no storm
            self.error = e

    def strike(self, name, *args):
        try:
            if getattr(self, name)(*args) is not False:
                self.struck[name] = self.struck.get(name, 0) + 1
        except harness.Failure as e:
            self.refused += not self.host_away  # without that host a freeze does not end in time
            say(f"storm: {name}: {str(e)[:140]}")

    def end(self):
        self.ended.set()
        self.join(60)
        if self.error or self.is_alive():
            raise harness.Failure(f"the storm broke off: {self.error or 'a strike hangs'}")
        return self

    # ---- what strikes
    def a_pg(self):
        tenant = self.rng.choice(self.site.tenants)
        low, _, part = self.rng.choice(self.pgs[tenant]).partition("/")
        return f"{(tenant << 40) + int(low)}/{part}"

    def move(self):
        for _ in range(self.rng.randint(3, 12)):
            with contextlib.suppress(harness.Failure):  # it is there already
                self.ctl("leader_move", pg=self.a_pg(), to=self.rng.choice((1, 2, 3)))

    def flap(self):
        """Away and back at once: the epoch changes twice, and nobody who only looks at the leader sees it."""
        if self.rng.random() < 0.25:
            self.ctl("leader_move", flap=True)
            return
        for _ in range(self.rng.randint(2, 8)):
            with contextlib.suppress(harness.Failure):  # a host is away
                self.ctl("leader_move", pg=self.a_pg(), flap=True)

    def freeze(self):
        self.ctl("minor_freeze")

    def checkpoint(self):
        self.ctl("checkpoint", tenant=self.rng.choice(self.site.tenants))

    def recycle(self):
        """A host's oldest clog file goes, as far as enough newer ones are left for the proof of what was archived."""
        host = self.rng.choice(self.ctl("status")["hosts"])
        if not host["alive"] or host["cur_clog_file"] - host["min_clog_file"] < KEPT_FILES:
            return False
        return self.ctl("recycle", host=host["id"], files=1)["count"] > 0

    def commit(self):
        """A transaction whose commit time is known: what may be restored to the very microsecond, and to the one before."""
        tenant = self.rng.choice(self.site.tenants)
        self.rows += 1
        made = self.ctl("insert", tenant=tenant, table=self.rng.choice(self.tables[tenant]), partition=0, key=7_000_000 + self.rows,
                        value=f"commit {self.rows}")
        self.commits.append((tenant, made["commit_version"]))

    # ---- what comes once, at the hands of the story
    def guest(self):
        """A tenant is created, works, and is dropped."""
        self.ctl("tenant", op="create", tenant=GUEST, name=f"t{GUEST}")
        table = self.ctl("ddl", op="create_table", tenant=GUEST, partitions=3)["table_id"]
        for i in range(20):
            self.ctl("insert", tenant=GUEST, table=table, partition=i % 3, key=i, value="guest")
        time.sleep(2)
        self.ctl("tenant", op="drop", tenant=GUEST)

    def agent(self, number, away_s):
        """kill -9, and its supervisor starts it again."""
        self.site.agents[number].kill()
        time.sleep(away_s)
        self.site.agents[number].start()

    def host(self, number, away_s):
        """OBServer and agent of one host are gone for a while."""
        say(f"host {number + 1} is gone")
        self.host_away = True
        self.site.agents[number].kill()
        self.site.cluster("source", "stop", "--kill", "--host", number + 1)
        time.sleep(away_s)
        self.site.cluster("source", "start", "--host", number + 1)
        self.site.agents[number].start()
        self.host_away = False
        say(f"host {number + 1} is back")


CLOG_FILE = 128 << 10
KEPT_FILES = 6
LINES = ("storm over leaders, hosts, files, tenants", "storm: no log below a published checkpoint is missing",
         "storm: restores to seeded times, commits and one microsecond before", "storm: independent reader over the tree")


def begin(site, seed, partitions=38, rate=200, mib=1, coordinator=None, **agents):
    """A site of at least 200 PGs with a running round; @return {tenant: tables that were loaded}"""
    s = site
    s.prepare()
    s.start_source(ilog_freeze_us=400000, clog_switch_bytes=CLOG_FILE, minor_compact_minis=4)
    s.ctl("source", "layout", tenants=list(s.tenants))
    tables = {t: s.ctl("source", "load", tenant=t, bytes=mib << 20, tables=2, partitions=partitions, compressor="mix",
                       index=True, seed=seed)["tables"] for t in s.tenants}
    s.ctl("source", "workload", op="start", rate=rate, tenants=list(s.tenants), seed=seed, long_pct=5, pgs_max=4)
    s.start_coordinator(**(coordinator or {}))
    s.start_agents(**agents)
    s.cli("repo", "init")
    s.cli("archive", "start", "--wait", timeout=120)
    return tables


class Watch(threading.Thread):
    """Looks at each publication, while everything goes on, whether the log below it is stored."""

    def __init__(self, missing, step=1.0):
        super().__init__(daemon=True)
        self.missing, self.step, self.ended, self.error = missing, step, threading.Event(), None

    def run(self):
        try:
            while not self.ended.wait(self.step):
                self.missing.check()
        except Exception as e:
            self.error = e

    def end(self):
        self.ended.set()
        self.join(60)
        if self.error:
            raise self.error
        self.missing.check()
        return self.missing


def settle(site, at, seconds):
    """Every tenant's published checkpoint is past that time; what holds it back is told."""
    def tenants():
        code, answer = site.cli_raw("archive", "status")
        return {t["tenant_id"]: t for t in answer["archive"]["tenants"]} if code in (0, 6) else {}

    def reached():
        now = tenants()
        return all(t in now and now[t]["checkpoint_us"] >= at for t in site.tenants)

    try:
        harness.wait_for(f"published checkpoint past {harness.rfc3339(at)}", seconds, reached, step=0.3)
    except harness.Failure as e:
        held = [{k: t[k] for k in ("tenant_id", "state", "checkpoint", "pgs", "pgs_with_checkpoint", "held_back_by", "error")}
                for t in tenants().values()]
        raise harness.Failure(f"{e}: {held}") from e


def times(storm, rng, lo, hi, count):
    """[(tenant, time)]: commits of the storm and the microseconds before them, the rest anywhere."""
    commits = [c for c in storm.commits if lo <= c[1] - 1 and c[1] < hi]
    out = []
    for tenant, at in rng.sample(commits, min(len(commits), max(1, count // 4))):
        out += [(tenant, at), (tenant, at - 1)]
    exact = len(out)
    while len(out) < count:
        out.append((rng.choice(storm.site.tenants), rng.randrange(lo, hi)))
    return out[:count], exact


class Story:
    """The storm told once; its lines are checked one by one."""

    def __init__(self, accept, site, quick, seed, piece_s, proof):
        self.proof = proof
        self.accept, self.site, self.quick, self.seed, self.rng = accept, site, quick, seed, random.Random(seed)
        self.piece_s = piece_s  # 0: round mode
        self.storm = self.missing = self.at = None

    def tell(self):
        site, quick = self.site, self.quick
        tables = begin(site, self.seed, rate=100 if quick else 200,
                       coordinator={"archive": {"piece_switch_s": self.piece_s, "settle_s": 3 if quick else 20}},
                       commit_proof=self.proof)
        job = site.cli("backup", "start", "--wait", timeout=120)
        if job["state"] != "SUCCESS":
            raise harness.Failure(f"backup: {job}")
        say("the set is good, the storm begins")
        self.missing = log_truth.Missing(site)
        watch = Watch(self.missing)
        watch.start()
        storm = self.storm = Storm(site, tables, random.Random(self.rng.random()), 0.5)
        storm.start()
        began = time.monotonic()
        lasts = 16 if quick else 150
        time.sleep(lasts / 8)
        storm.strike("guest")
        time.sleep(lasts / 8)
        storm.strike("agent", self.rng.randrange(3), self.rng.uniform(0.5, 3))
        time.sleep(lasts / 8)
        storm.strike("host", self.rng.choice((1, 2)), 4 if quick else 20)
        time.sleep(max(0.0, lasts - (time.monotonic() - began)))
        storm.end()
        site.ctl("source", "workload", op="stop")
        time.sleep(1)
        self.at = site.ctl("source", "now")["now"]
        say("the storm is over")
        settle(site, self.at, 60 if quick else 180)
        say("its end is restorable")
        watch.end()
        hit = storm.struck
        moved = hit.get("move", 0) + hit.get("flap", 0)
        all_hit = all(hit.get(n) for n in ("move", "flap", "freeze", "recycle", "commit", "guest", "agent", "host"))
        pieces = max(len(self.missing.stored.pieces(t, 1)) for t in site.tenants)
        return storm.count >= PGS_LEAST and all_hit and not storm.refused and (pieces > 2 if self.piece_s else pieces == 1), (
            f"{storm.count} PGs, {f'{pieces} pieces' if self.piece_s else 'round mode'}, {lasts} s, {moved} waves of leader changes ({hit.get('flap', 0)} flapping), {hit.get('freeze', 0)} "
            f"freezes, {hit.get('recycle', 0)} clog files recycled, tenant came and went, agent killed, host away; refused {storm.refused}"
            f"{'' if all_hit else f'; struck only {hit}'}")

    def complete(self):
        self.missing.check(again=True)
        reached = [self.missing.highest.get((t, 1), 0) for t in self.site.tenants]
        good = not self.missing.findings and self.missing.checked > 1000 and all(r >= self.at for r in reached)
        return good, self.missing.figure()

    def restores(self):
        site, count = self.site, 4 if self.quick else 20
        lo = max(site.window(t)[0] for t in site.tenants)
        chosen, exact = times(self.storm, self.rng, lo, self.at, count)
        wanted = {(t, at): site.digests("source", t, at) for t, at in chosen}
        path.start_target(site)
        good, notes = 0, []
        for i, (tenant, at) in enumerate(chosen):
            equal, note = path.compare_restore(site, tenant, at, wanted[tenant, at], f"s{i}x{tenant}")
            good += equal
            if not equal:
                notes.append(f"{tenant}@{at}: {note}")
        return good == count and exact > 0, (
            f"{good} of {count} restores equal, {exact} of them to commit times and one microsecond before {notes[:2] or ''}")

    def reader(self):
        return path.strict(self.accept, self.site, leftovers=True)


def quick_folder():
    """Memory, where there is some: the short form tries nothing that needs a disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 2 << 30 else None


def new_site(accept, quick, net, **kw):
    work = tempfile.mkdtemp(prefix="obvault-accept-", dir=quick_folder() if quick else None)
    return harness.site(work, path.build_dir(accept), net=net, **kw)


def no_mercy(site):
    """What will be removed needs no orderly end."""
    for d in [*site.agents, site.coordinator]:
        d.kill()


def check(accept, quick, seed):
    storm(accept, quick, seed, 6 if quick else 25, "ilog", "")
    if not quick:
        storm(accept, quick, seed + 1, 0, "ilog", " (round mode)")
        storm(accept, quick, seed + 2, 25, "fast", " (fast proof)")


def storm(accept, quick, seed, piece_s, proof, mode):
    lines = [line + mode for line in LINES]
    if not any(map(accept.wants, lines)):
        return
    with new_site(accept, quick, 100) as site:
        story = Story(accept, site, quick, seed, piece_s, proof)
        accept.check(lines[0], story.tell)
        if story.at is None:
            return
        accept.check(lines[1], story.complete)
        accept.check(lines[2], story.restores)
        accept.check(lines[3], story.reader)
        no_mercy(site)
