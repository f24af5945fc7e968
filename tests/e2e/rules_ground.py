"""rules_ground - a site under work with every trap of the restorable set, and seeded bugs that come and go (rules.py)"""
import contextlib
import glob
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time

import harness

TENANT = 1001
VERSION = 3 << 32 | 1 << 16 | 5


class Ground:
    """A source cluster under work, coordinator and agents whose seeded bugs are switched by a file."""

    def __init__(self, accept, site, seed):
        self.accept, self.site, self.seed = accept, site, seed
        self.bug_file = site.path("bugs")
        self.jobs = 0
        self.rows = 900000

    def begin(self):
        s = self.site
        self.bugs("")
        s.prepare()
        pin = {"user": "obv_pin", "tenant": s.tenant_name(TENANT), "password": harness.PASSWORD, "rights": ["SUPER"]}
        s.write(s.accounts(), json.dumps({"accounts": [*harness.ACCOUNTS, pin]}))
        s.start_source(ilog_freeze_us=300000, minor_compact_minis=1000)
        self.ctl("layout", tenants=[TENANT])
        self.ctl("load", tenant=TENANT, bytes=2 << 20, tables=2, partitions=3, compressor="mix", index=True, seed=self.seed)
        self.ctl("load", tenant=TENANT, bytes=1 << 19, tables=2, partitions=2, tablegroup=True, seed=self.seed + 1)
        self.table = max(t for t in self.user_tables())
        self.work(True)
        self.env = {"OBV_BUG": f"@{self.bug_file}"}
        s.start_coordinator(extra_env=self.env)
        s.start_agents(extra_env=self.env)
        self.ctl("minor_freeze", force=True)  # no archive begins with a PG's first log
        s.cli("repo", "init")
        s.cli("archive", "start", "--wait", timeout=120)
        return self

    def insert(self, **more):
        """A new row of the ground's table."""
        self.rows += 1
        self.ctl("insert", tenant=TENANT, table=self.table, partition=0, key=self.rows, value=f"row {self.rows}", **more)

    def work(self, on):
        """Transactions on all PGs; long ones hold readable time back, and a freeze publishes nothing until it moves."""
        if on:
            self.ctl("workload", op="start", rate=200, tenants=[TENANT], seed=self.seed, long_pct=25, keys=2000)
        else:
            self.ctl("quiesce", tenant=TENANT)

    def ctl(self, verb, **args):
        return self.site.ctl_direct("source", verb, **args)

    def ctl_each(self, verb, **args):
        """A local verb, on every host."""
        for host in self.site.clusters["source"]["hosts"]:
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as c:
                c.connect(host["ctl"])
                c.sendall(json.dumps(dict(args, verb=verb)).encode() + b"\n")
                answer = json.loads(c.makefile().readline())
                if not answer["ok"]:
                    raise harness.Failure(f"{verb} {args}: {answer}")

    def user_tables(self):
        return sorted({int(p["pg"].split("/")[0]) for p in self.ctl("digest", tenant=TENANT, at=0)["pgs"]
                       if p["kind"] == "standalone"})

    # ---- seeded bugs
    def bugs(self, names):
        with open(self.bug_file + ".new", "w") as f:
            f.write(names + "\n")
        os.chmod(self.bug_file + ".new", 0o644)
        os.rename(self.bug_file + ".new", self.bug_file)

    def strikes(self, bug):
        count = 0
        for d in [*self.site.agents, self.site.coordinator]:
            with open(d.log, errors="replace") as f:
                count += len(re.findall(rf"seeded bug {re.escape(bug)}$", f.read(), re.M))
        return count

    # ---- sets
    def set_dirs(self):
        return set(glob.glob(f"{self.site.dest}/*/*/incarnation_1/{TENANT}/data/backup_set_*"))

    def backup(self, bug="", timeout=180):
        """(answer, directory of the set made or None)"""
        before = self.set_dirs()
        self.bugs(bug)
        try:
            _, answer = self.site.cli_raw("backup", "start", "--wait", timeout=timeout)
        finally:
            self.bugs("")
        new = self.set_dirs() - before
        return answer, (new.pop() if len(new) == 1 else None)

    @staticmethod
    def good(answer):
        return answer.get("state") == "SUCCESS"

    def now(self):
        return self.ctl("now")["now"]

    def clog_dir(self):
        return glob.glob(f"{self.site.dest}/*/*/incarnation_1/{TENANT}/clog/1")[0]

    def reach(self, at):
        harness.wait_for(f"checkpoint past {at}", 60, lambda: self.site.window(TENANT)[1] >= at, step=0.2)

    # ---- the stand-in's restore, as its target cluster would call it
    def restore(self, at, sources=None, root=None, name=None, preview=False, version=VERSION, cluster=None):
        """result.json of a restore to that time."""
        self.jobs += 1
        out = self.site.path("judge", str(self.jobs))
        os.makedirs(out)
        cluster = cluster or (self.site.cluster_name, self.site.cluster_id)
        job = {"job_id": self.jobs, "at": f"file://{root}" if root else "", "sources": [f"file://{p}" for p in sources or []],
               "backup_tenant_name": name or self.site.tenant_name(TENANT), "backup_cluster_name": cluster[0],
               "backup_cluster_id": cluster[1], "until_us": at, "dst_tenant_id": 1002, "dst_tenant_name": "judge",
               "cluster_version": version, "restore_data_version": 3, "gc_ts_us": at + 60_000_000, "preview": preview,
               "passwords": "", "locality": "", "primary_zone": "", "table_list": []}
        with open(f"{out}/job.json", "w") as f:
            json.dump(job, f)
        subprocess.run([harness.PYTHON, os.path.join(self.accept.root, "tests/reader/restore.py"), "--job",
                        f"{out}/job.json", "--out", out], check=False, timeout=180)
        with open(f"{out}/result.json") as f:
            result = json.load(f)
        shutil.rmtree(out)
        return result

    def judge(self, set_dir, at):
        """("equal" or what is wrong, equal?) of a set restored to that time with the round's log"""
        self.reach(at)
        result = self.restore(at, [set_dir, self.clog_dir()])
        if result["rc"]:
            return f"refused {result['rc']}: {result['message'][:90]}", False
        wanted, digest = self.site.digests("source", TENANT, at)
        if result["tenant_digest"] == digest:
            return f"{len(wanted)} PGs equal", True
        got = {f"{p['table_id']}/{p['partition_id']}": (p["rows"], p["digest"]) for p in result["pgs"]}
        wrong = sorted(n for n in set(got) | set(wanted) if got.get(n) != wanted.get(n, (0,))[1:])
        return f"rows differ in {len(wrong)} of {len(wanted)} PGs, e.g. {wrong[0]}", False

    def snapshot(self, set_dir):
        """S as the set's own info has it."""
        code, out = self.accept.command([harness.PYTHON, "-c", SNAPSHOT, set_dir], 30)
        if code:
            raise harness.Failure(out)
        return int(out)

    # ---- what the ground must hold for the rules to matter
    def two_majors(self):
        self.ctl("major_merge", wait=True)
        self.ctl("minor_freeze", force=True)

    def new_index(self):
        """An index that became AVAILABLE after the last freeze of its table: data_info is older than it."""
        return self.ctl("ddl", op="add_index", tenant=TENANT, table=self.table)

    def freeze(self):
        self.ctl("minor_freeze")

    def compact(self):
        self.ctl("compact")

    def sql_log(self, since_us):
        lines = []
        for i in range(len(self.site.hosts)):
            with open(self.site.path("source", f"host{i + 1}", "log", "sql.log")) as f:
                lines += [e for e in map(json.loads, f) if e["ts"] >= since_us]
        return lines


