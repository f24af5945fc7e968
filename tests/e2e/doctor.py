"""doctor - `obvault doctor` and `obvault repo check` on a healthy site, then with one defect after the other

check(accept, quick, seed) is called by tests/accept/02-right-by-every-rule; the file alone runs the quick form:
    doctor.py [--full] [--build DIR]
"""
import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
from acceptance import Acceptance  # noqa: E402

MIB = 1 << 20
# What a test on one machine cannot avoid: the destination and every OBServer's store lie on the same disk.
ONE_MACHINE = {("repository.disk", "warn")}

SKEW_C = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *t)
{
    int (*real)(clockid_t, struct timespec *) = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const int rc = real(id, t);
    if (rc == 0 && id == CLOCK_REALTIME)
        t->tv_sec += atoi(getenv("SKEW_S") ? getenv("SKEW_S") : "0");
    return rc;
}
"""


class Clinic:
    """One site; a defect is a context that is mended at its end."""

    def __init__(self, site):
        self.site = site

    def open(self):
        s = self.site
        s.prepare()
        s.start_source(ilog_freeze_us=500000)
        s.ctl("source", "layout", tenants=list(s.tenants))
        s.start_target()
        s.ctl("target", "parameter", name="restore_concurrency", value="10")
        s.start_coordinator()
        s.start_agents()
        return self

    def look(self, *words):
        """(exit code, {(check, level)}, document)"""
        words = words or ("doctor",)
        if "--timeout" not in words:
            words = (*words, "--timeout", "6s")
        code, doc = self.site.cli_raw(*words, timeout=90)
        if "findings" not in doc:
            raise harness.Failure(f"{words}: exit {code}: {doc}")
        return code, {(f["check"], f["level"]) for f in doc["findings"]}, doc

    def settle(self):
        """Until doctor has nothing to say again."""
        harness.wait_for("doctor is content again", 20, lambda: self.look()[0] == 0, step=0.2)

    def expect(self, exit_code, check, level="FAIL", words=("doctor",), where=None, says=""):
        code, seen, doc = self.look(*words)
        hits = [f for f in doc["findings"] if (f["check"], f["level"]) == (check, level) and
                (where is None or f["where"] == where) and says in f["found"]]
        bad = [f"{f['level']} {f['check']} {f['where']}: {f['found']}" for f in doc["findings"] if f["level"] != "ok"]
        if code != exit_code or not hits:
            raise harness.Failure(f"exit {code} (wanted {exit_code}), {level} {check} {'' if hits else 'not '}found; {bad}")
        for f in hits:
            if level != "ok" and not (f["means"] and f["next"]):
                raise harness.Failure(f"{check} says neither what it means nor what to do: {f}")
        return f"{check}: {hits[0]['found'][:110]}; exit {code}"

    # ---- defects
    @contextlib.contextmanager
    def accounts(self, cluster, user, **change):
        """The stand-in reads its accounts at every login."""
        path = self.site.path(cluster, "shared", "accounts.json")
        with open(path) as f:
            before = f.read()
        doc = json.loads(before)
        for account in doc["accounts"]:
            if account["user"] == user:
                account.update(change)
        self.overwrite(path, json.dumps(doc))
        try:
            yield
        finally:
            self.overwrite(path, before)

    @staticmethod
    def overwrite(path, text):
        with open(path, "w") as f:
            f.write(text)

    @contextlib.contextmanager
    def agent(self, i, env=None, **over):
        """Agent i with another configuration or environment."""
        s, host = self.site, self.site.hosts[i]
        s.agents[i].stop()
        s.agent_config(i, **over)
        s.agents[i].start(env)
        self.wait_agent(host)
        try:
            yield
        finally:
            s.agents[i].stop()
            s.agent_config(i)
            s.agents[i].start()
            self.wait_agent(host)

    def wait_agent(self, host):
        harness.wait_for(f"agent of {host} calls", 20, lambda: any(
            a["ip"] == host and a["state"] == "up" and a["silent_ms"] < 2000 for a in self.site.cli("agent", "list")["agents"]))

    @contextlib.contextmanager
    def stopped(self, i):
        self.site.agents[i].stop()
        try:
            yield
        finally:
            self.site.agents[i].start()
            self.wait_agent(self.site.hosts[i])

    @contextlib.contextmanager
    def frozen(self, i):
        os.kill(self.site.agents[i].pid(), signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.site.agents[i].pid(), signal.SIGCONT)

    @contextlib.contextmanager
    def frozen_observers(self, cluster, which):
        """OBServers that hang: their ports take connections, nothing answers."""
        pids = [h["pid"] for h in self.site.clusters[cluster]["hosts"]]
        for i in which:
            os.kill(pids[i], signal.SIGSTOP)
        try:
            yield
        finally:
            for i in which:
                os.kill(pids[i], signal.SIGCONT)
            time.sleep(1)

    def slow_storage(self, ms):
        """Each call of the destination takes that long."""
        return {"repository": {"plugin": f"{self.site.build}/plugins/obvault-fault.so", "options": [
            {"key": "root", "value": self.site.dest},
            {"key": "plugin", "value": f"{self.site.build}/plugins/obvault-file.so"},
            {"key": "rules", "value": f"get@1+:delay={ms};head@1+:delay={ms};list@1+:delay={ms};put_begin@1+:delay={ms};"
                                      f"probe@1+:delay={ms}"}]}}

    @contextlib.contextmanager
    def closed(self, folder):
        mode = os.stat(folder).st_mode & 0o7777
        os.chmod(folder, 0o700)
        try:
            yield
        finally:
            os.chmod(folder, mode)

    @contextlib.contextmanager
    def mounted(self, name, *argv, copy=False):
        """A file system of its own; copy: with the repository's files on it."""
        folder = self.site.path(name)
        os.makedirs(folder, exist_ok=True)
        subprocess.run(["mount", *argv, folder], check=True)
        try:
            if copy:
                shutil.copytree(self.site.dest, folder, dirs_exist_ok=True)
                self.site.own(folder, harness.UID_OBVAULT)
            yield folder
        finally:
            subprocess.run(["umount", "-l", folder], check=False)

    @contextlib.contextmanager
    def control(self, verb, bad, good):
        self.site.ctl("source", verb, **bad)
        try:
            yield
        finally:
            self.site.ctl("source", verb, **good)

    def root(self, folder):
        return {"repository": {"options": [{"key": "root", "value": folder}]}}

    def other_repository(self):
        """A second repository of the same cluster, as a wrong mount would show it."""
        s, folder = self.site, self.site.path("other")
        os.makedirs(folder, exist_ok=True)
        s.own(folder, harness.UID_OBVAULT)
        state = s.path("other-state")
        os.makedirs(state, exist_ok=True)
        s.own(state, harness.UID_OBVAULT)
        config = s.write(s.path("conf", "other.yaml"), open(s.agent_config(0, **self.root(folder))).read().replace(
            s.path("agent1-state"), state))
        s.agent_config(0)
        argv = [f"{s.build}/agent/obvault-agent", "--config", config, "local", "repo", "init"]
        if s.root_user:
            argv = ["setpriv", f"--reuid={harness.UID_OBVAULT}", f"--regid={harness.UID_OBVAULT}", "--clear-groups", *argv]
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
        if done.returncode != 0:
            raise harness.Failure(f"repo init of another repository: {done.stdout}")
        return folder

    def skewed(self):
        """A library that moves the wall clock of one process."""
        source, lib = self.site.path("skew.c"), self.site.path("skew.so")
        self.site.write(source, SKEW_C)
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", lib, source, "-ldl"], check=True)
        os.chmod(lib, 0o755)
        return lib

    # ---- checks: each returns (ok, figure)
    def fresh(self):
        code, seen, doc = self.look()
        bad = {x for x in seen if x[1] != "ok"} - ONE_MACHINE
        ok = code == 0 and bad == {("repository.known", "warn"), ("repository.identity", "warn")}
        return ok, f"before repo init: exit {code}, {sorted(bad)}"

    def healthy(self):
        self.site.cli("repo", "init")
        harness.wait_for("all agents see the repository", 15, lambda: all(
            a["sees_repository"] for a in self.site.cli("agent", "list")["agents"]))
        code, seen, doc = self.look()
        bad = {x for x in seen if x[1] != "ok"} - ONE_MACHINE
        repo_code, repo_seen, _ = self.look("repo", "check")
        repo_bad = {x for x in repo_seen if x[1] != "ok"} - ONE_MACHINE
        ok = code == 0 and repo_code == 0 and not bad and not repo_bad and doc["ok"] >= 50
        return ok, f"exit {code}, {doc['ok']} ok, {doc['warn']} warnings (one disk), {doc['fail']} failures {sorted(bad | repo_bad)}"

    def text(self):
        """The same for people; every failure in it says what it means and what to do."""
        s, tls = self.site, self.site.path("tls")
        env = dict(os.environ, OBVAULT_COORDINATOR=s.coordinator_address, OBVAULT_CA=f"{tls}/ca.pem",
                   OBVAULT_CERT=f"{tls}/operator.pem", OBVAULT_KEY=f"{tls}/operator.key")
        with self.control("cluster_role", {"value": "PHYSICAL STANDBY"}, {"value": "PRIMARY"}):
            done = subprocess.run([f"{s.build}/coordinator/obvault", "doctor"], env=env, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, timeout=60)
        lines = done.stdout.splitlines()
        at = next((i for i, line in enumerate(lines) if line.startswith("FAIL  source.role")), None)
        ok = done.returncode == 14 and at is not None and "means: " in lines[at + 1] and "next: " in lines[at + 2]
        return ok, f"exit {done.returncode}, {lines[at] if at is not None else done.stdout[-300:]}"


