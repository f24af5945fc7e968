"""host_faults - faults of storage, hosts, servers, accounts and clocks; each ends a set with its reason or passes unharmed

One site serves all, in sequence. Each fault strikes a backup that is copying. Whatever it is: the job ends by itself, a
failed set says why and is never offered, the archive goes on or resumes, and the sets made before stay restorable: at
the end tenants are restored from the first, the last and other good sets, and every row is compared.
"""
import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import time

import first_whole_path as path
import harness
import hostshim
from running_backup import Backup

TMPFS_SIZE = "1g"


class HostFaults:
    def __init__(self, site, quick, seed):
        self.site, self.quick, self.rng = site, quick, random.Random(seed)
        self.good, self.bad, self.shims = [], [], {}
        self.store = site.path("store")

    # ---- the site
    def begin(self):
        s = self.site
        s.prepare()
        self.mount()
        for name in ("coordinator", "agent1", "agent2", "agent3"):
            self.shims[name] = hostshim.Shim(s.build, s.path("conf", f"{name}.shim"), s.dest, s.uid(harness.UID_OBVAULT))
        s.start_source(ilog_freeze_us=500000)
        s.ctl("source", "layout", tenants=list(s.tenants), small=True)
        for tenant in s.tenants:
            s.ctl("source", "load", tenant=tenant, bytes=(2 if self.quick else 6) << 20, tables=2, partitions=4, compressor="mix", index=True)
        s.ctl("source", "workload", op="start", rate=100, tenants=list(s.tenants), seed=self.rng.randrange(1 << 30), long_pct=10)
        s.start_coordinator(extra_env=self.shims["coordinator"].env())
        s.start_agents()
        for agent in s.agents:  # each with its own switch
            agent.stop()
            agent.env.update(self.shims[agent.name].env())
            agent.start()
        s.coordinator.env.update(self.shims["coordinator"].env())
        s.cli("repo", "init")
        s.cli("archive", "start", "--wait", timeout=120)
        if not self.quick:  # there the first fault passes, and leaves the first good set
            self.keep(self.backup())

    def mount(self):
        """The destination is a file system of its own, which is also mounted where no agent looks."""
        os.makedirs(self.store)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={TMPFS_SIZE}", "tmpfs", self.store], check=True)
        os.makedirs(f"{self.store}/repository")
        os.chown(f"{self.store}/repository", harness.UID_OBVAULT, harness.UID_OBVAULT)
        os.chmod(f"{self.store}/repository", 0o750)
        self.bind()

    def bind(self):
        subprocess.run(["mount", "--bind", f"{self.store}/repository", self.site.dest], check=True)

    def unbind(self):
        subprocess.run(["umount", "-l", self.site.dest], check=True)

    def clean(self):
        for place in (self.site.dest, self.store):
            while os.path.ismount(place):
                if subprocess.run(["umount", "-l", place], check=False).returncode:
                    break

    # ---- steps
    def backup(self, limit=120):
        return Backup(self.site, limit)

    def keep(self, backup):
        """A backup that must be good."""
        state, code, job = backup.end()
        if state != "SUCCESS":
            raise harness.Failure(f"no good set: exit {code}, {job}")
        self.good.append(job["set_id"])

    def slow(self, ms=1500, count=2):
        """The OBServers hold their next answers with macroblocks back: time for a fault under the copy."""
        ms, count = (600, 1) if self.quick else (ms, count)
        for host in (1, 2, 3):
            self.site.cluster("source", "ctl", "--host", host, "fault", "kind=stall", "pcode=0x471", f"count={count}", f"arg={ms * 1000}", check=False)

    def sets(self):
        return {s["set_id"]: s["state"] for s in self.site.cli("backup", "list")["sets"]}

    def windows(self):
        """{(tenant, set): last restorable us}"""
        return {(t["tenant_id"], w["set_id"]): w["to_us"] for t in self.site.windows() for w in t["windows"]}

    def archive_goes_on(self, seconds=60):
        now = self.site.ctl("source", "now")["now"]
        harness.wait_for(f"the archive past {harness.rfc3339(now)} ({self.why_not()})", seconds,
                         lambda: all(self.windows().get((t, s), 0) >= now for t in self.site.tenants for s in self.good), 0.3)

    def why_not(self):
        code, answer = self.site.cli_raw("archive", "status")
        return [t.get("error") for t in answer["archive"]["tenants"]] if code == 0 else answer

    def judge(self, backup, states, codes=(0,), words=()):
        """What every end must keep, and what this one must say. Returns a text for the line; Failure says what is wrong."""
        state, code, job = backup.end()
        error = job.get("error") or {}
        text = f"{error.get('message', '')} {error.get('hint', '')}"
        took = time.monotonic() - backup.began
        if state not in states:
            raise harness.Failure(f"{state}, expected {'/'.join(states)}: exit {code}: {text}")
        if state == "SUCCESS":
            if code not in (0, None):
                raise harness.Failure(f"SUCCESS with exit {code}")
            self.good.append(job["set_id"])
        else:
            if not error.get("message") or not error.get("hint"):
                raise harness.Failure(f"FAILED without message or hint: {error}")
            if code not in (*codes, None) or error.get("exit_code") not in codes:
                raise harness.Failure(f"exit {code}, error's {error.get('exit_code')}, expected {codes}: {text}")
            missing = [w for w in words if w not in text]
            if missing:
                raise harness.Failure(f"the error does not name {missing}: {text}")
            if job.get("set_id"):
                self.bad.append(job["set_id"])
        known, spans = self.sets(), self.windows()
        offered = [s for s in self.bad if known.get(s) == "SUCCESS" or any(key[1] == s for key in spans)]
        lost = [s for s in self.good if known.get(s) != "SUCCESS" or not all((t, s) in spans for t in self.site.tenants)]
        if offered or lost:
            raise harness.Failure(f"failed sets offered: {offered}, good sets not offered any more: {lost}")
        said = f"exit {error.get('exit_code')}: {error['message'][:150]}" if error else "exit 0"
        return f"{state} after {took:.0f} s, {said}"

    def calm(self):
        """What a fault that was not as expected may leave must not fail the next one."""
        for s in self.shims.values():
            s.disarm()
            s.clock(0)
        self.no_source_faults()
        self.site.cli_raw("backup", "cancel")
        with contextlib.suppress(harness.Failure):
            self.all_up()

    def armed(self, agents=None):
        return [self.shims[a.name] for a in (agents or self.site.agents)]

    def fires(self, what, shims):
        fired = sum(s.disarm() for s in shims)
        if not fired:
            raise harness.Failure(f"{what}: never happened")
        return fired

    # ---- the destination
    def resize(self, size):
        return subprocess.run(["mount", "-o", f"remount,size={size}", self.store], check=False, stderr=subprocess.DEVNULL).returncode == 0

    def full(self):
        """The file system shrinks to what is in it."""
        self.slow()
        job = self.backup().copying()

        def shrunk():  # others write meanwhile: then it is too small already
            space = os.statvfs(self.store)
            return self.resize((space.f_blocks - space.f_bfree) * space.f_frsize + (64 << 10))

        try:
            harness.wait_for("a full file system", 10, shrunk, 0.01)
            said = self.judge(job, ("FAILED",), (8,), ("No space left",))
        finally:
            self.resize(TMPFS_SIZE)
        self.archive_goes_on()
        return True, said

    def quota(self):
        self.slow()
        job = self.backup().copying()
        for s in self.armed():
            s.arm(hostshim.CLOSE, hostshim.EDQUOT)
        said = self.judge(job, ("FAILED",), (8,), ("quota exceeded",))
        fired = self.fires("EDQUOT at close", self.armed())
        self.archive_goes_on()
        return True, f"{fired} closes refused, {said}"

    def read_only(self):
        """What an NFS client gives when its export turns read-only."""
        self.slow()
        job = self.backup().copying()
        for s in self.armed():
            s.arm(hostshim.WRITE | hostshim.CREATE, hostshim.EROFS)
        said = self.judge(job, ("FAILED",), (8,), ("Read-only file system",))
        fired = self.fires("EROFS", self.armed())
        self.archive_goes_on()
        return True, f"{fired} calls refused, {said}"

    def read_only_mount(self):
        """The real thing: agents start on a mount that is read-only, and go on once it is not."""
        s = self.site
        for a in s.agents:
            a.stop()
        subprocess.run(["mount", "-o", "remount,bind,ro", s.dest], check=True)
        for a in s.agents:
            a.start()
        self.all_up()
        try:
            said = self.judge(self.backup(), ("FAILED",), (8,), ("Read-only file system",))
        finally:
            subprocess.run(["mount", "-o", "remount,bind,rw", s.dest], check=True)
        self.archive_goes_on()
        return True, said

    def unmounted(self):
        """Gone for a moment: the backup waits for it and succeeds; the folder below stays empty."""
        self.slow()
        job = self.backup().copying()
        self.unbind()
        time.sleep(6)
        stray = [os.path.join(b, f) for b, _, files in os.walk(self.site.dest) for f in files]
        refused = not any(a["sees_repository"] for a in self.site.cli("agent", "list")["agents"])
        self.bind()
        said = self.judge(job, ("SUCCESS",))
        self.archive_goes_on()
        return refused and not stray, f"{len(stray)} files below the mount, agents say so: {refused}, {said}"

    def other_repository(self):
        s = self.site
        other, uuid = f"{self.store}/other", "00000000-1111-2222-3333-444444444444"
        os.makedirs(other)
        os.chown(other, harness.UID_OBVAULT, harness.UID_OBVAULT)
        config = s.agent_config(0, repository={"options": [{"key": "root", "value": other}]}, state_dir=s.path("agent1-state", "other"))
        argv = [f"{s.build}/agent/obvault-agent", "local", "repo", "init", "--config", config, "--uuid", uuid]
        subprocess.run(["setpriv", f"--reuid={harness.UID_OBVAULT}", f"--regid={harness.UID_OBVAULT}", "--clear-groups", *argv],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        s.agent_config(0)
        self.slow()
        job = self.backup().copying()
        subprocess.run(["mount", "--bind", other, s.dest], check=True)
        try:
            try:
                harness.wait_for("all agents naming the other repository", 20, lambda: all(
                    not a["sees_repository"] and uuid in str(a["repository_error"]) for a in s.cli("agent", "list")["agents"]))
            except harness.Failure as e:
                raise harness.Failure(f"{e}: {s.cli('agent', 'list')['agents']}") from e
            said = self.judge(job, ("FAILED",), (11,), (uuid,))
            start, _ = s.cli_raw("backup", "start")
            written = [f for b, _, files in os.walk(other) for f in files if f != "repository.json"]
        finally:
            subprocess.run(["umount", "-l", s.dest], check=True)
        self.archive_goes_on()
        shutil.rmtree(other)
        return start == 11 and not written, f"{len(written)} files written there, a new start ends {start}, {said}"

    def root_squash(self):
        self.slow()
        job = self.backup().copying()
        os.chown(f"{self.store}/repository", 0, 0)
        os.chmod(f"{self.store}/repository", 0o700)
        try:
            said = self.judge(job, ("FAILED",), (10,), ("Permission denied", "root_squash"))
        finally:
            os.chown(f"{self.store}/repository", harness.UID_OBVAULT, harness.UID_OBVAULT)
            os.chmod(f"{self.store}/repository", 0o750)
        self.archive_goes_on()
        return True, said

    def eio_once(self):
        self.slow()
        job = self.backup().copying()
        for i, s in enumerate(self.armed()):  # an appended file of the archive, new objects
            s.arm(hostshim.FSYNC, hostshim.EIO, *((1, self.site.cluster_name) if i == 0 else (2, ".obvault-tmp")))
        said = self.judge(job, ("SUCCESS", "FAILED"), (8,), ("Input/output error",))
        fired = self.fires("EIO at fsync", self.armed())
        self.archive_goes_on()
        return True, f"{fired} fsyncs failed, {said}"

    def short_writes(self):
        for s in self.armed():
            s.arm(hostshim.WRITE, 0)
        said = self.judge(self.backup(), ("SUCCESS",))
        self.archive_goes_on()
        fired = self.fires("short writes", self.armed())
        return True, f"{fired} writes cut short, {said}"

    # ---- processes and hosts
    def all_up(self):
        harness.wait_for("all agents up", 30, lambda: sum(
            a["state"] == "up" and a["sees_repository"] for a in self.site.cli("agent", "list")["agents"]) == len(self.site.agents))

    def agent_dies(self):
        self.slow()
        job = self.backup().copying()
        agent = self.rng.choice(self.site.agents)
        agent.kill()
        time.sleep(3)
        agent.start()
        said = self.judge(job, ("SUCCESS",))
        self.archive_goes_on()
        return True, f"{agent.name}: {said}"

    def coordinator_dies(self):
        self.slow()
        job = self.backup().copying()
        self.site.coordinator.kill()
        time.sleep(3)
        self.site.coordinator.start()
        harness.wait_for("coordinator answers", 30, lambda: self.site.cli_raw("version")[0] == 0)
        said = self.judge(job, ("SUCCESS",))
        self.archive_goes_on()
        return True, said

    def host_dies(self):
        """OBServer and agent of one host at once; the log of its leaders goes on elsewhere."""
        self.slow()
        job = self.backup().copying()
        host = self.rng.choice((2, 3))
        self.site.agents[host - 1].kill()
        self.site.cluster("source", "stop", "--kill", "--host", host)
        time.sleep(8)
        self.site.cluster("source", "start", "--host", host)
        self.site.agents[host - 1].start()
        said = self.judge(job, ("SUCCESS",))
        self.archive_goes_on()
        return True, f"host {host}: {said}"

    def observer_dies(self):
        self.slow()
        job = self.backup().copying()
        host = self.rng.choice((2, 3))
        self.site.cluster("source", "stop", "--kill", "--host", host)
        time.sleep(4)
        self.site.cluster("source", "start", "--host", host)
        said = self.judge(job, ("SUCCESS",))
        self.archive_goes_on()
        return True, f"host {host}: {said}"

    # ---- the cluster
    def merged(self):
        self.slow()
        job = self.backup().copying()
        self.site.ctl("source", "major_merge", wait=True)
        said = self.judge(job, ("SUCCESS",))
        self.archive_goes_on()
        return True, said

    def user_pgs(self, tenant):
        return [p for p in self.site.ctl("source", "status", pgs=True)["pgs"] if int(p["pg"].split("/")[0]) >> 40 == tenant]

    def dropped(self):
        """A table goes while it is copied: the set closes over that, or says that it could not."""
        s, tenant = self.site, self.site.tenants[0]
        table = s.ctl("source", "ddl", op="create_table", tenant=tenant, partitions=4)
        self.archive_goes_on()
        self.slow()
        job = self.backup().copying()
        s.ctl("source", "ddl", op="drop_table", tenant=tenant, table=table["table_id"] & ((1 << 40) - 1))
        said = self.judge(job, ("SUCCESS", "FAILED"), (1,), ("DDL",))
        self.archive_goes_on()
        return True, said

    def moved(self):
        """Replicas leave the host that copies them: others are used, and those that left return to the archive's members."""
        s = self.site
        pgs = [p for p in s.ctl("source", "status", pgs=True)["pgs"] if int(p["pg"].split("/")[0]) >> 40 in s.tenants]
        self.slow()
        job = self.backup().copying()
        away = []
        for i, pg in enumerate(pgs[:30]):
            host = [h for h in (1, 2, 3) if h != pg["leader"]][i % 2]
            s.ctl_direct("source", "replica", pg=pg["pg"], host=host, here=False)
            away.append((pg["pg"], host))
        said = self.judge(job, ("SUCCESS",))
        for pg, host in away:
            s.ctl_direct("source", "replica", pg=pg, host=host, here=True)
        self.archive_goes_on()
        return True, f"{len(away)} replicas left, {said}"

    def leader_change(self):
        self.slow()
        job = self.backup().copying()
        moved = 0
        pgs = self.site.ctl("source", "status", pgs=True)["pgs"]
        for i, pg in enumerate(pgs):
            moved += self.site.ctl_direct("source", "leader_move", pg=pg["pg"], to=pg["leader"] % 3 + 1)["ok"]
            if i >= 40:
                break
        said = self.judge(job, ("SUCCESS",))
        self.archive_goes_on()
        return moved > 0, f"{moved} leaders moved, {said}"

    def corrupt_source(self):
        """The same macroblock is bad on every replica: named, and no set."""
        pg = self.rng.choice([p["pg"] for p in self.user_pgs(self.site.tenants[0]) if p["pg"].split("/")[0] != "0"])
        for host in (1, 2, 3):
            self.site.cluster("source", "ctl", "--host", host, "fault", "kind=flip", "pcode=0x471", "count=200", "arg=5000")
        said = self.judge(self.backup(), ("FAILED",), (7,), ("block", "agent"))
        self.no_source_faults()
        self.archive_goes_on()
        return True, said

    def no_source_faults(self):
        for host in (1, 2, 3):
            self.site.cluster("source", "ctl", "--host", host, "fault", "kind=none", "pcode=0", check=False)

    def server(self, host, version):
        self.site.ctl("source", "server", host=host, build_version=version)

    def other_version(self):
        """A rolling upgrade: no start, a running set fails; a release that nobody has tested: no start. Archiving goes on."""
        s = self.site
        db = sqlite3.connect(f"file:{s.path('source', 'shared', 'cluster.db')}?mode=ro", uri=True, timeout=20)
        with contextlib.closing(db):
            build = db.execute("SELECT build_version FROM __all_server WHERE id = 1").fetchone()
        self.server(2, "3.1.4_100000")
        try:
            start, answer = s.cli_raw("backup", "start", "--wait")
            error = answer.get("error") or {}
        finally:
            self.server(2, build[0])
        s.ctl("source", "parameter", name="min_observer_version", value="4.0.0.0")
        try:
            unknown, answer = s.cli_raw("backup", "start", "--wait")
            named = "4.0.0.0" in str(answer.get("error"))
        finally:
            s.ctl("source", "parameter", name="min_observer_version", value="3.1.5")
        self.slow()
        job = self.backup().copying()
        self.server(3, "3.1.4_100000")
        try:
            said = self.judge(job, ("FAILED",), (14,), ("during the backup", "upgraded"))
        finally:
            self.server(3, build[0])
        self.archive_goes_on()
        return start == 14 and "version" in error.get("message", "") and unknown == 1 and named, (
            f"start with one other: exit {start}, with an unknown release: exit {unknown}; under the copy: {said}")

    def accounts(self, user, rights):
        file = self.site.path("source", "shared", "accounts.json")
        with open(file) as f:
            doc = json.load(f)
        for a in doc["accounts"]:
            if a["user"] == user:
                a["rights"] = rights
        with open(file, "w") as f:
            json.dump(doc, f)

    def no_rights(self):
        """The coordinator's and an agent's account lose SELECT: refused as such, named, and all goes on when it is back."""
        s = self.site
        self.accounts("obv_coord", [])
        self.accounts("obv_agent", [])
        s.coordinator.stop()
        s.coordinator.start()
        s.agents[1].stop()
        s.agents[1].start()
        harness.wait_for("coordinator answers", 30, lambda: s.cli_raw("version")[0] == 0)
        self.all_up()
        code, answer = s.cli_raw("backup", "start", "--wait")
        said = answer.get("error") or {}
        self.accounts("obv_coord", ["SELECT"])
        blocked = harness.wait_for("the reason in archive status", 30, lambda: [
            t["error"] for t in s.cli("archive", "status")["archive"]["tenants"] if t["error"]])
        self.accounts("obv_agent", ["SELECT"])
        self.archive_goes_on(90)
        ok = code == 10 and "docs/sql.md" in said.get("hint", "")
        return ok, f"start: exit {code}: {said.get('message', '')[:110]}; archive says: {blocked[0][:110]}"

    # ---- clocks
    def clock_jumps(self):
        """Coordinator and agents jump an hour ahead under a backup, then two hours back under the next."""
        said = []
        for seconds in (3600, -3600):
            self.slow()
            job = self.backup().copying()
            for s in self.shims.values():
                s.clock(seconds)
            said.append(f"{seconds:+d} s: " + self.judge(job, ("SUCCESS",)))
            self.archive_goes_on()
        for s in self.shims.values():
            s.clock(0)
        self.archive_goes_on()
        return True, "; ".join(said)

    # ---- an operator
    def cancelled(self):
        """`backup cancel` while OBServers hold their answers back: over within 10 s, agents let go, nothing is offered."""
        self.slow(ms=20000, count=4)
        job = self.backup().copying()
        time.sleep(1)
        began = time.monotonic()
        code, answer = self.site.cli_raw("backup", "cancel")
        took = time.monotonic() - began
        said = self.judge(job, ("FAILED",), (1,), ("cancelled by an operator",))
        harness.wait_for("agents that let go", 25, lambda: not any(a["batches"] for a in self.site.cli("agent", "list")["agents"]))
        let_go = time.monotonic() - began
        again, _ = self.site.cli_raw("backup", "cancel")
        self.no_source_faults()
        self.keep(self.backup())
        self.archive_goes_on()
        return code == 0 and took < 10 and again != 0 and answer.get("error"), (
            f"cancel ends {code} after {took:.1f} s, agents let go after {let_go:.1f} s, once more ends {again}, the next set is good; {said}")

    # ---- the proof
    def restored(self):
        """The first set with little log behind it, the last one, and sets between with the log of faults behind them."""
        s = self.site
        time.sleep(1)
        end = s.ctl("source", "now")["now"]
        s.ctl("source", "workload", op="stop")
        begin = max(s.window(t)[0] for t in s.tenants)
        times = [begin + 1, end, *(self.rng.randrange(begin, end) for _ in range(2))]
        asked = [(s.tenants[i % len(s.tenants)], at) for i, at in enumerate(times)]
        wanted = {(t, at): s.digests("source", t, at) for t, at in asked}
        s.wait_window_past(end)
        s.destroy_cluster("source")
        path.start_target(s)
        equal, notes = 0, []
        for i, (tenant, at) in enumerate(asked):
            good, note = path.compare_restore(s, tenant, at, wanted[(tenant, at)], f"h{i}x{tenant}")
            equal += good
            notes += [] if good else [note]
        return equal == len(asked), f"{equal} of {len(asked)} restores equal, {len(self.good)} good sets, {len(self.bad)} failed {notes or ''}"


# Name of the line, method, part of the quick form. In this order: the shim knows files by their path, which those of a
# mount that was detached once have no more.
FAULTS = [
    ("EIO at fsync once", HostFaults.eio_once, True),
    ("destination full", HostFaults.full, True),
    ("quota at close", HostFaults.quota, False),
    ("destination read-only", HostFaults.read_only, False),
    ("short writes", HostFaults.short_writes, False),
    ("destination mounted read-only", HostFaults.read_only_mount, False),
    ("destination unmounted", HostFaults.unmounted, False),
    ("another repository's destination", HostFaults.other_repository, False),
    ("root squash", HostFaults.root_squash, False),
    ("agent dies and returns", HostFaults.agent_dies, False),
    ("coordinator dies and returns", HostFaults.coordinator_dies, False),
    ("OBServer dies and returns", HostFaults.observer_dies, False),
    ("host dies and returns", HostFaults.host_dies, False),
    ("PG merged under the copy", HostFaults.merged, False),
    ("PG dropped under the copy", HostFaults.dropped, False),
    ("PG moved under the copy", HostFaults.moved, False),
    ("leader change during backup", HostFaults.leader_change, False),
    ("corrupt macroblock at the source", HostFaults.corrupt_source, False),
    ("OBServer of another version", HostFaults.other_version, False),
    ("SQL account without rights", HostFaults.no_rights, False),
    ("clock jumping", HostFaults.clock_jumps, False),
    ("backup cancel", HostFaults.cancelled, False),
]


def check(accept, quick, seed):
    with path.new_site(accept, 60, tenants=(1001,) if quick else (1001, 1002)) as site:
        faults = HostFaults(site, quick, seed)
        try:
            if not accept.check("fault: the site without any", lambda: (faults.begin(), (True, "archiving is DOING"))[1]):
                return
            for name, method, is_quick in FAULTS:
                if is_quick or not quick:
                    accept.check(f"fault: {name}", method, faults)
                    faults.calm()
            if not quick:  # the quick form of the whole has restores enough
                accept.check("fault: after all of them, restores equal", faults.restored)
            accept.check("fault: the tree passes the reader", lambda: path.strict(accept, site, leftovers=True))
        finally:
            site.stop()
            faults.clean()
