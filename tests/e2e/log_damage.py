"""log_damage - logs that are damaged, lost, or told differently by two replicas: found, named, and one tenant's matter only

Each case damages the log of one PG of the first tenant. Its part of the round must end INTERRUPTED, with exit code 6 and
a reason that names what is wrong; the other tenant must go on as if nothing had been. Then a new round begins.
"""
import random
import time

import first_whole_path as path
import harness
import log_storm
import log_truth
from log_storm import say


class Ground:
    def __init__(self, site, seed):
        self.site, self.rng, self.round, self.away = site, random.Random(seed + 9), 0, None
        self.hurt, self.other = site.tenants

    def ctl(self, verb, **args):
        return self.site.ctl_direct("source", verb, **args)

    def begin(self):
        s = self.site
        s.prepare()
        s.start_source(ilog_freeze_us=400000, clog_switch_bytes=log_storm.CLOG_FILE)
        s.ctl("source", "layout", tenants=list(s.tenants))
        self.tables = {t: s.ctl("source", "load", tenant=t, bytes=1 << 20, tables=1, partitions=30, compressor="mix",
                                seed=1)["tables"][0] for t in s.tenants}
        self.work(s.tenants)
        s.start_coordinator(archive={"settle_s": 1})
        s.start_agents()
        s.cli("repo", "init")
        self.new_round()

    def work(self, tenants):
        self.ctl("workload", op="start", rate=100, tenants=list(tenants), seed=self.rng.randrange(1 << 20))

    def new_round(self):
        if self.round:
            self.ctl("minor_freeze", force=True)  # no replica needs the damaged log any more, so no round begins before it
            self.site.cli("archive", "stop", "--wait", timeout=90)
        self.site.cli("archive", "start", "--wait", timeout=120)
        self.round += 1

    def status(self):
        code, answer = self.site.cli_raw("archive", "status")
        return code, {t["tenant_id"]: t for t in answer.get("archive", {}).get("tenants", [])}

    def pg(self):
        """A fresh PG of the hurt tenant and its leader's host; its log is stored so far."""
        part = self.rng.randrange(30)
        name = f"{(self.hurt << 40) + self.tables[self.hurt]}/{part}"
        leader = next(p["leader"] for p in self.ctl("status", pgs=True)["pgs"] if p["pg"] == name)
        return name, leader, part

    def write(self, part):
        self.ctl("insert", tenant=self.hurt, table=self.tables[self.hurt], partition=part, key=self.rng.randrange(1 << 40),
                 value="after the damage")

    # ---- the damages: each returns words of which one must stand in the reason
    def spoilt(self, what):
        name, leader, part = self.pg()
        log = self.ctl("spoil", host=leader, pg=name, what=what).get("log_id", 0)
        self.write(part)
        return [name], f"log {log} of {name} on host {leader}"

    def corrupt_block(self):
        return self.spoilt("bytes")

    def cursor_offset(self):
        return self.spoilt("cursor_offset")

    def cursor_accum(self):
        return self.spoilt("cursor_accum")

    def cursor_size(self):
        return self.spoilt("cursor_size")

    def disagree(self):
        """The leader's host has a log that is right in itself; the one that takes the PG over knows another."""
        name, leader, part = self.pg()
        log = self.ctl("spoil", host=leader, pg=name, what="entry_own").get("log_id", 0)
        self.write(part)
        time.sleep(4)  # it is archived
        self.ctl("leader_move", pg=name, to=leader % 3 + 1)
        self.write(part)
        self.away = self.site.agents[leader - 1]
        self.away.kill()
        return [name], f"log {log} of {name} on host {leader}, then archived elsewhere"

    def missing_file(self):
        """A clog file of the leader's host goes, with log of the hurt tenant that nobody had stored."""
        site = self.site
        self.ctl("workload", op="stop")
        time.sleep(8)  # the other tenant's checkpoint logs are behind it
        log_storm.settle(site, self.ctl("now")["now"], 60)
        for a in site.agents:
            a.kill()
        name, leader, part = self.pg()
        before = next(h["cur_clog_file"] for h in self.ctl("status")["hosts"] if h["id"] == leader)
        self.ctl("workload", op="start", rate=400, tenants=[self.hurt], seed=3)
        harness.wait_for("clog files to be filled", 60, lambda: next(
            h["cur_clog_file"] for h in self.ctl("status")["hosts"] if h["id"] == leader) > before + 4)
        self.ctl("clog_file", op="remove", host=leader, file=before + 2)
        for a in site.agents:
            a.start()
        self.work(site.tenants)
        return [str(before + 2), "clog"], f"file {before + 2} on host {leader}"

    # ---- a case
    def case(self, damage):
        if any(t["state"] != "DOING" for t in self.status()[1].values()):  # a case before broke off
            self.new_round()
        words, told = damage(self)

        def interrupted():
            code, tenants = self.status()
            return (code, tenants) if tenants.get(self.hurt, {}).get("state") == "INTERRUPTED" else None

        try:
            code, tenants = harness.wait_for(f"tenant {self.hurt} INTERRUPTED after {told}", 60, interrupted, 0.3)
        finally:
            if self.away:
                self.away.start()
                self.away = None
        text = str(tenants[self.hurt]["error"])
        at = self.ctl("now")["now"]
        goes_on = harness.wait_for(f"tenant {self.other} goes on", 60, lambda: self.status()[1][self.other]["checkpoint_us"] > at)
        only = self.status()[1][self.other]["state"] == "DOING"
        named = any(w in text for w in words)
        say(f"{told}: {text}")
        self.new_round()
        states = [t["state"] for t in self.status()[1].values()]
        return code == 6 and named and only and goes_on and set(states) == {"DOING"}, (
            f"{told}: exit code {code}, {'' if named else 'NOT NAMED: '}{text[:230]}; tenant {self.other} went on, round {self.round} "
            f"is {'/'.join(states)}")

    def stale_tail(self):
        """
        A follower keeps entries of a lost proposal, is rebuilt past the logs that won, and becomes the leader: of those
        its host has only the wrong ones. They must not be archived, whoever archives.
        """
        site = self.site
        name, leader, part = self.pg()
        follower = leader % 3 + 1
        missing = log_truth.Missing(site)
        self.ctl("stale_tail", host=follower, pg=name, count=5)
        self.ctl("rebuild", host=follower, pg=name, logs=5)
        for _ in range(8):
            self.write(part)
        self.ctl("leader_move", pg=name, to=follower)
        for _ in range(4):
            self.write(part)
        at = self.ctl("now")["now"]
        log_storm.settle(site, at, 60)
        missing.check()
        states = {t["state"] for t in self.status()[1].values()}
        return not missing.findings and states == {"DOING"}, (
            f"5 stale entries of {name} on host {follower}, rebuilt there past 5 logs, then its leader: none is archived; "
            f"{missing.figure()}")

    def whole(self, accept, count):
        """A new set in the newest round, and restores of both tenants in it."""
        site = self.site
        if any(t["state"] != "DOING" for t in self.status()[1].values()):
            self.new_round()
        job = site.cli("backup", "start", "--wait", timeout=120)
        if job["state"] != "SUCCESS":
            raise harness.Failure(f"backup: {job}")
        time.sleep(1)
        at = self.ctl("now")["now"]
        self.ctl("workload", op="stop")
        wanted = {t: site.digests("source", t, at) for t in site.tenants}
        site.wait_window_past(at, 60)
        path.start_target(site)
        good, notes = 0, []
        for t in site.tenants[:count]:
            equal, note = path.compare_restore(site, t, at, wanted[t], f"w{t}")
            good += equal
            notes += [] if equal else [note]
        ok, report = path.strict(accept, site, leftovers=True)
        return good == count and ok, f"{good} of {count} tenants equal in round {self.round} {notes[:1] or ''}; reader: {report}"


CASES = (("corrupt block in the middle", Ground.corrupt_block, True),
         ("cursor contradicts its entry (offset)", Ground.cursor_offset, True),
         ("cursor contradicts its entry (accumulated checksum)", Ground.cursor_accum, False),
         ("cursor contradicts its entry (size)", Ground.cursor_size, False),
         ("replicas that disagree", Ground.disagree, False),
         ("missing clog file", Ground.missing_file, False))
STALE, WHOLE = "damage: rebuilt follower with a stale uncommitted tail", "damage: a new round and set make it whole again"


def check(accept, quick, seed):
    cases = [(f"damage: {name}", damage) for name, damage, is_quick in CASES if is_quick or not quick]
    if not any(map(accept.wants, [*(n for n, _ in cases), STALE, WHOLE])):
        return
    with log_storm.new_site(accept, quick, 120) as site:
        ground = Ground(site, seed)
        ground.begin()
        accept.check(STALE, ground.stale_tail)
        for name, damage in cases:
            accept.check(name, ground.case, damage)
        accept.check(WHOLE, ground.whole, accept, 1 if quick else 2)
        log_storm.no_mercy(site)
