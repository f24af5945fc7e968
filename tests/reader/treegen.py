"""treegen.py - writes a small, right native tree (one tenant, round mode) for the tests of this reader, with its own history.

The history is a list of changes per PG; the expected rows at any T follow from it alone. Tests break the tree afterwards.
"""
import json
import os
import struct

import archive as A
import media as M
import records as R
import rows as W
from gen_block import macro_block, macro_media, sstable_meta
from obcodec import INT64_MAX, PKey, crc_chain, put_varint, envelope

T0 = 1767225600000000
TENANT, CLUSTER, CLUSTER_ID = 1001, 'obtest', 1
VERSION = 0x300010005
DEST = b'file:///backup'
SYS = list(W.SYS_TABLES)
TABLE, GROUP, MEMBERS, INDEX = 50001, (1 << 39) + 1, (50002, 50003), 60001


def full(low):
    return TENANT << 40 | low


class Pg:
    def __init__(self, low, part, members=None):
        self.low, self.part = low, part
        self.key = PKey(full(low), part)
        self.members = members or {low: [low]}  # member low id -> its index low ids
        self.logs, self.accum, self.chain = [], 0, {0: (0, 0)}
        self.history = []  # (version, index low, key, value or None)
        self.redo = []     # (log id, ts, trans id, index low, key, op, value)
        self.ends = []     # (log id, trans id, version or None)

    def log(self, log_type, ts, data):
        e = A.put_entry(log_type, self.key, len(self.logs) + 1, ts, data, T0, ts)
        self.logs.append(e)
        self.accum = crc_chain(self.accum, e.data_checksum)
        self.chain[e.log_id] = (self.accum, ts)
        return e.log_id


