"""log_lag - how long a committed log takes to the destination, and what archiving costs; full form only, on a quiet machine

A log's commit is its submit time; it counts as stored when its block has come to its data file. That is read from sizes
that are looked at all the time, and from the blocks afterwards. Beside it stands the lag of the published checkpoint,
which waits for the flush, the sample and the coordinator too.
"""
import json
import os
import tempfile
import threading
import time

import first_whole_path as path
import harness
import log_storm
from log_truth import ROUND, A, Stored, numbered

MIB, GIB = 1 << 20, 1 << 30
PGS = 200
P99_S = {"fast": 3.0, "ilog": 25.0}


class Sizes(threading.Thread):
    """{file: [(seen at, size)]} of all data files of the archive."""

    def __init__(self, site, step=0.1):
        super().__init__(daemon=True)
        self.site, self.step, self.ended = site, step, threading.Event()
        self.seen, self.checkpoint_lags, self.error = {}, [], None
        self.stored = Stored(site.dest, site.tenants)

    def run(self):
        try:
            turn = 0
            while not self.ended.wait(self.step):
                self.look()
                if turn % 10 == 0:
                    at = time.time()
                    self.checkpoint_lags += [at - max(c for _, _, _, c in self.stored.published(t)) / 1e6
                                             for t in self.site.tenants]
                turn += 1
        except Exception as e:
            self.error = e

    def look(self):
        for tenant in self.site.tenants:
            top = self.stored.clog_dir(tenant)
            for name in filter(ROUND.match, os.listdir(top)):
                data = os.path.join(top, name, "data")
                for table in os.listdir(data) if os.path.isdir(data) else []:
                    for part in os.listdir(os.path.join(data, table)):
                        folder = os.path.join(data, table, part)
                        for n in numbered(folder):
                            self.note(os.path.join(folder, str(n)))

    def note(self, name):
        size = os.path.getsize(name)
        known = self.seen.setdefault(name, [])
        if not known or known[-1][1] != size:
            known.append((time.time(), size))

    def end(self):
        self.ended.set()
        self.join(60)
        if self.error:
            raise self.error
        return self


def lags(sizes, since_us):
    """Seconds from submit to the file, of every log that was submitted after since_us, ascending."""
    out = []
    for name, seen in sizes.seen.items():
        with open(name, "rb") as f:
            buf = memoryview(f.read())
        turn = 0
        for block in A.get_blocks(buf):
            while turn < len(seen) and seen[turn][1] < block.end:
                turn += 1
            if turn == len(seen):
                break
            for e in A.get_entries(A.open_payload(block.payload)[0]):
                if e.submit_ts >= since_us and e.type not in (A.LOG_KICKOFF, *A.TS_MAY_STAY):
                    out.append(seen[turn][0] - e.submit_ts / 1e6)
    return sorted(out)


def share(sorted_values, part):
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * part))]


def cpu_seconds(daemons):
    total = 0
    for d in daemons:
        with open(f"/proc/{d.pid()}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def archived(site):
    return sum(t["bytes_in"] for t in site.cli("archive", "status")["archive"]["tenants"])


def lag(accept, proof, mib_s, lasts, build, costs):
    """The freeze of the ilog comes as often as in a real OBServer: that is most of the lag of its proof."""
    work = tempfile.mkdtemp(prefix="obvault-accept-")
    with harness.site(work, path.build_dir(accept, build), net=130) as site:
        site.prepare()
        site.start_source()
        site.ctl("source", "layout", tenants=list(site.tenants))
        for t in site.tenants:
            site.ctl("source", "load", tenant=t, bytes=1 << 20, tables=2, partitions=50, compressor="mix", seed=1)
        site.start_coordinator(archive={"flush_ms": 1000})
        site.start_agents(commit_proof=proof)
        site.cli("repo", "init")
        site.cli("archive", "start", "--wait", timeout=180)
        site.ctl("source", "workload", op="start", rate=200, tenants=list(site.tenants), seed=1, pgs=PGS, bytes=mib_s * MIB)
        time.sleep(5)
        began, cpu, bytes_in = site.ctl("source", "now")["now"], cpu_seconds(site.agents), archived(site)
        sizes = Sizes(site)
        sizes.start()
        time.sleep(lasts)
        load = site.ctl("source", "workload", op="stop")
        ended = site.ctl("source", "now")["now"]
        log_storm.settle(site, ended, 120)
        sizes.end()
        cpu, bytes_in = cpu_seconds(site.agents) - cpu, archived(site) - bytes_in
        all_lags = lags(sizes, began)
        p50, p99 = share(all_lags, 0.5), share(all_lags, 0.99)
        checkpoints = sorted(sizes.checkpoint_lags)
        rate = bytes_in / MIB / ((ended - began) / 1e6)
        costs.append((proof, cpu / (bytes_in / GIB), bytes_in))
        log_storm.no_mercy(site)
        enough = rate > mib_s * 0.9 and load["busy_pgs"] >= PGS
        return p99 < P99_S[proof] and enough and len(all_lags) > 1000, (
            f"p50 {p50:.2f} s, p99 {p99:.2f} s of {len(all_lags)} logs, {rate:.1f} MiB/s over {load['busy_pgs']} PGs; checkpoint lag "
            f"p50 {share(checkpoints, 0.5):.1f} s, p99 {share(checkpoints, 0.99):.1f} s")


def fsyncs(accept):
    """The agent's archive job over made clog: what only scale shows."""
    code, out = accept.command([os.path.join(path.build_dir(accept, "release"), "tests", "bench", "archive_pgs"), "10000", "100",
                                "10"], 600)
    told = json.loads(next(line for line in out.splitlines() if line.startswith("{")))
    busy, idle = told["rounds_of_busy"], told["nothing_new"]
    return code == 0 and idle["fsyncs"] == 0 and busy["fsyncs"] <= 100 * told["rounds"], (
        f"{idle['fsyncs_per_s']} fsyncs/s with {told['pgs']} idle PGs, {busy['fsyncs'] / told['rounds']:.0f} a flush of "
        f"{told['busy']} busy ones ({busy['fsyncs_per_s']} /s when flushes follow each other at once)")


def check(accept, quick, seed):
    if quick:
        return
    costs = []
    for proof in ("fast", "ilog"):
        accept.check(f"lag: commit to stored at 20 MB/s over {PGS} PGs, {proof} proof", lag, accept, proof, 20, 60, "release", costs)
    accept.check("lag: fsyncs with 10,000 idle and 100 busy PGs", fsyncs, accept)
    if costs:
        accept.check("lag: CPU seconds per GB archived", lambda: (
            all(c > 0 for _, c, _ in costs),
            ", ".join(f"{proof}: {cost:.1f} s/GiB over {n / GIB:.2f} GiB" for proof, cost, n in costs)))
