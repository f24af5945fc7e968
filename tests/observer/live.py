"""live.py - reads a running stand-in as a right backup tool must: storage RPC, clog and ilog files

For the stand-in's own tests. Frames are decoded with the independent reader in tests/reader; nothing of the product is used.
"""
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "reader"))

import lz4.block  # noqa: E402
import zstandard  # noqa: E402

import archive as A  # noqa: E402
import macroblock as B  # noqa: E402
import records as R  # noqa: E402
import rows as W  # noqa: E402
from obcodec import PKey, crc64, crc_chain, envelope, get_varint, put_varint  # noqa: E402

STREAM, LAST, NO_DEBUG = 1 << 14, 1 << 13, 1 << 12
HEADER = struct.Struct(">iBBHqqqqqqqqi5iqqqiiqqiqi")
COMMIT, ABORT, REDO = W.COMMIT, W.ABORT, W.REDO


class RpcError(Exception):
    def __init__(self, code, text=""):
        super().__init__(f"{code} {text}")
        self.code = code


class Rpc:
    """One connection to a server's svr_port. Every packet's checksum is verified."""

    def __init__(self, ip, port, cluster_id=1):
        self.s = socket.create_connection((ip, port), 20)
        self.cluster_id = cluster_id
        self.chid = 0

    def close(self):
        self.s.close()

    def _read(self, n):
        b = b""
        while len(b) < n:
            part = self.s.recv(n - len(b))
            if not part:
                raise RpcError(-1, "connection closed")
            b += part
        return b

    def send(self, pcode, payload, flags=NO_DEBUG | 7, session=0, **over):
        self.chid += 1
        v = dict(checksum=crc64(payload), timeout=10000000, dst=self.cluster_id, src=self.cluster_id)
        v.update(over)
        h = HEADER.pack(pcode, 160, 5, flags, v["checksum"], 509, 0, session, 1, 2, v["timeout"], 0, 40, 0, 0, 0, 0, 0, 0, 0,
                        v["dst"], 0, 0, v["src"], 0, 0, 0, 0)
        assert len(h) == 160
        self.s.sendall(struct.pack(">IIII", 0x01DBDBCE, 160 + len(payload), self.chid, 0) + h + payload)

    def recv(self):
        magic, n, chid, _ = struct.unpack(">IIII", self._read(16))
        assert magic == 0x01DBDBCE and chid == self.chid, (hex(magic), chid)
        b = self._read(n)
        h = HEADER.unpack_from(b)
        payload = b[160:]
        if crc64(payload) != h[4]:
            raise RpcError(-4103, "answer's checksum")
        if h[21]:
            payload = B.decompress({2: b"lz4_1.0", 8: b"zstd_1.3.8"}[h[21]], payload, h[22])
        version, p = get_varint(payload, 0, len(payload))
        size, p = get_varint(payload, p, len(payload))
        code, _ = get_varint(payload, p, len(payload))
        code = code - (1 << 32) if code >> 31 else code
        if code:
            raise RpcError(code, hex(h[0]))
        return h[3], h[7], payload[p + size :]

    def unary(self, pcode, arg, **over):
        self.send(pcode, arg, **over)
        return self.recv()[2]

    def stream(self, pcode, arg):
        self.send(pcode, arg)
        out = []
        while True:
            flags, session, body = self.recv()
            version, p = get_varint(body, 0, len(body))
            size, p = get_varint(body, p, len(body))
            n, q = get_varint(body, p, len(body))
            assert version == 1 and q + n == p + size == len(body)
            out.append(body[q : q + n])
            if not flags & STREAM or flags & LAST:
                return b"".join(out)
            self.send(pcode, b"", flags=STREAM, session=session)

    # ---- the read calls

    def pg_info(self, key, **over):
        arg = envelope(1, struct.pack(">Qii", *key) + put_varint(0, 32) + bytes([over.pop("slave_safe", 0)]) + put_varint(over.pop("compat", 2)))
        body = self.unary(0x472, arg, **over)
        version, p = get_varint(body, 0, len(body))
        _, p = get_varint(body, p, len(body))
        return R.PG_META.get(body, p, len(body))[0]

    def recovery_points(self, key, snapshots):
        """-> [ObRecoveryPointMetaInfo], one per restore point"""
        point = R.Struct("key", 1, [("snapshot_version", "v64"), ("type", "v32")])
        keys = b"".join(point.put({"snapshot_version": s, "type": 1}) for s in snapshots)
        buf = self.stream(0x487, envelope(1, struct.pack(">Qii", *key) + put_varint(len(snapshots)) + keys))
        item = R.Struct("point", 1, [("pg_meta", R.PG_META), ("partitions", R.Array(R.PARTITION_META)), ("tables", R.Array(R.TABLE_KEY))])
        out, p = [], 0
        while p < len(buf):
            v, p = item.get(buf, p, len(buf))
            out.append(v)
        return out

    def partitions(self, key, snapshot, log_ts):
        arg = envelope(1, struct.pack(">Qii", *key) + put_varint(snapshot) + b"\0" + put_varint(log_ts))
        buf = self.stream(0x473, arg)
        out, p = [], 0
        info = R.Struct("info", 2, [("keys", R.Array(R.TABLE_KEY)), ("multi_version_start", "v64"), ("ready", "bool"), ("gc", R.Array(R.TABLE_KEY))])
        item = R.Struct("item", 2, [("meta", R.PARTITION_META), ("ids", R.Array("vu64")), ("info", R.Array(info))])
        while p < len(buf):
            v, p = item.get(buf, p, len(buf))
            out.append(v)
        return out

    def base_meta(self, key):
        buf = self.stream(0x45D, envelope(1, R.TABLE_KEY.put(key)))
        meta, p = R.SSTABLE_META.get(buf, 0, len(buf))
        n, p = get_varint(buf, p, len(buf))
        pair = R.Struct("pair", 1, R.v64("data_version", "data_seq"))
        pairs = []
        for _ in range(n):
            v, p = pair.get(buf, p, len(buf))
            pairs.append((v["data_version"], v["data_seq"]))
        assert p == len(buf)
        return meta, pairs

    def block_request(self, key, wanted):
        args = b"".join(envelope(2, put_varint(i) + R.VERSION.put({"version": v}) + put_varint(s)) for i, v, s in wanted)
        return envelope(2, R.TABLE_KEY.put(key) + put_varint(len(wanted)) + args)

    def blocks(self, key, wanted):
        """wanted: [(index, data_version, data_seq)] -> [(meta, schema, bytes)]"""
        buf = self.stream(0x471, self.block_request(key, wanted))
        out, p = [], 0
        for _ in wanted:
            n = struct.unpack_from("<i", buf, p)[0]
            n += struct.unpack_from("<i", buf, p + n)[0]
            meta, schema = B.get_full_meta(buf[p : p + n])
            p += n
            data = buf[p : p + meta["occupy_size"]]
            p += meta["occupy_size"]
            out.append((meta, schema, data))
        assert p == len(buf)
        return out