class World:
    def __init__(self):
        self.now, self.trans, self.schema_version = T0 + 1000, 100, 0
        self.pgs = {}
        for low in SYS:
            self._pg(Pg(low, 0))
        self.tables = {}
        self.ddl([self.table(TABLE, [0, 1])] + [self.table(m, [0], GROUP) for m in MEMBERS], groups=[GROUP])
        self.before_index = self.schema_version
        self.ddl([self.index(INDEX, TABLE, 2)])
        for p in (0, 1):
            self._pg(Pg(TABLE, p, {TABLE: [TABLE, INDEX]}))
        self._pg(Pg(GROUP, 0, {m: [m] for m in MEMBERS}))

    def tick(self, us=10):
        self.now += us
        return self.now

    def _pg(self, pg):
        self.pgs[pg.low, pg.part] = pg
        pg.log(A.LOG_START_MEMBERSHIP, self.tick(), b'')
        return pg

    @staticmethod
    def table(low, parts, group=0):
        return {'table_id': low, 'is_deleted': False, 'table_name': 't%d' % low, 'table_type': 3, 'data_table_id': 0,
                'tablegroup_id': group, 'index_type': 0, 'index_status': 0, 'part_level': 0, 'part_num': len(parts),
                'sub_part_num': 0, 'binding': bool(group), 'partitions': parts, 'create_us': T0, 'compressor': 'none',
                'key_kind': 'text'}

    @staticmethod
    def index(low, table, status):
        return dict(World.table(low, []), table_type=5, index_type=1, index_status=status, data_table_id=table)

    def ddl(self, tables, groups=()):
        v = self.schema_version = self.tick()
        change = {(103, 0): [], (134, 0): [], (5, 0): [(5, b'%020d' % v, b'{}')]}
        for t in tables:
            value = json.dumps(dict(t, schema_version=v)).encode()
            change[103, 0].append((103, b'%016x/%020d' % (t['table_id'], v), value))
        for g in groups:
            value = {'tablegroup_id': g, 'schema_version': v, 'is_deleted': False, 'tablegroup_name': 'g', 'part_level': 0,
                     'part_num': 1, 'sub_part_num': 0, 'binding': True}
            change[134, 0].append((134, b'%016x/%020d' % (g, v), json.dumps(value).encode()))
        self.commit({k: c for k, c in change.items() if c})

    # ---- transactions: {(low, part): [(index low, key, value or None)]} ----

    def begin(self, changes):
        """Redo of a transaction, not ended; -> handle."""
        self.trans += 1
        for pg, rows in changes.items():
            self._item(pg, W.REDO, self.trans, rows)
        return self.trans, changes

    def _item(self, pg, bits, trans, rows=(), version=0, parts=()):
        p = self.pgs[pg]
        ts = self.tick()
        body = struct.pack('>q', trans)
        if bits & W.REDO:
            body += struct.pack('>I', len(rows))
            for index, key, value in rows:
                op = W.DELETE if value is None else W.PUT
                body += struct.pack('>QBII', full(index), op, len(key), len(value or b'')) + key + (value or b'')
        keys = struct.pack('>I', len(parts)) + b''.join(struct.pack('>Qii', *self.pgs[x].key) for x in parts)
        if bits & W.PREPARE:
            body += struct.pack('>q', ts) + keys
        if bits & W.COMMIT:
            body += struct.pack('>q', version or ts) + keys
        if bits & W.ABORT:
            body += keys
        log_id = p.log(A.LOG_SUBMIT | 1 << 31, ts, struct.pack('>q', bits) + body)
        for index, key, value in rows:
            p.redo.append((log_id, ts, trans, index, key, W.DELETE if value is None else W.PUT, value or b''))
        return log_id, ts

    def end(self, handle, commit=True):
        trans, changes = handle
        parts = list(changes)
        version = 0
        if commit and len(parts) > 1:
            version = max(self._item(p, W.PREPARE, trans, parts=parts)[1] for p in parts)
        for p in parts:
            bits = W.COMMIT if commit else W.ABORT
            log_id, ts = self._item(p, bits, trans, version=version, parts=parts)
            v = (version or ts) if commit else None
            self.pgs[p].ends.append((log_id, trans, v))
            if commit:
                self.pgs[p].history += [(v, i, k, x) for i, k, x in changes[p]]
        return version or ts

    def commit(self, changes):
        return self.end(self.begin(changes))

    def aggregate(self, pg, transactions):
        """Several whole transactions of one PG in one AGGRE log; -> commit versions."""
        p, items, out, log_id = self.pgs[pg], [], [], len(self.pgs[pg].logs) + 1
        for rows in transactions:
            self.trans += 1
            ts = self.tick()
            body = struct.pack('>qqqI', ts, W.REDO | W.COMMIT, self.trans, len(rows))
            for index, key, value in rows:
                body += struct.pack('>QBII', full(index), W.PUT, len(key), len(value)) + key + value
                p.redo.append((log_id, ts, self.trans, index, key, W.PUT, value))
            body += struct.pack('>qI', ts, 1) + struct.pack('>Qii', *p.key)
            p.ends.append((log_id, self.trans, ts))
            p.history += [(ts, i, k, x) for i, k, x in rows]
            items.append(body)
            out.append(ts)
        at, data = 0, b''
        for body in items:
            at += 4 + len(body)
            data += struct.pack('>i', at) + body
        p.log(A.LOG_AGGRE | 1 << 31, out[-1], data)
        return out

    def checkpoint(self):
        for p in self.pgs.values():
            ts = self.tick()
            p.log(A.LOG_SUBMIT, ts, struct.pack('>q', 12000) + envelope(1, put_varint(ts - 1)))

    def expected(self, low, part, at):
        """{(index low, key): value} at a time, from the history alone."""
        out = {}
        for v, i, k, x in sorted(self.pgs[low, part].history, key=lambda h: h[0]):
            if v <= at:
                out[i, k] = x
        return {k: x for k, x in out.items() if x is not None}


# ---- sstables of one PG ----

