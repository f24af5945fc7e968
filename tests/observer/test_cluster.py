#!/usr/bin/python3
"""test_cluster.py OBSTANDIN [FOLDER] - a whole stand-in cluster: load, workload, merges, kills; then copied by RPC and logs and compared

Three hosts on 127.0.13.2 to .4. What a right backup tool reads must give exactly the digest that the cluster's history gives.
"""
import hashlib
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import importlib.machinery  # noqa: E402
import importlib.util  # noqa: E402

import live  # noqa: E402
from live import PKey, RpcError  # noqa: E402

HERE = os.path.dirname(os.path.realpath(__file__))
loader = importlib.machinery.SourceFileLoader("cluster", os.path.join(HERE, "cluster"))
cluster = importlib.util.module_from_spec(importlib.util.spec_from_loader("cluster", loader))
sys.dont_write_bytecode = True
loader.exec_module(cluster)
PORT = 20000 + os.getpid() % 20000
HOSTS = ["127.0.13.2", "127.0.13.3", "127.0.13.4"]


class Bench:
    def __init__(self, observer, folder):
        self.dir, self.observer = folder, observer

    def tool(self, *args):
        subprocess.run([os.path.join(HERE, "cluster"), *args], check=True, stdout=subprocess.DEVNULL)

    def start(self, host=None, *extra):
        args = ["start", "--dir", self.dir]
        if host:
            args += ["--host", str(host)]
        else:
            args += ["--hosts", ",".join(HOSTS), "--sql-port", str(PORT), "--rpc-port", str(PORT + 1), "--observer", self.observer, *extra]
        self.tool(*args)

    def ctl(self, verb, host=1, **args):
        a = cluster.control(self.dir, host, dict(args, verb=verb), 120)
        assert a.get("ok"), (verb, args, a)
        return a

    def store(self, host):
        return os.path.join(self.dir, f"host{host}", "store")


def key_of(name):
    table, part = (int(x) for x in name.split("/"))
    if part > 0x7FFFFFFF:
        return PKey(table, part >> 32, part & 0xFFFFFFFF)
    return PKey(table, part, 0)


def digest(rows):
    sha = hashlib.sha256()
    for (low, key), value in sorted(rows.items()):
        sha.update(struct.pack(">QI", low, len(key)) + key + struct.pack(">I", len(value)) + value)
    return len(rows), sha.hexdigest()


def compare(b, tag, hosts=(1, 2, 3)):
    now = b.ctl("now")["now"]
    for tenant in (1001, 1002):
        want = b.ctl("digest", tenant=tenant, at=now)
        for h in hosts:
            got = b.ctl("store_digest", host=h, tenant=tenant, at=now)
            bad = [(x["pg"], x["rows"], y["rows"]) for x, y in zip(want["pgs"], got["pgs"]) if x != y]
            assert want["sha256"] == got["sha256"], (tag, tenant, h, bad[:5])
    print(f"{tag}: {want['rows']} rows in {len(want['pgs'])} PGs agree", flush=True)


def copies(b, host, names):
    rpc = live.Rpc(HOSTS[host - 1], PORT + 1)
    out = {}
    for name in names:
        for _ in range(50):
            try:
                out[name] = live.PgCopy(rpc, key_of(name))
                break
            except live.Changed:
                pass
            except RpcError as e:
                if e.code not in (-4018, -4284, -4023):
                    raise
        else:
            raise AssertionError(f"{name} never stood still")
    rpc.close()
    return out


def explain(copy, logs, t):
    """What a human needs to find the difference."""
    pos = copy.data["last_replay_log_id"]
    print("T", t, "lower bound", copy.lower, "data", copy.data, "clog", copy.clog["last_replay_log_id"], "logs", min(logs, default=0), max(logs, default=0))
    print("hole", [i for i in range(pos + 1, max(logs, default=0)) if i not in logs][:5])
    for table_id, rows in copy.minors.items():
        print(table_id, "minor rows", len(rows), "open", [(r.trans_id, copy.trans.get(r.trans_id)) for r in rows if r.state][:10])
    print("trans", copy.trans)


