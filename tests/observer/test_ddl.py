#!/usr/bin/python3
"""test_ddl.py OBSTANDIN - every DDL op while rows change: what SQL, RPC and digests say before, during and after"""
import sys
import threading
import time

from bench import Bench, error_of, key_of, low

TENANT = 1001


def tables(b, what="table_id"):
    c = b.sql()
    rows = c.query(f"SELECT {what}, index_status FROM __all_virtual_table WHERE tenant_id = {TENANT} AND table_type IN (3, 5)")
    c.close()
    return {low(t) if what == "table_id" else t: s for t, s in rows}


def version(b):
    c = b.sql()
    ((v,),) = c.query(f"SELECT MAX(schema_version) FROM __all_virtual_ddl_operation WHERE tenant_id = {TENANT}")
    c.close()
    return v


def ddl(b, op, **args):
    return b.ctl("ddl", op=op, tenant=TENANT, **args)


def keys_of(b, host, name, table_id):
    """(table keys, ready) of one table of a PG on one host."""
    rpc = b.rpc(host)
    data = rpc.pg_info(key_of(name))["storage_info"]["data_info"]
    for item in rpc.partitions(key_of(name), data["publish_version"], data["last_replay_log_ts"]):
        for i, info in zip(item["ids"], item["info"]):
            if low(i) == table_id:
                rpc.close()
                return info["keys"], info["ready"]
    rpc.close()
    return [], False


def same(b, tag):
    """History and the sstables of every host say the same."""
    at = b.now()
    want = b.ctl("digest", tenant=TENANT, at=at)
    for h in (1, 2, 3):
        got = b.ctl("store_digest", host=h, tenant=TENANT, at=at)
        bad = [(x, y) for x, y in zip(want["pgs"], got["pgs"]) if x != y]
        assert want["sha256"] == got["sha256"], (tag, h, bad[:3])
    return at, want["sha256"]


def index_life(b, table):
    """UNAVAILABLE while it is built; AVAILABLE before the last replica has it; gone when dropped, but not for older times."""
    name = f"{TENANT << 40 | table}/0"
    leader = next(p for p in b.ctl("status", pgs=True)["pgs"] if p["pg"] == name)["leader"]
    late = leader % 3 + 1
    done = {}
    t = threading.Thread(target=lambda: done.update(ddl(b, "add_index", table=table, build_us=400000, late_host=late, late_us=1000000)))
    t.start()
    time.sleep(0.2)
    building = [i for i, s in tables(b).items() if s == 1]
    assert len(building) == 1, building
    b.refused(-4007, "ddl", op="drop_partition", tenant=TENANT, table=table, partition=1)
    t.join()
    index = building[0]
    assert tables(b)[index] == 2 and done["index_id"] == index and done["created_version"] < done["schema_version"]
    for host in (1, 2, 3):
        keys, ready = keys_of(b, host, name, index)
        assert ready == any(k["table_type"] == 1 for k in keys) == (host != late), (host, late, ready, keys)
    time.sleep(1.3)
    assert keys_of(b, late, name, index)[1]
    moment = same(b, "index built")
    key = next(k for k in keys_of(b, 1, name, index)[0] if k["table_type"] == 1)
    ddl(b, "drop_index", index=index)
    assert index not in tables(b)
    assert b.ctl("digest", tenant=TENANT, at=moment[0])["sha256"] == moment[1], "a dropped index is missing in the past"
    return key, time.monotonic()


def rows_of_the_dead(b):
    """Delayed drops stay visible with a drop_schema_version; views have no partition; part_idx is not part_id."""
    table = ddl(b, "create_table", partitions=3)["table_id"]
    view = ddl(b, "create_view")["table_id"]
    group = ddl(b, "create_tablegroup", partitions=1, tables=0)["tablegroup_id"]
    v = [ddl(b, "drop_partition", table=table, partition=1, delayed=True)["schema_version"]]
    c = b.sql()
    parts = f"SELECT part_id, part_idx, drop_schema_version FROM __all_virtual_part WHERE tenant_id = {TENANT} AND table_id = {TENANT << 40 | table} ORDER BY part_id"
    assert c.query(parts) == [(0, 0, -1), (1, 1, v[0]), (2, 1, -1)], c.query(parts)
    v.append(ddl(b, "drop_table", table=table, delayed=True)["schema_version"])
    v.append(ddl(b, "drop_tablegroup", tablegroup=group, delayed=True)["schema_version"])
    assert [x[2] for x in c.query(parts)] == [v[1], v[0], v[1]]
    one = "SELECT drop_schema_version FROM {} WHERE tenant_id = %d AND {} = %d" % (TENANT, TENANT << 40 | table)
    assert c.query(one.format("__all_virtual_table", "table_id")) == [(v[1],)]
    assert c.query(one.replace(str(TENANT << 40 | table), str(TENANT << 40 | group)).format("__all_virtual_tablegroup", "tablegroup_id")) == [(v[2],)]
    types = c.query(f"SELECT table_type FROM __all_virtual_table WHERE tenant_id = {TENANT} AND table_id IN ({TENANT << 40 | view}, {TENANT << 40 | 10001}, {TENANT << 40 | 20001}) ORDER BY table_type")
    assert types == [(1,), (2,), (4,)]
    c.close()
    ddl(b, "drop_table", table=view)