SNAPSHOT = """
import sys
sys.path.insert(0, 'tests/reader')
from backupset import single_set_info
print(single_set_info(sys.argv[1])['snapshot_version'])
"""


class Unsettled:
    """Freezes all the time while a set is made, and answers about one busy PG come late: positions move under the copy."""

    def __init__(self, ground):
        self.ground, self.stop = ground, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stop.wait(0.4):
            self.ground.insert()
            self.ground.ctl("minor_freeze", force=True)

    def __enter__(self):
        g = self.ground
        pg = f"{(TENANT << 40) + g.table}/0"
        g.ctl_each("fault", kind="stall", pcode=0x472, pg=pg, arg=1200000, count=6)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


# ---- what a rule's line needs: how the set is made, and when its bug shows
def no_prep(_ground):
    return contextlib.nullcontext()


def new_index(ground):
    """Its table's position is older than the index; no freeze comes in between."""
    ground.new_index()
    return contextlib.nullcontext()


def compacted(g):
    """Versions are recycled up to now, so that what the copies keep begins later than the schema's last change."""
    time.sleep(1.5)
    g.ctl("minor_freeze", force=True)
    g.compact()
    return contextlib.nullcontext()


def trans_always_behind(g):
    return trans_behind(g, count=1000)


@contextlib.contextmanager
def trans_behind(g, count=1):
    """A transaction is open at one freeze and committed at the next; the servers list the states of before that."""
    pg = f"{(TENANT << 40) + g.table}/0"
    g.work(False)
    g.insert()
    time.sleep(1)  # all hosts have applied it
    tx = g.ctl("tx", op="begin")["tx"]
    g.insert(tx=tx)
    time.sleep(0.7)
    g.ctl("minor_freeze", pg=pg, force=True)
    g.ctl("tx", op="commit", tx=tx)
    g.insert()
    time.sleep(1)
    g.ctl("minor_freeze", pg=pg, force=True)
    g.work(True)
    g.ctl_each("fault", kind="trans_behind", pg=pg, count=count)
    try:
        yield
    finally:
        g.ctl_each("fault", kind="none")


@contextlib.contextmanager
def restoring(g):
    """Both followers of one PG say that they are being restored."""
    pg = f"{(TENANT << 40) + g.table}/1"
    with contextlib.suppress(harness.Failure):  # it is there already
        g.ctl("leader_move", pg=pg, to=1)
    time.sleep(1)
    hosts = [2, 3]
    for h in hosts:
        g.ctl("replica", host=h, pg=pg, is_restore=1)
    try:
        yield
    finally:
        for h in hosts:
            g.ctl("replica", host=h, pg=pg, is_restore=0)


@contextlib.contextmanager
def odd_assist(g):
    pg = f"{(TENANT << 40) + g.table}/2"
    g.ctl("pg_assist", pg=pg, assist=8)
    try:
        yield
    finally:
        g.ctl("pg_assist", pg=pg, assist=0)


def why(answer):
    error = answer.get("error") or answer
    return str(error.get("message") or error)[:100]


def arm(ground, line):
    name = ground.site.fault_files["coordinator"]
    with open(name, "w") as f:
        f.write(line + "\n")
    if ground.site.root_user:
        os.chown(name, harness.UID_OBVAULT, harness.UID_OBVAULT)