def defects(c, seed):
    """[(name, heavy, context, expectation...)]: one place wrong at a time."""
    s, rng = c.site, random.Random(seed)
    i = rng.randrange(len(s.hosts))
    agent = f"{s.hosts[i]}:{s.rpc_port}"
    tenant = rng.choice(s.tenants)
    clog = os.path.join(s.store_dir(i), "clog")
    wrong = "x" + harness.PASSWORD
    out = [
        ("agent account with a wrong password", False, lambda: c.accounts("source", "obv_agent", password=wrong),
         (10, "observer.sql", "FAIL")),
        ("agent account without SELECT", True, lambda: c.accounts("source", "obv_agent", rights=[]),
         (10, "observer.rights", "FAIL", ("doctor",), None, "lacks SELECT on oceanbase.__all_virtual_partition_info")),
        ("agent account with ALTER SYSTEM", True,
         lambda: c.accounts("source", "obv_agent", rights=["SELECT", "ALTER SYSTEM"]),
         (0, "observer.rights", "warn", ("doctor",), None, "ALTER SYSTEM on *.*")),
        ("coordinator account with a wrong password", True, lambda: c.accounts("source", "obv_coord", password=wrong),
         (10, "source.rights", "FAIL")),
        ("coordinator account without SELECT", True, lambda: c.accounts("source", "obv_coord", rights=[]),
         (10, "source.rights", "FAIL", ("doctor",), None, "lacks SELECT on oceanbase.__all_server")),
        ("restore account without ALTER SYSTEM", True, lambda: c.accounts("target", "obv_restore", rights=["SELECT"]),
         (10, "target.rights", "FAIL", ("doctor",), None, "lacks ALTER SYSTEM")),
        ("GTS off", False, lambda: c.control("sysvar", {"tenant": tenant, "name": "ob_timestamp_service", "value": "0"},
                                             {"tenant": tenant, "name": "ob_timestamp_service", "value": "1"}),
         (14, "source.gts", "FAIL", ("doctor",), s.tenant_name(tenant))),
        ("upgrade mode", True, lambda: c.control("parameter", {"name": "enable_upgrade_mode", "value": "True"},
                                                  {"name": "enable_upgrade_mode", "value": "False"}),
         (14, "source.upgrade", "FAIL")),
        ("OBServer of another version", True,
         lambda: c.control("parameter", {"name": "min_observer_version", "value": "4.0.0"},
                           {"name": "min_observer_version", "value": "3.1.5"}), (14, "source.version", "FAIL")),
        ("agent stopped, coordinator still trusts its lease", True, lambda: c.stopped(i),
         (14, "agent.up", "FAIL", ("doctor",), agent)),
        ("an OBServer hangs", True, lambda: c.frozen_observers("source", [i]),
         (14, "observer.sql", "FAIL", ("doctor", "--timeout", "40s"), agent)),
        ("all OBServers hang", True, lambda: c.frozen_observers("source", range(len(s.hosts))),
         (14, "source.rights", "FAIL", ("doctor", "--timeout", "55s"))),
        ("the target hangs", True, lambda: c.frozen_observers("target", range(len(s.hosts))),
         (14, "target.rights", "FAIL", ("doctor", "--timeout", "55s"))),
        ("the destination hangs", True, lambda: c.agent(i, **c.slow_storage(20000)),
         (8, "agent.answer", "FAIL", ("repo", "check"), agent, "at work at repository.")),
        ("agent frozen", True, lambda: c.frozen(i), (14, "agent.up", "FAIL", ("repo", "check"), agent)),
    ]
    if not s.root_user:
        return out
    lib = c.skewed()
    return out + [
        ("unreadable clog folder", False, lambda: c.closed(clog), (10, "observer.clog", "FAIL", ("doctor",), agent)),
        ("clock 5 s ahead", True, lambda: c.agent(i, {"LD_PRELOAD": lib, "SKEW_S": "5"}),
         (14, "observer.clock", "FAIL", ("doctor",), agent)),
        ("another repository mounted", True, lambda: c.agent(i, **c.root(c.other_repository())),
         (8, "repository.identity", "FAIL", ("repo", "check"), agent)),
        ("nothing mounted", True, lambda: c.agent(i, **c.root(s.path("empty-mount-point"))),
         (8, "repository.open", "FAIL", ("repo", "check"), agent)),
    ]