class Copy:
    """A copy of one PG: majors as of major_ts, one mini with everything up to the last log, trans states."""

    def __init__(self, pg, major_ts, trans_id_of_set=0):
        self.pg, self.major_ts = pg, major_ts
        self.last = len(pg.logs)
        self.parts = []  # (pkey, [(table key, rows)])
        state = {}
        for _, ts, trans, *_ in pg.redo:
            state[trans] = (W.RUNNING, 0, ts)
        for _, trans, version in pg.ends:
            state[trans] = (W.TX_COMMITTED if version else W.TX_ABORTED, version or 0, state[trans][2])
        self.end_ts = pg.logs[-1].submit_ts
        for member, indexes in pg.members.items():
            pkey = PKey(full(member), pg.part)
            tables = []
            for i in indexes:
                tables.append((self._key(R.TYPE_MAJOR, pkey, i), self._major(i)))
                tables.append((self._key(R.TYPE_MINI, pkey, i), self._mini(i, state)))
            self.parts.append((pkey, tables))
        rows = [W.Row(W.PUT, 0, v, t, ts, struct.pack('>q', t), struct.pack('>BqI', s, 0, 0))
                for t, (s, v, ts) in sorted(state.items())]
        tk = pg.key.trans_key()
        self.parts.append((tk, [(self._key(R.TYPE_TRANS, tk, tk.table_id & (1 << 40) - 1), rows)]))

    def _key(self, table_type, pkey, low):
        major = table_type == R.TYPE_MAJOR
        base = 0 if major or table_type == R.TYPE_TRANS else self.major_ts
        snapshot = self.major_ts if major else self.end_ts
        return {'table_type': table_type, 'pkey': pkey, 'table_id': full(low),
                'trans_version_range': {'multi_version_start': self.major_ts, 'base_version': base,
                                        'snapshot_version': snapshot},
                'version': {'version': 2 if major else 0},
                'log_ts_range': {'start_log_ts': 0 if base == 0 else self.major_ts, 'end_log_ts': snapshot,
                                 'max_log_ts': snapshot}}

    def _major(self, index):
        best = {}
        for v, i, k, x in sorted(self.pg.history, key=lambda h: h[0]):
            if i == index and v <= self.major_ts:
                best[k] = (v, x)
        return [W.Row(W.PUT, 0, v, 0, 0, k, x) for k, (v, x) in sorted(best.items()) if x is not None]

    def _mini(self, index, state):
        out = []
        for _, ts, trans, i, key, op, value in self.pg.redo:
            status, version, _ = state[trans]
            if i != index or status == W.TX_ABORTED or (version and version <= self.major_ts):
                continue
            out.append(W.Row(op, 0 if version else 1, version, trans, ts, key, value))
        return sorted(out, key=lambda r: (r.key, not r.state, -r.version, -r.redo_ts))


