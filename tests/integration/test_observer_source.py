#!/usr/bin/python3
"""test_observer_source.py PROGRAM - the observer driver copies every PG of a stand-in cluster, at rest, under load and through faults

PROGRAM is observer_source. Three hosts on a loopback net of their own; OBSTANDIN names the stand-in's executable.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
CLUSTER = os.path.join(HERE, "..", "observer", "cluster")
NET = f"127.{100 + os.getpid() % 100}.7"
PORT = 20000 + os.getpid() % 20000
CHANGED, GONE, REFUSED, CORRUPT, UNAVAILABLE = 4, 5, 17, 30, 64  # obv_code


class Cluster:
    def __init__(self, folder):
        self.dir = folder

    def tool(self, *args):
        p = subprocess.run([CLUSTER, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert p.returncode == 0, (args, p.stdout, p.stderr)
        return p.stdout

    def start(self):
        self.tool("start", "--dir", self.dir, "--hosts", ",".join(f"{NET}.{i}" for i in (2, 3, 4)), "--sql-port", str(PORT),
                  "--rpc-port", str(PORT + 1), "--knob", "ilog_freeze_us=500000")

    def ctl(self, verb, host=1, **args):
        pairs = [f"{k}={json.dumps(v) if isinstance(v, (bool, int)) else v}" for k, v in args.items()]
        a = json.loads(self.tool("ctl", "--dir", self.dir, "--host", str(host), verb, *pairs, "--json"))
        assert a.get("ok"), (verb, args, a)
        return a

    def pgs(self):
        return [p["pg"] for p in self.ctl("status", pgs=True)["pgs"]]

    def rpc_log(self, host):
        with open(os.path.join(self.dir, f"host{host}", "log", "rpc.log")) as f:
            return f.read()


class Copier:
    def __init__(self, program):
        self.program = program

    def copy(self, host, pgs):
        lines = "".join(p.replace("/", " ") + "\n" for p in pgs)
        p = subprocess.run([self.program, f"{NET}.{host + 1}", str(PORT + 1), "1"], input=lines, stdout=subprocess.PIPE, text=True,
                           timeout=120)
        assert p.returncode == 0, p.returncode
        out = [json.loads(line) for line in p.stdout.splitlines()]
        assert len(out) == len(pgs), (len(out), len(pgs))
        return out

    def whole(self, host, pgs):
        """Copies until every PG held still; at most 8 attempts each."""
        left, done = list(pgs), []
        for _ in range(8):
            out = self.copy(host, left)
            for o in out:
                assert o["code"] in (0, CHANGED), o
                if o["code"] == 0:
                    assert o["sums_match"] and o["record"], o
                    done.append(o)
            left = [o["pg"] for o in out if o["code"]]
            if not left:
                return done
            time.sleep(0.2)
        raise AssertionError(f"never at rest: {left}")


def check_rules(o):
    """What must hold for every copy: one major an index, no minor behind the first that reaches publish_version."""
    majors, minors = {}, {}
    for index, kind, snapshot, _ in o["tables"]:
        if kind == 1:
            assert index not in majors, o
            assert snapshot <= o["publish"], o
            majors[index] = snapshot
        elif kind != 3:
            minors.setdefault(index, []).append(snapshot)
    assert any(t[1] == 3 for t in o["tables"]), o
    for index, snaps in minors.items():
        assert all(s < o["publish"] for s in snaps[:-1]), o
        assert index in majors, o
    assert max((t[2] for t in o["tables"] if t[1] != 3), default=0) >= o["publish"], o


def at_rest(c, k):
    c.ctl("minor_freeze")
    total = 0
    for host in (1, 2, 3):
        out = k.whole(host, c.pgs())
        for o in out:
            check_rules(o)
        total += sum(o["blocks"] for o in out)
        assert max(len(o["tables"]) for o in out) > 3
    assert total > 100, total
    print(f"at rest: {len(c.pgs())} PGs from each of 3 hosts, {total} blocks")


def under_load(c, k):
    c.ctl("workload", op="start", rate=300)
    stop = threading.Event()

    def live():
        while not stop.is_set():
            c.ctl("minor_freeze", lag_data_info=True)
            c.ctl("compact", tenant=1001)
            c.ctl("minor_freeze", force=True)
            c.ctl("major_merge")
            c.ctl("compact", tenant=1002)

    t = threading.Thread(target=live)
    t.start()
    try:
        end, rounds = time.time() + 12, 0
        while time.time() < end:
            for host in (1, 2, 3):
                for o in k.whole(host, c.pgs()):
                    check_rules(o)
            rounds += 1
    finally:
        stop.set()
        t.join()
    c.ctl("workload", op="stop")
    print(f"under load: {rounds} rounds over 3 hosts")


def faults(c, k):
    c.ctl("minor_freeze", force=True)
    pg = max(k.whole(1, c.pgs()), key=lambda o: o["blocks"])["pg"]
    assert k.copy(1, ["1100611139499999/0"])[0]["code"] == GONE
    cases = [
        ("a PG that is gone", dict(kind="code", pcode="0x472", arg=-4225), GONE),
        ("a replica that migrates", dict(kind="code", pcode="0x472", arg=-4683), REFUSED),
        ("an sstable that vanished", dict(kind="code", pcode="0x45D", arg=-4018), CHANGED),
        ("another block than named", dict(kind="code", pcode="0x471", arg=-4016), CHANGED),
        ("a packet damaged on the way", dict(kind="unsum", pcode="0x471"), 0),
        ("packets damaged twice", dict(kind="unsum", pcode="0x471", count=2), CORRUPT),
        ("a damaged block", dict(kind="flip", pcode="0x471", arg=70), 0),
        ("a block that stays damaged", dict(kind="flip", pcode="0x471", arg=70, count=4), CORRUPT),
        ("half a packet", dict(kind="cut", pcode="0x471"), UNAVAILABLE),
    ]
    for what, fault, want in cases:
        c.ctl("fault", pg=pg, **fault)
        got = k.copy(1, [pg])[0]
        assert got["code"] == want, (what, want, got)
        for _ in range(5):  # what is left of a fault with a count
            if k.copy(1, [pg])[0]["code"] == 0:
                break
        assert k.copy(1, [pg])[0]["code"] == 0, what
    c.ctl("migrate", pg=pg, host=1, status=1)
    assert k.copy(1, [pg])[0]["code"] == REFUSED
    c.ctl("migrate", pg=pg, host=1, status=0)
    assert k.copy(1, [pg])[0]["code"] == 0
    print(f"faults: {len(cases) + 2} cases on {pg}")


def only_reads(c):
    seen = set()
    for host in (1, 2, 3):
        text = c.rpc_log(host)
        assert "VIOLATION" not in text
        seen |= {line.split()[2] for line in text.splitlines() if len(line.split()) > 2}
    assert {s.lower() for s in seen} == {"0x472", "0x473", "0x45d", "0x471"}, seen
    print("codes on the wire:", " ".join(sorted(seen)))


def main():
    if not os.environ.get("OBSTANDIN"):
        print("skipped: OBSTANDIN is not set")
        return 77
    folder = tempfile.mkdtemp(prefix="obv-source-")
    c, k = Cluster(folder), Copier(sys.argv[1])
    try:
        c.start()
        c.ctl("layout")
        c.ctl("load", tenant=1001, bytes=32 << 20, partitions=4, compressor="zstd_1.3.8", index=True)
        c.ctl("load", tenant=1001, bytes=8 << 20, compressor="none")
        c.ctl("load", tenant=1002, bytes=8 << 20, part_level=2, partitions=2, tablegroup=True, compressor="lz4_1.0")
        c.ctl("workload", op="start", rate=200)
        time.sleep(2)
        c.ctl("workload", op="stop")
        at_rest(c, k)
        under_load(c, k)
        faults(c, k)
        only_reads(c)
    finally:
        subprocess.run([CLUSTER, "destroy", "--dir", folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