def mounts(c, seed):
    """Defects that need a mount of their own."""
    i = random.Random(seed + 1).randrange(len(c.site.hosts))
    agent = f"{c.site.hosts[i]}:{c.site.rpc_port}"

    def little_space():
        c.site.ctl("source", "load", tenant=c.site.tenants[0], bytes=24 * MIB, tables=1, partitions=2, seed=seed)
        with c.mounted("small", "-t", "tmpfs", "-o", "size=4m,mode=755", "tmpfs", copy=True) as folder:
            with c.agent(i, **c.root(folder)):
                until = time.monotonic() + 30  # the cluster's own table of sizes follows the load after a while
                while True:
                    try:
                        return True, c.expect(8, "repository.space", "FAIL", ("repo", "check"), agent)
                    except harness.Failure:
                        if time.monotonic() > until:
                            raise
                        time.sleep(1)

    def read_only():
        with c.mounted("readonly", "--bind", "-o", "ro", c.site.dest) as folder:
            with c.agent(i, **c.root(folder)):
                first = c.expect(8, "repository.mount", "FAIL", ("repo", "check"), agent)
                return True, first + "; " + c.expect(8, "repository.storage", "FAIL", ("repo", "check"), agent)

    return [("little space", little_space), ("read-only mount", read_only)]


