"""faults - kill -9 of an agent or the coordinator at named points and seeded times of backup and archive

One site serves all moments: each moment kills one process inside a running backup (or round), starts it again as a
supervisor would, and lets the job end. SUCCESS must restore equal, FAILED must say why and must not be offered.
"""
import base64
import os
import random
import subprocess
import sys
import time

import first_whole_path as path
import harness


def points(accept):
    """{binary: [named fault points]} as the test builds list them."""
    build = path.build_dir(accept)
    out = {}
    for name in ("agent/obvault-agent", "coordinator/obvault-coordinator"):
        text = subprocess.run([os.path.join(build, name), "--list-fault-points"], stdout=subprocess.PIPE, text=True,
                              check=True).stdout
        out[os.path.basename(name)] = [line.split()[0] for line in text.splitlines() if line.strip()]
    return out


def plan(named, moments, rng):
    """[(daemon, point or None)]: every point of backup and archive at least once, the rest at random times. The site
    archives in rounds: the step to another piece has its kills in unit.agent_job.archive_piece."""
    todo = [("agent", p) for p in named["obvault-agent"]
            if p.startswith(("backup.", "archive.")) and not p.startswith("archive.piece_")]
    todo += [("coordinator", p) for p in named["obvault-coordinator"]
             if p.startswith(("coordinator.backup", "coordinator.archive", "coordinator.files"))]
    rng.shuffle(todo)
    while len(todo) < moments:
        todo.append((rng.choice(["agent", "coordinator"]), None))
    return todo


class Kills:
    def __init__(self, accept, site, story, rng):
        self.accept, self.site, self.story, self.rng = accept, site, story, rng
        self.inside_doing, self.fired, self.succeeded, self.failed, self.notes = 0, 0, 0, 0, []
        self.restored, self.to_prove = 0, []

    def daemons(self, kind):
        if kind == "coordinator":
            return [self.site.coordinator]
        return self.site.agents

    def arm(self, kind, point):
        """One agent (or the coordinator) dies at its first pass over the point."""
        daemons = self.daemons(kind)
        # whichever host leads the PGs that the point is about
        everyone = kind == "coordinator" or PROVOKE.get(point) in (Kills.fill_file, Kills.next_round)
        chosen = daemons if everyone else [self.rng.choice(daemons)]
        for d in chosen:
            with open(self.site.fault_files[d.name], "w") as f:
                f.write(f"{point} kill 1\n")
            self.site.own(self.site.fault_files[d.name], harness.UID_OBVAULT)
            if self.site.root_user:
                os.chown(self.site.fault_files[d.name], harness.UID_OBVAULT, harness.UID_OBVAULT)
        return chosen

    def disarm(self, chosen):
        for d in chosen:
            for suffix in ("", ".fired"):
                try:
                    os.unlink(self.site.fault_files[d.name] + suffix)
                except FileNotFoundError:
                    pass

    def revive(self):
        """Starts what is dead, as a supervisor would: others may have reached the point before it was disarmed."""
        for d in [self.site.coordinator, *self.site.agents]:
            if not d.alive():
                d.start()

    def job_state(self, job):
        code, answer = self.site.cli_raw("job", "show", job)
        return answer["state"] if code == 0 else ""

    def ended(self, job):
        state = self.job_state(job)
        return state if state in ("SUCCESS", "FAILED", "CANCELLED") else ""

    def job_phase(self, job):
        code, answer = self.site.cli_raw("job", "show", job)
        return answer["phase"] if code == 0 else "PREPARE"

    def start_backup(self, chosen=()):
        return self.site.cli("backup", "start")["job_id"]

    def moment(self, kind, point):
        site = self.site
        print(f"{time.strftime('%H:%M:%S')} {kind} at {point or 'a random time'}", file=sys.stderr, flush=True)
        provoke = PROVOKE.get(point, Kills.start_backup)
        between = provoke in (Kills.stop_round, Kills.next_round, Kills.stop_under)
        chosen = self.arm(kind, point) if point else []
        job = provoke(self, chosen)
        state = "DOING"
        if point is None:
            time.sleep(self.rng.uniform(0.2, 3.0))
            chosen = [self.rng.choice(self.daemons(kind))]
            state = self.job_state(job)
            chosen[0].kill()
        else:
            end = time.monotonic() + 40
            while all(d.alive() for d in chosen) and time.monotonic() < end:
                time.sleep(0.02)
            self.disarm(chosen)  # the first one is enough
        dead = [d for d in chosen if not d.alive()]
        self.fired += bool(dead)
        self.inside_doing += bool(dead) and state not in ("SUCCESS", "FAILED") and not between
        if not dead:
            self.notes.append(f"{point}: never reached")
        time.sleep(self.rng.uniform(0.0, 1.0))
        self.revive()
        harness.wait_for("coordinator answers", 30, lambda: site.cli_raw("version")[0] == 0)
        if between:
            self.round_goes_on()
        self.end(job or self.start_backup(), f"{kind} at {point or 'a random time'}")

    # ---- what makes the process pass the point; each returns the backup job under way, or None
    def take_over(self, chosen):
        """A restarted agent takes its PGs over from media."""
        time.sleep(2)
        for d in chosen:
            if d.alive():
                d.stop()
                d.start()
        return self.start_backup()

    def fill_file(self, chosen):
        """One PG writes until its data file is full."""
        site, tenant = self.site, self.site.tenants[0]
        for i in range(600):
            value = base64.b64encode(self.rng.randbytes(150_000)).decode()  # nothing to compress but the alphabet
            site.ctl_direct("source", "insert", tenant=tenant, table=50001, partition=0, key=1000000 + i, value=value)
            if chosen and not all(d.alive() for d in chosen):
                break
        return None

    def restart_pg(self, chosen):
        """The OBServers answer that the sstable is gone: those PGs start again."""
        for host in (1, 2, 3):
            self.site.cluster("source", "ctl", "--host", host, "fault", "kind=code", "pcode=0x45D", "count=2", "arg=-4018")
        return self.start_backup()

    def stop_under(self, chosen):
        """Archiving that stops under the backup, once its lists are made, fails the set with that reason."""
        self.wait_for_log()
        job = self.start_backup()
        harness.wait_for("PGs being copied", 30, lambda: self.job_phase(job) not in ("PREPARE", "SCHEDULE", "GENERATE"), 0.02)
        self.site.cli_raw("archive", "stop")
        return job

    def wait_for_log(self):
        """The times to be restored lie in this round: its log must reach them before it stops."""
        self.site.wait_window_past(max((at for _, _, at, _ in self.to_prove), default=0), 90)

    def stop_round(self, chosen):
        self.wait_for_log()
        self.site.cli_raw("archive", "stop")
        return None

    def next_round(self, chosen):
        self.stop_round(chosen)
        harness.wait_for("the round's end", 60, lambda: self.round_state() == "STOP")
        self.site.cli_raw("archive", "start")
        return None

    def round_state(self):
        self.revive()
        code, answer = self.site.cli_raw("archive", "status")
        if code != 0:
            return ""
        archive = answer["archive"]
        behind = archive["state"] == "DOING" and any(t["state"] != "DOING" or t["checkpoint_us"] <= 0 for t in archive["tenants"])
        return "BEGINNING" if behind else archive["state"]

    def round_goes_on(self):
        """Ends what was begun, and has a round that is DOING."""
        for _ in range(3):
            state = harness.wait_for("a settled round", 90, lambda: (lambda s: s if s in ("DOING", "STOP") else "")(self.round_state()))
            if state == "DOING":
                return
            self.site.cli("archive", "start", "--wait", timeout=120)
        raise harness.Failure(f"round stays {state}")

    def end(self, job, what):
        """Waits for the job's end and proves what it says."""
        site = self.site
        state = harness.wait_for(f"end of job {job} after a kill of {what}", 240,
                                 lambda: self.revive() or self.ended(job), 0.3)
        shown = site.cli("job", "show", job)
        if state != "SUCCESS":
            self.failed += 1
            if not (shown.get("error") or {}).get("message"):
                raise harness.Failure(f"{what}: FAILED without a reason")
            offered = [b for b in site.cli("backup", "list")["sets"] if b["set_id"] == shown.get("set_id") and b["state"] == "SUCCESS"]
            if offered:
                raise harness.Failure(f"{what}: failed set {shown.get('set_id')} is offered as good")
            self.notes.append(f"{what}: FAILED: {shown['error']['message'][:80]}")
            return
        self.succeeded += 1
        at = site.ctl("source", "now")["now"]
        tenant = site.tenants[self.succeeded % len(site.tenants)]
        self.to_prove.append((what, tenant, at, site.digests("source", tenant, at)))

    def prove(self):
        """Restores every set that ended SUCCESS to a time between its end and the next one's."""
        self.wait_for_log()
        for i, (what, tenant, at, wanted) in enumerate(self.to_prove):
            equal, note = path.compare_restore(self.site, tenant, at, wanted, f"k{i}x{tenant}")
            if not equal:
                raise harness.Failure(f"{what}: set looks good and restores wrong: {note}")
            self.restored += 1