def truncated(b, table):
    name = f"{TENANT << 40 | table}/0"
    at = b.now()
    before = b.ctl("digest", tenant=TENANT, at=at)
    names = tables(b, "table_name")
    new = ddl(b, "truncate", table=table)["table_id"]
    assert new > table and table not in tables(b) and new in tables(b)
    assert len(tables(b, "table_name")) == len(names)
    fresh = [p for p in b.ctl("digest", tenant=TENANT)["pgs"] if p["pg"].startswith(f"{new}/")]
    assert fresh and all(p["rows"] < 50 for p in fresh), fresh  # the workload has already found it
    assert b.ctl("digest", tenant=TENANT, at=at)["sha256"] == before["sha256"]
    return name, new


def groups(b):
    tables_before = set(tables(b))
    bound = ddl(b, "create_tablegroup", partitions=2, tables=1)["tablegroup_id"]
    (member,) = set(tables(b)) - tables_before
    loose = ddl(b, "create_tablegroup", partitions=2, tables=0, binding=False)["tablegroup_id"]
    table = ddl(b, "create_table", partitions=2)["table_id"]
    pgs = [p["pg"] for p in b.ctl("status", pgs=True)["pgs"] if low(key_of(p["pg"]).table_id) in (bound, loose)]
    assert len(pgs) == 2 and all(low(key_of(p).table_id) == bound for p in pgs)
    c = b.sql()
    for group in (loose, 0):
        ddl(b, "tablegroup_join" if group else "tablegroup_leave", table=table, tablegroup=loose)
        ((g, binding, at),) = c.query(f"SELECT tablegroup_id, binding, schema_version FROM __all_virtual_table WHERE tenant_id = {TENANT} AND table_id = {TENANT << 40 | table}")
        assert (low(g) if group else g) == (group or -1) and binding == 0 and at == version(b), (g, binding, at)
        if group:
            b.refused(-4615, "ddl", op="drop_tablegroup", tenant=TENANT, tablegroup=loose)
    c.close()
    b.refused(-4007, "ddl", op="tablegroup_join", tenant=TENANT, table=table, tablegroup=bound)
    b.refused(-4007, "ddl", op="tablegroup_leave", tenant=TENANT, table=member)
    b.refused(-5151, "ddl", op="drop_tablegroup", tenant=TENANT, tablegroup=77)
    ddl(b, "drop_table", table=member)
    rpc = b.rpc()
    served = rpc.pg_info(key_of(pgs[0]))["partitions"]
    assert len(served) == 2, "the dropped member is still there for a moment"
    ddl(b, "drop_tablegroup", tablegroup=loose)
    time.sleep(0.8)
    assert [p.is_trans for p in rpc.pg_info(key_of(pgs[0]))["partitions"]] == [True]
    rpc.close()
    ddl(b, "drop_tablegroup", tablegroup=bound)
    return table


def every_group_can_be_copied(b):
    """A group's transaction states are its own, whatever its number: sys tables have small ones, too."""
    for _ in range(7):
        group = ddl(b, "create_tablegroup", partitions=1, tables=0)["tablegroup_id"]
        b.copy(1, f"{TENANT << 40 | group}/0")