class Changed(Exception):
    pass


class PgCopy:
    """A PG as it is now on one host, by the rules for a right copy."""

    def __init__(self, rpc, key):
        before = rpc.pg_info(key)
        data = before["storage_info"]["data_info"]
        items = rpc.partitions(key, data["publish_version"], data["last_replay_log_ts"])
        after = rpc.pg_info(key)
        if after["storage_info"]["data_info"] != data or sorted(before["partitions"]) != sorted(i["meta"]["pkey"] for i in items):
            raise Changed()
        self.meta, self.data, self.clog = before, data, before["storage_info"]["clog_info"]
        assert self.clog["last_replay_log_id"] <= data["last_replay_log_id"]
        assert items[-1]["meta"]["pkey"].is_trans
        self.majors, self.minors, self.trans, self.lower = {}, {}, {}, 0
        for item in items:
            for table_id, info in zip(item["ids"], item["info"]):
                self._table(rpc, item["meta"]["pkey"], table_id, info["keys"])

    def _table(self, rpc, pkey, table_id, keys):
        publish = self.data["publish_version"]
        if pkey.is_trans:
            assert len(keys) == 1
            self._trans_covers(keys[0])
            for row in self._rows(rpc, keys[0]):
                trans_id, state = W.trans_state(row)
                self.trans[trans_id] = state
            return
        majors = [k for k in keys if k["table_type"] == R.TYPE_MAJOR and k["trans_version_range"]["snapshot_version"] <= publish]
        if not majors and not pkey.table_id == table_id:
            majors = [k for k in keys if k["table_type"] == R.TYPE_MAJOR]  # an index built after the last freeze
            if not majors:
                return  # or still being built
        assert majors, ("no major at publish_version", self.data, keys)
        major = max(majors, key=lambda k: k["version"]["version"])
        snapshot = major["trans_version_range"]["snapshot_version"]
        self.lower = max(self.lower, snapshot)
        self.majors[table_id] = [r for r in self._rows(rpc, major)]
        reached = snapshot >= publish
        for k in keys:
            if k["table_type"] == R.TYPE_MAJOR:
                continue
            meta, _ = rpc.base_meta(k)
            if meta["upper_trans_version"] <= snapshot or reached:
                continue
            self.minors.setdefault(table_id, []).extend(self._rows(rpc, k))
            self.lower = max(self.lower, k["trans_version_range"]["multi_version_start"])
            reached = k["trans_version_range"]["snapshot_version"] >= publish

    def _trans_covers(self, key):
        """The server does not look at it: states from before data_info lose rows (restorable-set A3 a)."""
        if key["log_ts_range"]["end_log_ts"] < self.data["last_replay_log_ts"]:
            raise Changed()

    def _rows(self, rpc, key):
        meta, pairs = rpc.base_meta(key)
        wanted = [(i, v, s) for i, (v, s) in enumerate(pairs)]
        rows = occupy = chain = 0
        sums = [0] * meta["column_cnt"]
        out = []
        for at in range(0, len(wanted), 128):
            for m, schema, data in rpc.blocks(key, wanted[at : at + 128]):
                block = B.check_block(data, m, schema)
                rows += m["row_count"]
                occupy += m["occupy_size"]
                chain = crc_chain(chain, m["data_checksum"])
                sums = [a + b for a, b in zip(sums, m["column_checksum"])]
                for i in range(len(block.micros)):
                    out += W.micro_rows(block.micro(i))
        assert (rows, occupy, chain) == (meta["row_count"], meta["occupy_size"], meta["data_checksum"]), key
        assert sums == [c["column_checksum"] for c in meta["column_metas"]], key
        return out

    def rows_at(self, t, logs):
        """{(index low id, key): value} at T from the copy and {log id: Entry} behind it."""
        best, pending, ended = {}, {}, {}

        def put(index, key, version, ts, op, value):
            old = best.get((index, key))
            if version <= t and (old is None or (version, ts) >= old[:2]):
                best[index, key] = (version, ts, op, value)

        for tables in (self.majors, self.minors):
            for table_id, rows in tables.items():
                for r in rows:
                    state = self.trans.get(r.trans_id)
                    if r.state == 0:
                        put(table_id, r.key, r.version, r.redo_ts, r.op, r.value)
                    elif state and state.status == W.TX_COMMITTED:
                        put(table_id, r.key, state.version, r.redo_ts, r.op, r.value)
                    elif state and state.status != W.TX_ABORTED:
                        pending.setdefault(r.trans_id, []).append((table_id, r.key, r.redo_ts, r.op, r.value))
        at = self.data["last_replay_log_id"]
        while at + 1 in logs:
            at += 1
            for item in W.items(logs[at]):
                if not W.is_transaction(item.kind):
                    continue
                x = W.transaction(item)
                for c in x.changes:
                    pending.setdefault(x.trans_id, []).append((c.index_id, c.key, item.submit_ts, c.op, c.value))
                if x.commit_version or x.aborted:
                    ended.setdefault(x.trans_id, x.commit_version)
        for trans_id, changes in pending.items():
            version = ended.get(trans_id) or (self.trans[trans_id].version if trans_id in self.trans else 0)
            for index, key, ts, op, value in changes if version else ():
                put(index, key, version, ts, op, value)
        return {(i & (1 << 40) - 1, k): v[3] for (i, k), v in best.items() if v[2] == W.PUT}


