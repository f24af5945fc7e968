"""log_kills - agents and the coordinator die at random while log is archived; the coordinator stays away for long

At the end of each run everything of obvault is killed at once: what is published then must be stored then.
"""
import random
import time

import first_whole_path as path
import harness
import log_storm
import log_truth
from log_storm import say


class Kills:
    def __init__(self, site, seed, quick):
        self.site, self.rng, self.quick = site, random.Random(seed + 5), quick
        self.killed = {"agent": 0, "coordinator": 0}
        self.missing = log_truth.Missing(site)
        self.published = 0

    def begin(self):
        tables = log_storm.begin(self.site, self.rng.randrange(1 << 30), partitions=4 if self.quick else 38,
                                 rate=100 if self.quick else 200)
        self.storm = log_storm.Storm(self.site, tables, random.Random(self.rng.random()), 0.8)

    def everybody(self):
        return [self.site.coordinator, *self.site.agents]

    def revive(self):
        for d in self.everybody():
            if not d.alive():
                d.start()

    def kill_one(self, d):
        if d.alive():
            self.killed["coordinator" if d is self.site.coordinator else "agent"] += 1
            d.kill()

    def run(self, lasts):
        """One seeded run; afterwards nobody of obvault lives, and the destination is compared with what it says of itself."""
        end, first = time.monotonic() + lasts, True
        while time.monotonic() < end:
            time.sleep(self.rng.uniform(0.3, 1.5))
            self.kill_one(self.site.coordinator if first else self.rng.choice(self.site.agents))
            first = self.rng.random() < 0.25
            for _ in range(self.rng.randint(0, 2)):
                self.storm.strike(self.rng.choice(("move", "flap", "freeze", "commit")))
            time.sleep(self.rng.uniform(0.1, 1.5))
            self.revive()
        moves = self.progress()
        for d in self.everybody():
            d.kill()
        before = len(self.missing.findings)
        self.missing.check()
        say(f"run: published moved {moves / 1e6:.1f} s; {self.missing.figure()}")
        self.revive()
        return len(self.missing.findings) == before

    def progress(self):
        """Waits until every tenant's checkpoint has moved since the run before: a run that published nothing tells nothing."""
        def least():
            return min(max((c for _, _, _, c in self.missing.stored.published(t)), default=0) for t in self.site.tenants)
        harness.wait_for("a checkpoint of this run", 90, lambda: self.revive() or least() > self.published, 0.1)
        before, self.published = self.published, least()
        return self.published - before if before else 0

    def runs(self):
        count, lasts = (2, 4) if self.quick else (10, 12)
        good = sum(self.run(lasts) for _ in range(count))
        kills = self.killed["agent"] + self.killed["coordinator"]
        ok = good == count and self.missing.checked > 500 and kills >= 2 * count and self.killed["coordinator"] > 0
        return ok, (f"{good} of {count} runs, {self.killed['agent']} agents and {self.killed['coordinator']} times the coordinator "
                    f"killed, all at once {count} times; {self.missing.figure()}")

    def away(self):
        """The coordinator is dead; log goes on flowing, leaders move, and nothing is published until it is back."""
        site, lasts = self.site, 20 if self.quick else 300
        harness.wait_for("coordinator answers", 30, lambda: site.cli_raw("version")[0] == 0)
        self.progress()
        site.coordinator.kill()
        began = site.ctl_direct("source", "now")["now"]
        logs = self.missing.bus.read().count
        said = [self.missing.stored.published(t) for t in site.tenants]
        end = time.monotonic() + lasts
        while time.monotonic() < end:
            self.storm.strike(self.rng.choice(("move", "commit", "commit", "freeze")))
            time.sleep(self.rng.uniform(0.5, 2))
        self.missing.bus.read()
        meanwhile = self.missing.bus.count - logs
        self.missing.stored.read()
        stored, wanted = self.stored_since(began, site.ctl_direct("source", "now")["now"] - 5_000_000)
        published_nothing = said == [self.missing.stored.published(t) for t in site.tenants]
        site.coordinator.start()
        at = site.ctl_direct("source", "now")["now"]
        log_storm.settle(site, at, 90)
        back_s = (site.ctl_direct("source", "now")["now"] - at) / 1e6
        before = len(self.missing.findings)
        self.missing.check()
        interrupted = [t["tenant_id"] for t in site.cli("archive", "status")["archive"]["tenants"] if t["state"] != "DOING"]
        ok = (published_nothing and not interrupted and len(self.missing.findings) == before and meanwhile > 100 and
              stored * 10 >= wanted * 9)
        return ok, (f"dead for {lasts} s with {meanwhile} logs, {stored} of {wanted} stored meanwhile, {back_s:.0f} s after its start "
                    f"restorable up to then; {self.missing.figure()}{f', not DOING: {interrupted}' if interrupted else ''}"
                    f"{'' if published_nothing else ', published while it was dead'}")

    def stored_since(self, lo, hi):
        """(stored, logged) of the times between."""
        stored = wanted = 0
        have = {}
        for logs in self.missing.stored.logs.values():
            for key, ids in logs.items():
                have.setdefault(key, set()).update(ids)
        for key, logs in self.missing.bus.logs.items():
            if key[0] >> 40 in self.site.tenants and not log_truth.private(key[0]):
                ids = [i for i, (submit, _, repeats) in logs.items() if lo < submit < hi and not repeats]
                wanted += len(ids)
                stored += sum(i in have.get(key, ()) for i in ids)
        return stored, wanted

    def whole(self):
        self.site.ctl("source", "workload", op="stop")
        time.sleep(1)
        log_storm.settle(self.site, self.site.ctl("source", "now")["now"], 90)
        self.missing.check(again=True)
        return not self.missing.findings, self.missing.figure()


LINES = ("kills: no log below a published checkpoint is missing", "kills: coordinator dead for long, no hole",
         "kills: every log is there at the end", "kills: independent reader over the tree")


def check(accept, quick, seed):
    if not any(map(accept.wants, LINES)):
        return
    with log_storm.new_site(accept, quick, 110) as site:
        kills = Kills(site, seed, quick)
        kills.begin()
        accept.check(LINES[0], kills.runs)
        accept.check(LINES[1], kills.away)
        accept.check(LINES[2], kills.whole)
        accept.check(LINES[3], lambda: path.strict(accept, site, leftovers=True))
        log_storm.no_mercy(site)
