"""faults - kill -9 of an agent or the coordinator at named points and seeded times of backup and archive

One site serves all moments: each moment kills one process inside a running backup (or round), starts it again as a
supervisor would, and lets the job end. SUCCESS must restore equal, FAILED must say why and must not be offered.
"""
import json
import os
import random
import subprocess
import tempfile
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
    """[(daemon, point or None)]: every point of backup and archive at least once, the rest at random times."""
    todo = [("agent", p) for p in named["obvault-agent"] if p.startswith(("backup.", "archive."))]
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
        self.restored = 0

    def daemons(self, kind):
        if kind == "coordinator":
            return [self.site.coordinator]
        return self.site.agents

    def arm(self, kind, point):
        """One agent (or the coordinator) dies at its first pass over the point."""
        daemons = self.daemons(kind)
        chosen = daemons if kind == "coordinator" else [self.rng.choice(daemons)]
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

    def job_state(self, job):
        code, answer = self.site.cli_raw("job", "show", job)
        return answer["state"] if code == 0 else ""

    def start_backup(self):
        return self.site.cli("backup", "start")["job_id"]

    def moment(self, kind, point):
        site = self.site
        chosen = self.arm(kind, point) if point else []
        job = None
        if point is None or not point.startswith("archive."):
            job = self.start_backup()
        if point is None:
            time.sleep(self.rng.uniform(0.2, 3.0))
            chosen = [self.rng.choice(self.daemons(kind))]
            state = self.job_state(job)
            chosen[0].kill()
        else:
            if point.startswith("archive."):
                self.provoke(point, chosen)
                job = self.start_backup()
            end = time.monotonic() + 40
            while all(d.alive() for d in chosen) and time.monotonic() < end:
                time.sleep(0.02)
            state = "DOING"
        dead = [d for d in chosen if not d.alive()]
        self.fired += bool(dead)
        self.inside_doing += bool(dead) and state not in ("SUCCESS", "FAILED")
        if not dead:
            self.notes.append(f"{point}: never reached")
        self.disarm(chosen)
        time.sleep(self.rng.uniform(0.0, 1.0))
        for d in dead:
            d.start()
        harness.wait_for("coordinator answers", 30, lambda: site.cli_raw("version")[0] == 0)
        if job is None:
            job = self.start_backup()
        self.end(job, f"{kind} at {point or 'a random time'}")

    def provoke(self, point, chosen):
        """Archive points that a quiet round does not pass: a restarted agent takes over its PGs."""
        time.sleep(2)
        for d in chosen:
            if d.alive():
                d.stop()
                d.start()

    def end(self, job, what):
        """Waits for the job's end and proves what it says."""
        site = self.site
        state = harness.wait_for(f"end of job {job} after a kill of {what}", 240,
                                 lambda: (lambda s: s if s in ("SUCCESS", "FAILED", "CANCELLED") else "")(self.job_state(job)), 0.3)
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
        tenant = site.tenants[self.restored % len(site.tenants)]
        wanted = site.digests("source", tenant, at)
        site.wait_window_past(at, 90)
        equal, note = path.compare_restore(site, tenant, at, wanted, f"k{self.restored}x{tenant}")
        self.restored += 1
        if not equal:
            raise harness.Failure(f"{what}: set looks good and restores wrong: {note}")


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
            path.start_target(site)
            for kind, point in todo:
                k.moment(kind, point)
            doing = k.inside_doing >= (2 if quick else 15)
            reached = k.fired == len(todo)
            return reached and doing and k.succeeded + k.failed == len(todo), (
                f"{k.fired} of {len(todo)} kills struck, {k.inside_doing} inside DOING; {k.succeeded} sets SUCCESS and "
                f"restored equal, {k.failed} FAILED with the reason {k.notes[:3] or ''}")

        accept.check("kill -9 at seeded moments of backup and archive", run)
        accept.check("tree after the kills passes the reader", lambda: path.strict(accept, site, leftovers=True))