# ---- files of one host


def stored_entry(buf, pos=0, end=None):
    """A clog entry, plain or compressed, at pos -> Entry; its bytes must reach exactly to end, if given (else to the end of buf)."""
    e, used = get_stored(memoryview(buf), pos)
    if used != (len(buf) if end is None else end):
        raise A.ObError(-4070, "entry does not fill its place")
    return e


def get_stored(buf, pos):
    """-> (Entry, position behind)"""
    if bytes(buf[pos : pos + 1]) != b"C":
        return A.get_entry(buf, pos)
    magic, orig, size = struct.unpack_from(">Hii", buf, pos)
    z = bytes(buf[pos + 10 : pos + 10 + size])
    if magic == 0x4302:
        plain = lz4.block.decompress(z, uncompressed_size=orig)
    else:
        assert magic in (0x4301, 0x4303)
        plain = zstandard.ZstdDecompressor().decompress(z, max_output_size=orig)
    e, used = A.get_entry(memoryview(plain), 0)
    assert used == orig == len(plain)
    return e, pos + 10 + size


def ilog_files(store):
    names = sorted(int(n) for n in os.listdir(os.path.join(store, "ilog")) if n.isdigit())
    for n in names:
        with open(os.path.join(store, "ilog", str(n)), "rb") as f:
            yield n, f.read()