def copy_and_restore(b, host):
    """Copies while the workload runs, then T a little later: rows must be those of T."""
    names = [p["pg"] for p in b.ctl("status", pgs=True)["pgs"] if p["state"] == 1 and key_of(p["pg"]).tenant_id == 1001]
    got = copies(b, host, names)
    lower = max(c.lower for c in got.values())
    t = b.ctl("now")["now"]
    assert t >= lower
    time.sleep(1.2)
    want = {p["pg"]: p for p in b.ctl("digest", tenant=1001, at=t)["pgs"]}
    last = {key_of(p["pg"]): p["last_log_id"] for p in b.ctl("status", pgs=True)["pgs"]}
    for _ in range(100):  # ilog follows
        seen = {}
        logs = live.committed(b.store(host), seen)
        behind = [n for n in names if seen.get(key_of(n), 0) < last[key_of(n)]]
        if not behind:
            break
        time.sleep(0.1)
    else:
        raise AssertionError(f"ilog does not follow: {behind}")
    checked = 0
    for name, copy in got.items():
        low = f"{key_of(name).low}/{key_of(name).partition_id}"
        if low not in want:
            continue
        rows, sha = digest(copy.rows_at(t, logs.get(key_of(name), {})))
        if (rows, sha) != (want[low]["rows"], want[low]["sha256"]):
            explain(copy, logs.get(key_of(name), {}), t)
        assert (rows, sha) == (want[low]["rows"], want[low]["sha256"]), (name, rows, want[low]["rows"], copy.data)
        checked += 1
    print(f"host {host}: {checked} PGs copied and replayed to T", flush=True)


def refusals(b):
    rpc = live.Rpc(HOSTS[0], PORT + 1)
    key = PKey(1001 << 40 | 50001, 0, 0)

    def code(fn):
        try:
            fn()
        except RpcError as e:
            return e.code
        return 0

    assert code(lambda: rpc.pg_info(key)) == 0
    assert code(lambda: rpc.pg_info(key, src=-1)) == -4002
    assert code(lambda: rpc.pg_info(key, slave_safe=1)) == -4007
    assert code(lambda: rpc.pg_info(key, compat=1)) == -4007
    assert code(lambda: rpc.pg_info(key, dst=77)) == -8004
    assert code(lambda: rpc.pg_info(key, dst=0)) == -8004
    assert code(lambda: rpc.pg_info(key, checksum=1)) == -4103
    assert code(lambda: rpc.pg_info(key, timeout=0)) == -4012
    assert code(lambda: rpc.pg_info(PKey(1001 << 40 | 59999, 0, 0))) == -4225
    copy = live.PgCopy(rpc, key)
    items = rpc.partitions(key, copy.data["publish_version"], copy.data["last_replay_log_ts"])
    major = items[0]["info"][0]["keys"][0]
    _, pairs = rpc.base_meta(major)
    assert code(lambda: rpc.blocks(major, [(0, pairs[0][0], pairs[0][1] + 7)])) == -4016
    gone = dict(major, version={"version": 99})
    assert code(lambda: rpc.base_meta(gone)) == -4284
    assert code(lambda: rpc.unary(0x501, b"")) == -4007
    rpc.close()
    with open(os.path.join(b.dir, "host1", "log", "rpc.log")) as f:
        assert sum("VIOLATION" in line for line in f) == 1


def streams(b):
    """More than one answer; then one left alone for too long, and one ended early."""
    table = b.ctl("load", tenant=1001, bytes=8 << 20, compressor="none")["tables"][0]
    b.ctl("knob", name="stream_wait_us", value=300000)
    rpc = live.Rpc(HOSTS[0], PORT + 1)
    key = PKey(1001 << 40 | table, 0, 0)
    data = rpc.pg_info(key)["storage_info"]["data_info"]
    major = rpc.partitions(key, data["publish_version"], data["last_replay_log_ts"])[0]["info"][0]["keys"][0]
    _, pairs = rpc.base_meta(major)
    wanted = [(i, v, s) for i, (v, s) in enumerate(pairs)]
    assert len(wanted) >= 4 and len(rpc.blocks(major, wanted)) == len(wanted)
    for late in (True, False):
        rpc.send(0x471, rpc.block_request(major, wanted))
        flags, session, _ = rpc.recv()
        assert flags & live.STREAM and not flags & live.LAST
        time.sleep(0.6 if late else 0)
        rpc.send(0x471, b"", flags=live.STREAM | (0 if late else live.LAST), session=session)
        try:
            rpc.recv()
            raise AssertionError("stream went on")
        except RpcError as e:
            assert e.code == (-4067 if late else -4008), e.code
    assert len(rpc.blocks(major, wanted)) == len(wanted)
    rpc.close()
    b.ctl("knob", name="stream_wait_us", value=10000000)


def restore_point(b):
    """What a point holds is served on after merges have replaced it."""
    db = sqlite3.connect(os.path.join(b.dir, "shared", "cluster.db"), timeout=30)
    ts = b.ctl("now")["now"]
    with db:
        db.execute("INSERT INTO so_restore_point (tenant_id, name, ts) VALUES (1001, 'p1', ?)", (ts,))
    time.sleep(0.3)
    b.ctl("minor_freeze", force=True)
    time.sleep(1.5)
    rpc = live.Rpc(HOSTS[1], PORT + 1)
    key = PKey(1001 << 40 | 50001, 0, 0)
    (point,) = rpc.recovery_points(key, [ts])
    assert point["pg_meta"]["storage_info"]["data_info"]["publish_version"] >= ts and len(point["tables"]) >= 3
    b.ctl("insert", tenant=1001, table=50001, key=77, value="after the point")
    for _ in range(3):
        b.ctl("minor_freeze")
        b.ctl("major_merge")
    gone = 0
    now = [k for i in rpc.partitions(key, 1, 1) for info in i["info"] for k in info["keys"]]
    for k in point["tables"]:
        rpc.base_meta(k)
        gone += k not in now
    assert gone
    with db:
        db.execute("DELETE FROM so_restore_point")
    time.sleep(1.5)
    lost = 0
    for k in point["tables"]:
        try:
            rpc.base_meta(k)
        except RpcError as e:
            assert e.code in (-4018, -4284)
            lost += 1
    assert lost == gone, (lost, gone)
    rpc.close()
    db.close()
    print("restore point held", gone, "replaced sstables", flush=True)