class SetWriter:
    """Writes one backup set of a world."""

    def __init__(self, root, world, set_id, major_ts, previous=None, rows_per_block=4):
        self.world, self.set_id, self.previous = world, set_id, previous
        self.cp = os.path.join(root, CLUSTER, str(CLUSTER_ID), 'incarnation_1')
        self.kind = 'inc' if previous else 'full'
        self.major_ts, self.rows_per_block = major_ts, rows_per_block
        self.path = os.path.join(self.cp, str(TENANT), 'data', 'backup_set_%d_%s_20260101' % (set_id, self.kind))
        self.inc = os.path.join(self.path, 'backup_%d' % set_id)
        self.known = dict(previous.known) if previous else {}  # (index, data_seq, rows) -> entry, blocks of older sets
        self.blocks, self.metas, self.index = 0, b'', []
        self.parts = 0

    def write(self, cut=None):
        cut = cut or (lambda v: v)
        self.schema_version = self.world.schema_version
        copies = [Copy(p, self.major_ts) for p in self.world.pgs.values()]
        for c in copies:
            self._pg(c, cut)
        self.snapshot = self.world.tick(100)
        put(self.inc + '/meta_file_7', M.put_block(M.TYPE_META, self.metas) + M.put_block(M.TYPE_END, b''))
        entries = b''.join(R.META_INDEX.put(e) for e in self.index)
        put(self.inc + '/meta_index_file_7', M.put_block(M.TYPE_META_INDEX, entries) + M.put_block(M.TYPE_END, b''))
        put(self.inc + '/meta_index_file', M.put_header(M.TYPE_META_INDEX, 0, entries) + entries + M.put_header(M.TYPE_END, 0, b''))
        keys = [c.pg.key for c in copies]
        for name, sys in (('sys_pg_list', True), ('normal_pg_list', False)):
            put(self.inc + '/' + name, M.put_info(M.TYPE_PG_LIST, R.PG_LIST.put({'items': [k for k in keys if k.is_sys == sys]})))
        self.start_replay = min(c.end_ts for c in copies)
        self.count = len(copies)
        self._infos()
        return self

    def _pg(self, c, cut):
        base = '%s/data/%d/%d' % (self.path, c.pg.key.table_id, c.pg.key.partition_id)
        sides = {True: [b'', b''], False: [b'', b'']}  # major? -> [blocks, index]
        parts = []
        for pkey, tables in c.parts:
            self.parts += not pkey.is_trans
            metas = []
            for key, rows in tables:
                side = sides[key['table_type'] == R.TYPE_MAJOR]
                facts = self._table(key, rows, side)
                upper = INT64_MAX if key['table_type'] != R.TYPE_MAJOR else key['trans_version_range']['snapshot_version']
                metas.append({'sstable_meta': sstable_meta(key, facts, self.schema_version, upper), 'table_key': key})
            report = {n: 0 for n, _ in R.REPORT_STATUS.members}
            parts.append({'partition_store_meta': {
                'pkey': pkey, 'report_status': report, 'multi_version_start': 1, 'data_table_id': pkey.table_id,
                'create_schema_version': 1, 'create_timestamp': 1}, 'sstables': metas})
        for major, (blocks, index) in sides.items():
            d = base + ('/major_data' if major else '/minor_data/7')
            if blocks:
                put('%s/macro_block_%d.0' % (d, self.set_id), blocks + M.put_block(M.TYPE_END, b''))
            index = M.put_block(M.TYPE_MACRO_INDEX, index) if index else b''
            put('%s/macro_block_index_%d' % (d, self.set_id), index + M.put_block(M.TYPE_END, b''))
        v = cut({'pg_meta': self._pg_meta(c), 'partitions': parts})
        record = M.put_meta_record(M.PG_META_INFO, R.BACKUP_PG_META.put(v))
        self.index.append({'meta_type': 4, 'table_id': c.pg.key.table_id, 'partition_id': c.pg.key.partition_id,
                           'offset': M.HEADER_LEN + len(self.metas), 'data_length': len(record), 'task_id': 7})
        self.metas += record

    def _table(self, key, rows, side):
        facts, entries = [], []
        major = key['table_type'] == R.TYPE_MAJOR
        for n, i in enumerate(range(0, len(rows), self.rows_per_block)):
            part = rows[i:i + self.rows_per_block]
            version = 2 if major else 0
            meta, block, f = macro_block(part, key, version, n)
            self.blocks += 1
            facts.append(f)
            same = (key['pkey'], key['table_id'], block)
            if major and same in self.known:
                e = dict(self.known[same], sstable_macro_index=n)
            else:
                raw = macro_media(meta, block)
                e = {'sstable_macro_index': n, 'data_version': version, 'data_seq': n, 'backup_set_id': self.set_id,
                     'sub_task_id': 0, 'offset': len(side[0]), 'data_length': len(raw)}
                side[0] += raw
                if major:
                    self.known[same] = e
            entries.append(R.MACRO_INDEX.put(e))
        if entries:
            side[1] += R.TABLE_KEY_INFO.put({'table_key': key, 'total_macro_block_count': len(entries)}) + b''.join(entries)
        return facts

    def _pg_meta(self, c):
        accum, ts = c.pg.chain[c.last]
        none = {'server': {'version': 4, 'ip1': 0, 'ip2': 0, 'ip3': 0, 'ip4': 0, 'port': 0}, 'timestamp': -1, 'flag': 0}
        proposal = {'version': 4, 'ip': 0, 'port': 0, 'ts': -1}
        clog = {'version': 1, 'epoch_id': T0, 'proposal_id': proposal, 'last_replay_log_id': c.last,
                'last_submit_timestamp': ts, 'accumulate_checksum': accum, 'replica_num': 3, 'membership_timestamp': 1,
                'membership_log_id': 1, 'curr_member_list': {'member_number': 0, 'members': [none] * 7},
                'ms_proposal_id': proposal}
        data = {'last_replay_log_id': c.last, 'publish_version': c.end_ts, 'schema_version': self.schema_version,
                'for_filter_log_compat': 1, 'created_by_new_minor_freeze': True, 'last_replay_log_ts': ts}
        m = {n: 0 for n, _ in R.PG_META.members}
        invalid = PKey((1 << 64) - 1, -1, -1)
        m.update(pg_key=c.pg.key, replica_property={'property': 100},
                 storage_info={'version': 3, 'clog_info': clog, 'data_info': data, 'pg_file_id': -1},
                 split_info={'schema_version': 0, 'partition_pair': {'src_pkey': invalid, 'dest': []}, 'split_type': -1,
                             'split_version': -1, 'source_log_id': -1, 'source_log_ts': 0, 'receive_split_ts': 0},
                 partitions=[p for p, _ in c.parts],
                 report_status={n: 0 for n, _ in R.PG_REPORT_STATUS.members})
        return m

    def _infos(self):
        full_id = self.previous.full_id if self.previous else self.set_id
        self.full_id = full_id
        prev = (full_id, self.previous.set_id, 2) if self.previous else (0, 0, 0)
        kind = R.BACKUP_INC if self.previous else R.BACKUP_FULL
        e = {'tenant_id': TENANT, 'backup_set_id': self.set_id, 'incarnation': 1, 'copy_id': 0, 'snapshot_version': self.snapshot,
             'prev_full_backup_set_id': prev[0], 'prev_inc_backup_set_id': prev[1], 'prev_backup_data_version': prev[2],
             'pg_count': self.count, 'macro_block_count': self.blocks, 'finish_pg_count': self.count,
             'finish_macro_block_count': self.blocks, 'input_bytes': 1, 'output_bytes': 1, 'start_time': T0,
             'end_time': self.snapshot, 'compatible': 4, 'cluster_version': VERSION, 'backup_type': kind,
             'status': R.SET_SUCCESS, 'result': 0, 'cluster_id': CLUSTER_ID, 'backup_dest': DEST, 'backup_data_version': 2,
             'backup_schema_version': self.schema_version, 'partition_count': self.parts,
             'finish_partition_count': self.parts, 'encryption_mode': 0, 'passwd': b'', 'file_status': R.FILE_AVAILABLE,
             'start_replay_log_ts': self.start_replay, 'date': 20260101}
        info = {'full_backup_set_id': full_id, 'inc_backup_set_id': self.set_id, 'backup_data_version': 2,
                'backup_snapshot_version': self.snapshot, 'backup_schema_version': self.schema_version,
                'frozen_snapshot_version': T0, 'frozen_schema_version': 0, 'prev_full_backup_set_id': prev[0],
                'prev_inc_backup_set_id': prev[1], 'prev_backup_data_version': prev[2], 'compatible': 4,
                'cluster_version': VERSION, 'backup_type': kind, 'status': R.INFO_SUCCESS, 'encryption_mode': 0,
                'passwd': b'', 'is_mark_deleted': False, 'date': 20260101}
        before = self.previous.entries if self.previous else ([], [])
        self.entries = before[0] + [e], before[1] + [info]
        files = M.put_info(M.TYPE_SET_FILES, R.SET_FILE_INFOS.put({'items': self.entries[0]}))
        infos = M.put_info(M.TYPE_BACKUP_INFO, R.BACKUP_INFOS.put({'items': self.entries[1]}))
        put(self.path + '/single_backup_set_info', M.put_info(M.TYPE_SET_FILES, R.SET_FILE_INFOS.put({'items': [e]})))
        put('%s/%d/data/tenant_backup_set_file_info' % (self.cp, TENANT), files)
        put('%s/%d/data/tenant_data_backup_info' % (self.cp, TENANT), infos)
        cluster = [dict(x, tenant_id=1) for x in self.entries[0]]
        put(self.cp + '/cluster_backup_set_file_info', M.put_info(M.TYPE_SET_FILES, R.SET_FILE_INFOS.put({'items': cluster})))
        put(self.cp + '/cluster_data_backup_info', infos)
        x = {'backup_set_id': self.set_id, 'backup_snapshot_version': self.snapshot, 'compatible': 4, 'pg_count': self.count,
             'macro_block_count': self.blocks, 'input_bytes': 1, 'output_bytes': 1, 'cluster_version': VERSION, 'compress_type': 1}
        put(self.path + '/backup_set_info', M.put_info(M.TYPE_SET_INFO, R.BACKUP_SET_INFOS.put({'items': [x]})))
        loc = {'tenant_id': TENANT, 'backup_set_id': self.set_id, 'backup_snapshot_version': self.snapshot, 'compat_mode': 0,
               'tenant_name': b't1', 'locality': b'FULL{1}@z1', 'primary_zone': b'z1'}
        put(self.inc + '/tenant_locality_info', M.put_info(M.TYPE_LOCALITY, R.LOCALITY.put({'info': loc})))
        put(self.inc + '/tenant_diagnose_info', M.put_info(M.TYPE_DIAGNOSE, b'\ntext\n'))
        tenant = {'tenant_id': TENANT, 'create_timestamp': 0, 'delete_timestamp': 0, 'compat_mode': 0, 'tenant_name': b't1',
                  'backup_snapshot_version': self.snapshot}
        put(self.cp + '/tenant_info', M.put_info(M.TYPE_TENANT_INFO, R.TENANT_INFOS.put({'items': [tenant]})))


def put(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as f:
        f.write(data)


def write_names(cp):
    body = R.TENANT_NAME_META.put({'schema_version': T0, 'tenant_count': 1}) + R.TENANT_NAME_INFO.put(
        {'tenant_name': b't1', 'is_complete': True, 'ids': [{'tenant_id': TENANT, 'timestamp': T0}]})
    put(cp + '/tenant_name_info', M.put_info(M.TYPE_TENANT_NAME, body, 1))