def no_daemon_is_root(site):
    uids = site.daemon_uids()
    return len(uids) == 10, f"{len(uids)} daemons, uids {sorted(set(uids.values()))}"


def check(accept, quick, seed):
    work = tempfile.mkdtemp(prefix="obv-doctor-")
    os.chmod(work, 0o755)
    with harness.site(work, os.path.join(accept.root, "build", "dev"), net=80,
                      tenants=(1001,) if quick else (1001, 1002)) as site:
        c = Clinic(site).open()
        if not quick:
            accept.check("doctor: before the repository exists", c.fresh)
        if accept.check("doctor: a healthy site is all ok, exit 0", c.healthy) is False:
            return
        if not quick:
            accept.check("doctor: text", c.text)
        accept.check("daemons run unprivileged", no_daemon_is_root, site)
        todo = []
        for name, heavy, context, want in defects(c, seed):
            todo.append((name, heavy, lambda context=context, want=want: with_defect(c, context, want)))
        if site.root_user:
            todo += [(name, True, run) for name, run in mounts(c, seed)]
        for name, heavy, run in todo:
            if not (quick and heavy):
                accept.check(f"doctor: {name}", run)
        if not quick:
            accept.check("doctor: mended, all ok again", lambda: (c.settle() is None, "exit 0"))


def with_defect(c, context, want):
    with context():
        return True, c.expect(*want)


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--full", action="store_true")
    words.add_argument("--only", default="")
    words.add_argument("--seed", type=int, default=20261125)
    args = words.parse_args()
    accept = Acceptance(harness.ROOT, only=args.only)
    began = time.monotonic()
    check(accept, not args.full, args.seed)
    print(f"{time.monotonic() - began:.1f} s")
    return accept.finish()


if __name__ == "__main__":
    sys.exit(main())