def main():
    observer = os.path.realpath(sys.argv[1])
    folder = sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp(prefix="standin-", dir="/tmp")
    b = Bench(observer, folder)
    try:
        b.start(None, "--knob", "ilog_freeze_us=200000", "--knob", "clog_switch_bytes=400000", "--knob", "lease_us=2000000")
        print(b.ctl("layout"), flush=True)
        refusals(b)
        streams(b)
        b.ctl("workload", op="start", rate=300, threads=2, long_pct=5, value_bytes=300)
        time.sleep(1)
        b.ctl("minor_freeze")
        copy_and_restore(b, 2)
        for h in (1, 2, 3):
            b.ctl("knob", host=h, name="clog_write_gap_us", value=1000)
            b.ctl("knob", host=h, name="batch_commit_pct", value=30)
        b.ctl("knob", host=1, name="rpc_compress", value=8)
        b.ctl("knob", host=1, name="rpc_warnings", value=2)
        stale = [p for p in b.ctl("status", pgs=True)["pgs"] if p["leader"] != 2 and p["kind"] == 1][:3]
        for p in stale:
            b.ctl("stale_tail", host=2, pg=p["pg"], count=4)
        b.ctl("minor_freeze", lag_data_info=True)
        copy_and_restore(b, 1)
        b.ctl("leader_move", flap=True)
        b.ctl("major_merge")
        copy_and_restore(b, 3)
        compare(b, "after a merge")
        cluster.control(b.dir, 1, {"verb": "kill", "host": 3}, 10)
        time.sleep(1)
        b.start(3)
        b.ctl("ddl", op="create_index", tenant=1001, table=50001)
        b.ctl("ddl", op="index_available", tenant=1001, index=60002)
        b.ctl("ddl", op="drop_table", tenant=1002, table=50003)
        b.ctl("ddl", op="add_partition", tenant=1001, table=50002)
        time.sleep(2.5)
        b.ctl("minor_freeze")
        copy_and_restore(b, 3)
        b.ctl("quiesce")
        b.ctl("minor_freeze")
        compare(b, "after a kill and DDL")
        b.tool("stop", "--dir", folder, "--kill")
        b.start()
        compare(b, "after all hosts were killed")
        b.ctl("workload", op="start", rate=200)
        time.sleep(2.5)
        lost = next(p for p in b.ctl("status", pgs=True)["pgs"] if p["leader"] != 3 and p["kind"] == 0 and key_of(p["pg"]).low > 210)
        b.ctl("rebuild", host=3, pg=lost["pg"], logs=3)
        time.sleep(2.5)
        b.ctl("quiesce")
        b.ctl("minor_freeze")
        compare(b, "after a follower was rebuilt")
        time.sleep(0.6)
        have = live.committed(b.store(3))[key_of(lost["pg"])]
        gaps = [i for i in range(min(have), max(have)) if i not in have]
        assert len(gaps) == 3 and max(have) > max(gaps), gaps
        for h in (1, 2, 3):
            print(f"host {h}: {live.check_clog_files(b.store(h))} clog blocks, {sum(map(len, live.committed(b.store(h)).values()))} logs", flush=True)
        assert b.ctl("recycle", host=1)["count"] > 0
        restore_point(b)
        b.ctl("tenant", op="rename", tenant=1002, name="renamed")
        b.ctl("tenant", op="drop", tenant=1002)
        assert b.ctl("digest", tenant=1002)["pgs"] is not None
    except BaseException:
        for h in (1, 2, 3):
            path = os.path.join(folder, f"host{h}", "log")
            for name in ("stdout.log", "observer.log"):
                if os.path.exists(os.path.join(path, name)):
                    with open(os.path.join(path, name), errors="replace") as f:
                        lines = [x for x in f.readlines() if " control " not in x]
                        print(f"--- host{h} {name}\n" + "".join(lines[-10:]))
        raise
    finally:
        b.tool("stop", "--dir", folder, "--kill")
        if len(sys.argv) <= 2:
            shutil.rmtree(folder, ignore_errors=True)
    print("ok")


if __name__ == "__main__":
    main()