def global_index(b):
    """PGs of its own from the creation on; part of the tenant's content only while AVAILABLE; dropped with the table."""
    table = ddl(b, "create_table", partitions=2)["table_id"]
    done = {}
    t = threading.Thread(target=lambda: done.update(ddl(b, "add_index", table=table, build_us=500000, **{"global": True}, partitions=2)))
    t.start()
    time.sleep(0.2)
    (index,) = [i for i, s in tables(b).items() if s == 1]
    name = f"{TENANT << 40 | index}/1"
    assert [p for p in b.ctl("status", pgs=True)["pgs"] if p["pg"] == name and p["state"] == 1]
    shown = [p["pg"] for p in b.ctl("digest", tenant=TENANT)["pgs"]]
    assert f"{index}/1" not in shown and f"{table}/1" in shown
    t.join()
    assert f"{index}/1" in [p["pg"] for p in b.ctl("digest", tenant=TENANT)["pgs"]]
    tx = b.ctl("tx", op="begin")["tx"]  # a row and its entry in the index: one transaction over two PGs
    b.ctl("insert", tenant=TENANT, table=table, partition=0, key=5, value="x", tx=tx)
    b.ctl("insert", tenant=TENANT, table=index, partition=1, key=7, value="5", tx=tx)
    at = b.ctl("tx", op="commit", tx=tx)["commit_version"]
    assert [b.wanted(name, t)[0] for t in (at - 1, at)] == [0, 1]
    b.ctl("minor_freeze")
    rows = [r.key for r in b.copy(1, name).minors[TENANT << 40 | index]]
    assert rows == [(7).to_bytes(8, "big")], rows
    b.refused(-4007, "ddl", op="drop_partition", tenant=TENANT, table=table, partition=1)
    part = ddl(b, "add_partition", table=table)["partition_id"]
    b.ctl("insert", tenant=TENANT, table=table, partition=part, key=1, value="x")
    assert keys_of(b, 1, f"{TENANT << 40 | table}/{part}", index) == ([], False), "a global index became a local one"
    new = ddl(b, "truncate", table=table)["table_id"]
    (fresh,) = [i for i in tables(b) if i > index]
    assert index not in tables(b) and f"{fresh}/1" in [p["pg"] for p in b.ctl("digest", tenant=TENANT)["pgs"]]
    ddl(b, "drop_table", table=new)
    assert fresh not in tables(b)
    assert [p["state"] for p in b.ctl("status", pgs=True)["pgs"] if p["pg"] in (name, name.replace(str(TENANT << 40 | index), str(TENANT << 40 | fresh)))] == [2, 2]


def schema_is_one_with_its_commit(b):
    """max(schema_version) as SQL shows it at a moment is in the log before that moment."""
    stop = threading.Event()

    def storm():
        while not stop.is_set():
            ddl(b, "drop_table", table=ddl(b, "create_table")["table_id"])

    t = threading.Thread(target=storm)
    t.start()
    seen = []
    for _ in range(16):
        s = b.now()
        seen.append((s, version(b), b.now()))
    stop.set()
    t.join()
    c = b.sql()
    versions = sorted(v for (v,) in c.query(f"SELECT schema_version FROM __all_virtual_ddl_operation WHERE tenant_id = {TENANT}"))
    c.close()
    assert len({v for _, v, _ in seen}) > 3, "no DDL came in between"
    ops = f"{TENANT << 40 | 5}/0"
    for before, v, after in seen[::3]:
        below = len([x for x in versions if x <= v])
        assert b.wanted(ops, before)[0] <= below, "SQL did not show what was committed"
        assert b.wanted(ops, after)[0] >= below, "SQL showed what was not committed"


def main():
    with Bench(sys.argv[1], "127.0.14", "ilog_freeze_us=200000", "commit_spread_us=2000", "gc_delay_us=700000") as b:
        b.ctl("layout", small=True)
        table = ddl(b, "create_table", partitions=2, index=True, compressor="lz4_1.0")["table_id"]
        b.ctl("workload", op="start", rate=150, long_pct=0, tenants=[TENANT], keys=300)
        time.sleep(0.5)
        b.ctl("minor_freeze")
        key, dropped = index_life(b, table)
        part = ddl(b, "add_partition", table=table)["partition_id"]
        assert part == 2
        ddl(b, "drop_partition", table=table, partition=0)
        ddl(b, "drop_partition", table=table, partition=1)
        b.refused(-4007, "ddl", op="drop_partition", tenant=TENANT, table=table, partition=2)
        b.refused(-4002, "ddl", op="drop_partition", tenant=TENANT, table=ddl(b, "create_table", partitions=2)["table_id"], partition=9)
        extra = [ddl(b, "add_index", table=table, wait=False)["index_id"] for _ in range(2)]
        b.ctl("major_merge")
        groups(b)
        every_group_can_be_copied(b)
        global_index(b)
        rows_of_the_dead(b)
        end = time.monotonic() + 10  # an index waits for the transactions that are older
        while [tables(b)[i] for i in extra] != [2, 2]:
            assert time.monotonic() < end
            time.sleep(0.1)
        ddl(b, "drop_index", index=extra[0])
        wait = dropped + 0.9 - time.monotonic()
        time.sleep(max(wait, 0))
        rpc = b.rpc()
        assert error_of(lambda: rpc.base_meta(key)) in (-4284, -4191), "a dropped index's sstable is still served"
        old, new = truncated(b, ddl(b, "create_table", partitions=2, index=True)["table_id"])
        time.sleep(1.6)
        assert error_of(lambda: rpc.pg_info(key_of(old))) == -4191
        rpc.close()
        schema_is_one_with_its_commit(b)
        b.ctl("quiesce")
        b.ctl("minor_freeze")
        same(b, "at the end")
    print("ok")


if __name__ == "__main__":
    main()
