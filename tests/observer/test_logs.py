#!/usr/bin/python3
"""test_logs.py OBSTANDIN [FOLDER] - what the log verbs do to clog, ilog and SQL, seen by a careful reader

Each damage is there on the host that was named, in the log that was named, and nowhere else; leaders move as told; a steady rate is cheap.
"""
import os
import shutil
import struct
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
sys.dont_write_bytecode = True
import live  # noqa: E402
from sql_client import Connection  # noqa: E402
from test_cluster import PORT, Bench, key_of  # noqa: E402
import test_cluster  # noqa: E402

test_cluster.HOSTS[:] = HOSTS = ["127.0.14.2", "127.0.14.3", "127.0.14.4"]


def sql(text, host=1):
    c = Connection(HOSTS[host - 1], PORT, "agent@sys", "agent-pw")
    try:
        return c.query(text)
    finally:
        c.close()


def cursors(store, key):
    """{log id: (file, offset, size, accum, submit)} of one PG."""
    out = {}
    for _, buf in live.ilog_files(store):
        out.update({log_id: rest for k, log_id, *rest in live.ilog_cursors(buf) if k == key})
    return out


def entry_at(store, cursor):
    with open(os.path.join(store, "clog", str(cursor[0])), "rb") as f:
        f.seek(cursor[1])
        return live.stored_entry(f.read(cursor[2]))


def settle(b, pg, host):
    """Until that host's ilog knows the PG's last log."""
    last = next(p["last_log_id"] for p in b.ctl("status", pgs=True)["pgs"] if p["pg"] == pg)
    for _ in range(200):
        c = cursors(b.store(host), key_of(pg))
        if max(c, default=0) >= last:
            return c
        time.sleep(0.05)
    raise AssertionError(f"{pg} {last} never came to the ilog of host {host}")


def fits(store, c, log_id):
    """The cursor and its entry agree, and the accumulated checksum follows from the log before."""
    try:
        e = entry_at(store, c[log_id])
    except live.A.ObError:
        return False
    before = c.get(log_id - 1)
    chain = before is None or live.crc_chain(before[3], e.data_checksum) == c[log_id][3]
    return chain and e.log_id == log_id and e.submit == c[log_id][4] & (1 << 63) - 1


def spoils(b, pgs):
    for n, (what, cursor_fits, same_entry) in enumerate([
            ("block", True, True), ("bytes", False, False), ("entry", False, False), ("entry_own", True, False), ("cursor_accum", False, True),
            ("cursor_offset", False, True), ("cursor_size", False, True), ("cursor_ts", False, True)]):
        pg, host = pgs[n]["pg"], 1 + n % 3
        other = 1 + host % 3
        bad = b.ctl("spoil", host=host, pg=pg, what=what)["log_id"]
        for _ in range(3):
            b.ctl("checkpoint", pg=pg)
        mine, theirs = settle(b, pg, host), settle(b, pg, other)
        assert fits(b.store(host), mine, bad) == cursor_fits, what
        assert all(fits(b.store(host), mine, i) for i in mine if i not in (bad, bad + 1)), what
        assert all(fits(b.store(other), theirs, i) for i in theirs), what
        if what == "entry_own":  # right in itself: only a comparison of replicas tells
            assert fits(b.store(host), mine, bad + 1)
            assert mine[bad - 1][3] == theirs[bad - 1][3] and all(mine[i][3] != theirs[i][3] for i in (bad, bad + 1, bad + 3))
            assert entry_at(b.store(host), mine[bad]).data_checksum != entry_at(b.store(other), theirs[bad]).data_checksum
        elif what == "block":
            with open(os.path.join(b.store(host), "clog", str(mine[bad][0])), "rb") as f:
                heads = f.read()[: mine[bad][1] + (1 << 16)]
            at = heads.rindex(b"LB\0\1", 0, mine[bad][1])
            image = struct.unpack_from(">hhiqqqqq", heads, at)
            assert live.crc64(struct.pack("<hhiqqqq", *image[:7])) != image[7] and heads[mine[bad][1] + mine[bad][2] :].startswith(b"LB")
        elif same_entry:
            assert not fits(b.store(host), mine, bad)
    pg = pgs[8]["pg"]
    bad = b.ctl("spoil", host=2, pg=pg, what="no_cursor")["log_id"]
    b.ctl("checkpoint", pg=pg)
    mine = settle(b, pg, 2)
    assert bad not in mine and bad + 1 in mine and bad in settle(b, pg, 1)
    print("spoilt logs are where they were asked for", flush=True)


