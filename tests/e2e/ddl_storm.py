"""ddl_storm - restorable-set A4: sets that are taken while DDL storms over the source

Tables, partitions, indexes and tablegroups come and go while each set is made. A set must end SUCCESS and restore equal
at a seeded time, or FAILED because the DDL never paused; at least half must have needed more than one pass.
"""
import os
import random
import re
import sys
import tempfile
import threading
import time

import first_whole_path as path
import harness

CLOSED = "could not be closed"
KEPT_TABLES = 14  # a tenant's tables of the storm: more are dropped again
OPS = (("create_table", 5), ("drop_table", 3), ("truncate", 2), ("index", 4), ("drop_index", 1), ("add_partition", 2),
       ("drop_partition", 1), ("group", 1), ("group_table", 3), ("group_drop", 2))


class Tenant:
    """What the storm has made in one tenant."""

    def __init__(self, number):
        self.number = number
        self.tables = {}  # low id -> {"parts": [...], "indexes": [...]}
        self.groups = {}  # low id -> [tables of it that are left]


class Storm(threading.Thread):
    """DDL at seeded moments from start() to stop(); pauses between two statements are up to gap seconds."""

    def __init__(self, site, tenants, rng, gap):
        super().__init__(daemon=True)
        self.site, self.tenants, self.rng, self.gap = site, tenants, rng, gap
        self.ended, self.done, self.refused, self.error = threading.Event(), {}, 0, None

    def run(self):
        try:
            while not self.ended.is_set():
                op = self.rng.choices([o for o, _ in OPS], [w for _, w in OPS])[0]
                try:
                    if getattr(self, op)(self.rng.choice(self.tenants)):
                        self.done[op] = self.done.get(op, 0) + 1
                except harness.Failure as e:
                    self.refused += 1
                    print(f"storm: {op}: {str(e)[:120]}", file=sys.stderr, flush=True)
                self.ended.wait(self.rng.uniform(0.02, self.gap))
        except Exception as e:  # a storm that died is no storm
            self.error = e

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
            t.tables[made["table_id"]] = {"parts": list(range(parts)), "indexes": []}
        return True

    def drop_table(self, t):
        table = self.pick(t.tables)
        if table is None:
            return False
        del t.tables[table]
        self.ddl(t, "drop_table", table=table)
        return True

    def truncate(self, t):
        """As the server does it: the old table goes, one under a new id comes."""
        return self.drop_table(t) and self.create_table(t)

    def index(self, t):
        table = self.pick(t.tables)
        if table is None or len(t.tables[table]["indexes"]) >= 2:
            return False
        made = self.ddl(t, "create_index", table=table)["index_id"]
        self.ended.wait(self.rng.uniform(0, 1))  # it is being built
        self.ddl(t, "index_available", index=made)
        t.tables[table]["indexes"].append(made)
        return True

    def drop_index(self, t):
        table = self.pick(i for i, v in t.tables.items() if v["indexes"])
        if table is None:
            return False
        self.ddl(t, "drop_index", index=t.tables[table]["indexes"].pop())
        return True

    def add_partition(self, t):
        table = self.pick(t.tables)
        if table is None:
            return False
        made = self.ddl(t, "add_partition", table=table)["partition_id"]
        t.tables[table]["parts"].append(made)
        return True

    def drop_partition(self, t):
        table = self.pick(i for i, v in t.tables.items() if len(v["parts"]) > 1)
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


class Sets:
    """The sets of one run: how each ended, and what it restores to."""

    def __init__(self, accept, site, rng):
        self.accept, self.site, self.rng = accept, site, rng
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
        storm = Storm(site, self.tenants, self.rng, gap)
        storm.start()
        time.sleep(self.rng.uniform(0, 1))
        job = site.cli("backup", "start")["job_id"]
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
        self.restore(job, restores)

    def restore(self, job, restores):
        site = self.site
        time.sleep(0.5)
        site.ctl("source", "minor_freeze")
        time.sleep(1)
        now = site.ctl("source", "now")["now"]
        for tenant in self.rng.sample(site.tenants, min(restores, len(site.tenants))):
            at = self.rng.randrange(site.window(tenant)[0] if len(self.passes) == 1 else now - 1_500_000, now)
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


def storm(accept, quick, seed):
    sets, rng = (2 if quick else 10), random.Random(seed)
    with path.new_site(accept, 60) as site:
        story = path.Story(site, mib_per_tenant=4, seed=seed)
        story.begin()
        path.start_target(site)
        run = Sets(accept, site, rng)
        for i in range(sets):
            run.one(storm_s=rng.uniform(3, 7), gap=rng.uniform(0.2, 1.0), restores=1 if quick else 2)
        site.ctl("source", "workload", op="stop")
        time.sleep(2)
        if not run.wrong:
            ok, note = path.strict(accept, site, leftovers=True)
            if not ok:
                run.wrong.append(f"reader: {note}")
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


def check(accept, quick, seed):
    accept.check("DDL storm during backups: restores equal, or FAILED with the reason", storm, accept, quick, seed)
    if not quick:
        accept.check("DDL that never pauses fails the set with that reason", endless, accept, seed)