def ilog_cursors(buf):
    """-> [(PKey, log id, clog file, offset, size, accum, submit)]"""
    magic, _, _, off, size, _, _, _ = struct.unpack_from(">hhiiiiiq", buf, len(buf) - 512)
    assert magic == 0x4C43 and len(buf) % 4096 == 0
    assert struct.unpack_from(">q", buf, off)[0] == size - 8
    out = []
    for p in range(off + 8, off + size, 72):
        if not buf[p]:
            continue
        table, part, assist, _, lo, hi, _, _, start = struct.unpack_from("<QiiQQQqqi", buf, p + 8)
        for i in range(hi - lo + 1):
            f, o, n, _, accum, submit = struct.unpack_from(">iiiiqq", buf, start + 32 * i)
            out.append((PKey(table, part, assist), lo + i, f, o, n, accum, submit))
    return out


def committed(store, seen=None):
    """All logs an ilog cursor names and a clog file still has: {PKey: {log id: Entry}}; checks entries, order and the accumulated checksum.
    seen: {PKey: greatest id that has a cursor}"""
    logs, last = {}, {}
    files = {}
    for _, buf in ilog_files(store):
        for key, log_id, f, o, n, accum, submit in ilog_cursors(buf):
            if seen is not None:
                seen[key] = max(log_id, seen.get(key, 0))
            path = os.path.join(store, "clog", str(f))
            if f not in files:
                files[f] = open(path, "rb") if os.path.exists(path) else None
            if files[f] is None:
                continue
            files[f].seek(o)
            try:
                e, used = get_stored(memoryview(files[f].read(n)), 0)
            except A.ObError:
                assert not os.path.exists(path), f"cursor of {key} {log_id} names no entry"
                files[f] = None  # reused in place meanwhile: same inode, another name
                continue
            assert used == n and e.pkey == key and e.log_id == log_id and e.submit == submit & (1 << 63) - 1, (key, log_id)
            if key in last and last[key][0] == log_id - 1:
                assert crc_chain(last[key][1], e.data_checksum) == accum, f"accum of {key} {log_id}"
                assert e.submit_ts > last[key][2] or e.type == 103, (key, log_id)
            last[key] = (log_id, accum, e.submit_ts)
            logs.setdefault(key, {})[log_id] = e
    for f in files.values():
        if f:
            f.close()
    return logs


def check_clog_files(store):
    """Blocks, padding, INFO block and trailer of every file; only the last one may be open. -> number of blocks"""
    names = sorted(int(n) for n in os.listdir(os.path.join(store, "clog")) if n.isdigit())
    blocks, last_ts = 0, 0
    for n in names:
        with open(os.path.join(store, "clog", str(n)), "rb") as f:
            buf = f.read()
        assert len(buf) == 1 << 26
        pos = 0
        while True:
            magic = buf[pos : pos + 2]
            if magic == b"PD":
                size = struct.unpack_from(">q", buf, pos + 4)[0]
                assert size == (pos + 12 + 4095) // 4096 * 4096 - pos
                nxt = buf[pos + size : pos + size + 2] == b"LB"
                if not nxt or struct.unpack_from(">i", buf, pos + size + 4)[0] != 2:
                    assert n == names[-1], "padding at a live tail"
                    break
                pos += size
                continue
            if magic != b"LB":
                assert n == names[-1], f"file {n} ends at {pos}"
                break
            _, _, kind, total, pad, ts, dcs, mcs = struct.unpack_from(">hhiqqqqq", buf, pos)
            image = struct.pack("<hhiqqqq", 0x4C42, 1, kind, total, pad, ts, dcs)
            assert crc64(image) == mcs
            if ts < last_ts - 2000000:
                assert n == names[-1]
                break
            last_ts = ts
            end = pos + total - pad
            if kind == 2:
                assert pos % 4096 == 0 and crc64(buf[pos + 48 : end]) == dcs
                t = struct.unpack_from(">hii", buf, 67108352 + 48)
                assert t == (1, pos, n + 1), t
                break
            p = pos + 48
            while p < end:
                _, p = get_stored(memoryview(buf), p)
            assert p == end
            pos = end
            blocks += 1
    return blocks