def rebuilt(b, pgs):
    """A follower with a stale tail is rebuilt: start_id jumps over ids that its clog has only as a lost proposal."""
    p = next(x for x in pgs if x["leader"] != 3)
    where = f"WHERE svr_ip = '{HOSTS[2]}' AND svr_port = {PORT + 1} AND table_id = {key_of(p['pg']).table_id} AND partition_idx = {key_of(p['pg']).partition_id}"
    ask = "SELECT start_id, is_need_rebuild FROM __all_virtual_clog_stat " + where
    b.ctl("checkpoint", pg=p["pg"])
    settle(b, p["pg"], 3)
    ((before, mark),) = sql(ask, 3)
    assert not mark
    b.ctl("stale_tail", host=3, pg=p["pg"], count=2)
    b.ctl("rebuild", host=3, pg=p["pg"], logs=2, mark=True)
    ((at, mark),) = sql(ask, 3)
    assert at == before and mark
    for _ in range(3):
        b.ctl("checkpoint", pg=p["pg"])
    mine = settle(b, p["pg"], 3)
    ((at, mark),) = sql(ask, 3)
    assert at == before + 3 and not mark, (at, before, mark)
    assert before not in mine and before + 1 not in mine and before + 2 in mine
    print("rebuilt: start_id", before, "->", at, flush=True)


def golden():
    """OceanBase's own compressed entries are read by the same function."""
    for top in (os.path.join(test_cluster.HERE, *[".."] * n, "shared", "golden") for n in (3, 4)):
        for n in (2, 5, 8):
            path = os.path.join(top, f"clog_compressed_entry_{n}.bin")
            if os.path.exists(path):
                with open(path, "rb") as f:
                    assert live.stored_entry(f.read()).log_id


def compressed(b, pg):
    b.ctl("quiesce")
    methods = {}
    for method in (1, 2, 3):
        for h in (1, 2, 3):
            b.ctl("knob", host=h, name="clog_compress", value=method)
        for i in range(8):
            b.ctl("insert", tenant=1001, table=50001, key=900000 + i, value="compressible " * 60)
        c = settle(b, pg, 2)
        for log_id in sorted(c)[-8:]:
            with open(os.path.join(b.store(2), "clog", str(c[log_id][0])), "rb") as f:
                f.seek(c[log_id][1])
                methods.setdefault(f.read(2), []).append(log_id)
            assert fits(b.store(2), c, log_id), (method, log_id)
    for h in (1, 2, 3):
        b.ctl("knob", host=h, name="clog_compress", value=0)
    assert {b"C\x01", b"C\x02", b"C\x03", b"ER"} <= set(methods), methods
    print("compressed entries", {k: len(v) for k, v in methods.items()}, flush=True)


def files(b):
    """A file that is gone, a torn tail, and what user_clog_min_using_file_id says."""
    b.ctl("workload", op="start", rate=200, value_bytes=2000)
    for _ in range(100):
        s = b.ctl("status")["hosts"][1]
        if s["cur_clog_file"] - s["min_clog_file"] >= 4:
            break
        time.sleep(0.1)
    gone = b.ctl("clog_file", op="remove", host=2)["file"]
    assert not os.path.exists(os.path.join(b.store(2), "clog", str(gone)))
    assert b.ctl("status")["hosts"][1]["min_clog_file"] == s["min_clog_file"]
    for _ in range(3):
        b.ctl("clog_file", op="torn_tail", host=3)
        time.sleep(0.2)
    b.ctl("quiesce")
    assert live.check_clog_files(b.store(3)) > 100
    where = f"WHERE svr_ip = '{HOSTS[0]}' AND svr_port = {PORT + 1}"

    def using():
        return int(sql("SELECT user_clog_min_using_file_id FROM __all_virtual_server_clog_stat " + where)[0][0])

    there = min(int(n) for n in os.listdir(os.path.join(b.store(1), "clog")) if n.isdigit())
    assert using() == there
    b.ctl("knob", host=1, name="clog_using_us", value=100000)
    b.ctl("minor_freeze", force=True)
    time.sleep(0.5)
    assert using() > there == min(int(n) for n in os.listdir(os.path.join(b.store(1), "clog")) if n.isdigit())
    b.ctl("knob", host=1, name="auto_recycle_us", value=100000)
    time.sleep(0.5)
    assert min(int(n) for n in os.listdir(os.path.join(b.store(1), "clog")) if n.isdigit()) == using() > there
    print("recycled up to", using(), flush=True)