PROVOKE = {
    None: Kills.start_backup,
    "archive.before_key": Kills.next_round,
    "archive.after_key": Kills.next_round,
    "archive.after_kickoff": Kills.next_round,
    "archive.takeover_listed": Kills.take_over,
    "archive.takeover_indexed": Kills.take_over,
    "archive.before_index": Kills.fill_file,
    "archive.after_index": Kills.fill_file,
    "backup.pg_restarted": Kills.restart_pg,
    "coordinator.backup_failed": Kills.stop_under,
    "coordinator.archive_started": Kills.next_round,
    "coordinator.archive_doing": Kills.next_round,
    "coordinator.archive_stopping": Kills.stop_round,
    "coordinator.archive_stopped": Kills.stop_round,
}


def kills(accept, quick, seed):
    rng = random.Random(seed + 1)
    with path.new_site(accept, 46) as site:
        story = path.Story(site, mib_per_tenant=4 if quick else 12, seed=seed)
        k = Kills(accept, site, story, rng)

        def run():
            named = points(accept)
            todo = plan(named, 20, rng)
            if quick:
                todo = todo[:4]
            story.begin()
            story.unsettle()  # minors and trans sstables of every PG
            for kind, point in todo:
                k.moment(kind, point)
            path.start_target(site)
            k.prove()
            doing = k.inside_doing >= (2 if quick else 15)
            reached = k.fired == len(todo)
            return reached and doing and k.restored == k.succeeded and k.succeeded + k.failed == len(todo), (
                f"{k.fired} of {len(todo)} kills struck ({sum(1 for _, p in todo if p)} named points), {k.inside_doing} inside "
                f"DOING; {k.succeeded} sets SUCCESS, {k.restored} of them restored equal, {k.failed} FAILED with the "
                f"reason {k.notes[:6] or ''}")

        accept.check("kill -9 at seeded moments of backup and archive", run)
        accept.check("tree after the kills passes the reader", lambda: path.strict(accept, site, leftovers=True))