def leaders(b):
    where = f"WHERE svr_ip = '{HOSTS[0]}' AND svr_port = {PORT + 1}"
    ask = "SELECT table_id, partition_idx, role, leader_epoch FROM __all_virtual_election_info " + where
    before = {(r[0], r[1]): (r[2], int(r[3])) for r in sql(ask)}
    b.ctl("workload", op="start", rate=200)
    b.ctl("leaders", op="start", every_us=400000, count=20, flap_pct=40, back_pct=40, back_us=200000)
    time.sleep(2)
    got = b.ctl("leaders", op="stop")
    b.ctl("quiesce")
    after = {(r[0], r[1]): (r[2], int(r[3])) for r in sql(ask)}
    assert not got["running"] and min(got["moves"], got["flaps"], got["returns"]) > 5, got
    assert any(after[k][0] == before[k][0] == 1 and after[k][1] > before[k][1] for k in before)
    assert all(after[k][1] >= before[k][1] for k in before)
    b.ctl("minor_freeze")
    print("leaders", got, flush=True)


def ticks(b):
    n = 0
    for h in (1, 2, 3):
        with open(os.path.join(b.dir, f"host{h}", "run", "observer.pid")) as f, open(f"/proc/{f.read().strip()}/stat") as s:
            n += sum(int(x) for x in s.read().split()[13:15])
    return n / os.sysconf("SC_CLK_TCK")


def rates(b):
    """Many idle PGs, some busy ones: the rate is kept, queries stay short."""
    b.ctl("load", tenant=1001, bytes=0, partitions=1000)
    time.sleep(1)
    b.ctl("workload", op="start", rate=50, pgs=100, bytes=2 << 20, log_bytes=8192)
    start, cpu = time.monotonic(), ticks(b)
    where = f"WHERE svr_ip = '{HOSTS[0]}' AND svr_port = {PORT + 1}"
    slow = 0
    for table in ("__all_virtual_clog_stat", "__all_virtual_partition_info", "__all_virtual_election_info"):
        t = time.monotonic()
        rows = sql(f"SELECT * FROM {table} {where}")
        slow = max(slow, time.monotonic() - t)
        assert len(rows) > 1000
    time.sleep(2)
    got = b.ctl("workload", op="status")
    took, cpu = time.monotonic() - start, ticks(b) - cpu
    b.ctl("quiesce")
    assert got["busy_pgs"] == 100 and got["ballast_bytes"] > 0.7 * took * (2 << 20), (got, took)
    print(f"{got['ballast_bytes'] / took / 1e6:.1f} MB/s, {cpu / took:.2f} CPUs, slowest query {slow:.3f} s", flush=True)


def main():
    folder = sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp(prefix="standin-", dir="/tmp")
    b = Bench(os.path.realpath(sys.argv[1]), folder)
    try:
        golden()
        b.start(None, "--knob", "ilog_freeze_us=200000", "--knob", "clog_switch_bytes=400000", "--knob", "checkpoint_idle_us=100000000")
        b.ctl("layout", small=True)
        pgs = [p for p in b.ctl("status", pgs=True)["pgs"] if p["kind"] == 0 and key_of(p["pg"]).tenant_id == 1001]
        compressed(b, f"{1001 << 40 | 50001}/0")
        leaders(b)
        rebuilt(b, [p for p in b.ctl("status", pgs=True)["pgs"] if p["kind"] == 0 and key_of(p["pg"]).tenant_id == 1002])
        spoils(b, pgs)
        files(b)
        rates(b)
    finally:
        b.tool("stop", "--dir", folder, "--kill")
        if len(sys.argv) <= 2:
            shutil.rmtree(folder, ignore_errors=True)
    print("ok")


if __name__ == "__main__":
    main()
