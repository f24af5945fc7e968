"""rows.py - what lies inside the stand-in's frames: row records, transaction items, schema rows (tests/observer/CONTRACT.md)."""
import json
import struct
from typing import NamedTuple

import archive as A
from errors import OB_DESERIALIZE_ERROR, OB_INVALID_DATA, ObError
from obcodec import PKey, get_varint, murmur64a

PUT, DELETE = 1, 2
COMMITTED, UNCOMMITTED = 0, 1
MICRO = struct.Struct('<7i')
ROW = struct.Struct('<BBHIqqq')
ROW_LEN = 32
RUNNING, PREPARED, TX_COMMITTED, TX_ABORTED = 1, 2, 3, 4
LOG_TRANS_CHECKPOINT, LOG_ADD_PARTITION, LOG_OFFLINE = 12000, 13000, (20001, 20002)
REDO, PREPARE, COMMIT, ABORT = 1, 2, 4, 8

SYS_TABLES = (5, 103, 134) + tuple(range(211, 223))
PRIVATE_TABLES = (135, 165, 183, 190)
TABLE_HISTORY, TABLEGROUP_HISTORY = 103, 134
TABLEGROUP_BIT = 1 << 39


class Row(NamedTuple):
    op: int
    state: int
    version: int
    trans_id: int
    redo_ts: int
    key: bytes
    value: bytes


def micro_rows(buf):
    """Rows of one opened micro block, in order."""
    if len(buf) < MICRO.size:
        raise ObError(OB_DESERIALIZE_ERROR, 'micro block of %d bytes' % len(buf))
    size, version, magic, _, _, index, count = MICRO.unpack_from(buf, 0)
    if size != MICRO.size or version != 1 or magic != 1005:
        raise ObError(OB_INVALID_DATA, 'micro header %d/%d/%d' % (size, version, magic))
    if count < 0 or index < size or index + 4 * (count + 1) > len(buf):
        raise ObError(OB_DESERIALIZE_ERROR, 'row index of %d rows at %d' % (count, index))
    offsets = struct.unpack_from('<%di' % (count + 1), buf, index)
    unpack = ROW.unpack_from
    out = []
    for i in range(count):
        p, end = size + offsets[i], size + offsets[i + 1]
        if not size <= p <= end - ROW_LEN or end > index:
            raise ObError(OB_DESERIALIZE_ERROR, 'row %d lies at %d..%d' % (i, p, end))
        op, state, key_len, value_len, v, trans, ts = unpack(buf, p)
        q = p + ROW_LEN + key_len
        if q + value_len != end or op not in (PUT, DELETE) or state > 1:
            raise ObError(OB_INVALID_DATA, 'row %d: op %d, state %d, lengths %d and %d' % (i, op, state, key_len, value_len))
        out.append(Row(op, state, v, trans, ts, buf[p + ROW_LEN:q], buf[q:end]))
    return out


class TransState(NamedTuple):
    status: int
    version: int


def trans_state(row):
    """A row of the trans-state sstable -> (trans_id, TransState)."""
    if len(row.value) < 13 or len(row.key) != 8:
        raise ObError(OB_DESERIALIZE_ERROR, 'trans-state row')
    return int.from_bytes(row.key, 'big'), TransState(row.value[0], row.version)


# ---- log bodies ----

class Item(NamedTuple):
    submit_ts: int
    kind: int
    rest: memoryview


def items(e):
    """Items of a SUBMIT or AGGRE log entry; other types have none."""
    data = e.data
    if e.type == A.LOG_SUBMIT:
        if len(data) < 8:
            raise ObError(OB_DESERIALIZE_ERROR, 'SUBMIT log of %d bytes' % len(data))
        return [Item(e.submit_ts, int.from_bytes(data[:8], 'big'), data[8:])]
    if e.type != A.LOG_AGGRE:
        return []
    out, p, end = [], 0, len(data)
    while p < end:
        if p + 20 > end:
            raise ObError(OB_DESERIALIZE_ERROR, 'AGGRE item at %d of %d' % (p, end))
        after, ts, kind = struct.unpack_from('>iqq', data, p)
        stop = min(after, end)
        if stop <= p:
            raise ObError(OB_DESERIALIZE_ERROR, 'AGGRE item at %d is followed by %d' % (p, after))
        out.append(Item(ts, kind, data[p + 20:stop]))
        p = after
    return out


class Change(NamedTuple):
    index_id: int
    op: int
    key: bytes
    value: bytes


class Trans(NamedTuple):
    trans_id: int
    changes: list
    prepare_version: int
    commit_version: int  # 0 = no commit here
    aborted: bool
    participants: list


def _pkeys(b, p):
    (n,) = struct.unpack_from('>I', b, p)
    if p + 4 + 16 * n > len(b):
        raise ObError(OB_DESERIALIZE_ERROR, '%d participants' % n)
    return [PKey(*struct.unpack_from('>Qii', b, p + 4 + 16 * i)) for i in range(n)], p + 4 + 16 * n


def transaction(item):
    """A transaction item -> Trans."""
    try:
        return _transaction(item)
    except struct.error as e:
        raise ObError(OB_DESERIALIZE_ERROR, 'transaction item: %s' % e) from e


def _transaction(item):
    b, bits = item.rest, item.kind
    (trans_id,) = struct.unpack_from('>q', b, 0)
    p, changes, prepare, commit, aborted, parts = 8, [], 0, 0, False, []
    if bits & REDO:
        (n,) = struct.unpack_from('>I', b, p)
        p += 4
        for _ in range(n):
            index_id, op, key_len, value_len = struct.unpack_from('>QBII', b, p)
            p += 17
            if p + key_len + value_len > len(b):
                raise ObError(OB_DESERIALIZE_ERROR, 'change runs over the end')
            changes.append(Change(index_id, op, bytes(b[p:p + key_len]), bytes(b[p + key_len:p + key_len + value_len])))
            p += key_len + value_len
    if bits & PREPARE:
        (prepare,) = struct.unpack_from('>q', b, p)
        _, p = _pkeys(b, p + 8)
    if bits & COMMIT:
        (commit,) = struct.unpack_from('>q', b, p)
        parts, p = _pkeys(b, p + 8)
    if bits & ABORT:
        _, p = _pkeys(b, p)
        aborted = True
    if p != len(b):
        raise ObError(OB_DESERIALIZE_ERROR, '%d bytes follow the transaction item' % (len(b) - p))
    return Trans(trans_id, changes, prepare, commit, aborted, parts)


def is_transaction(kind):
    return 0 < kind < 16


def checkpoint_of(item):
    """Value of a 12000 item: UNIS v1 {vi64}."""
    _, p = get_varint(item.rest, 0, len(item.rest))
    _, p = get_varint(item.rest, p, len(item.rest))
    return get_varint(item.rest, p, len(item.rest))[0]


def add_partition_of(item):
    """Partition of a 13000 item: UNIS v1 {pkey, vi64 schema_version}."""
    _, p = get_varint(item.rest, 0, len(item.rest))
    _, p = get_varint(item.rest, p, len(item.rest))
    return PKey(*struct.unpack_from('>Qii', item.rest, p))


# ---- schema ----

class Schema:
    """The tenant's schema out of rows of 103 and 134: every version of every table and tablegroup."""

    def __init__(self, table_rows, tablegroup_rows):
        self.tables, self.groups, self.views = {}, {}, {}
        for rows, into, name in ((table_rows, self.tables, 'table_id'), (tablegroup_rows, self.groups, 'tablegroup_id')):
            for value in rows:
                v = json.loads(bytes(value))
                into.setdefault(v[name], []).append(v)
        for versions in list(self.tables.values()) + list(self.groups.values()):
            versions.sort(key=lambda v: v['schema_version'])

    @property
    def version(self):
        """Greatest schema version there is."""
        return max((v[-1]['schema_version'] for v in list(self.tables.values()) + list(self.groups.values())), default=0)

    @staticmethod
    def _at(versions, version):
        fit = [v for v in versions if v['schema_version'] <= version]
        return fit[-1] if fit and not fit[-1]['is_deleted'] else None

    def _view(self, version):
        """Everything of one version, computed once: (tables, PGs, local indexes by data table)."""
        if version not in self.views:
            tables = [t for t in (self._at(v, version) for v in self.tables.values()) if t]
            groups = [g for g in (self._at(v, version) for v in self.groups.values()) if g and g['binding']]
            indexes = {}
            for t in tables:
                if is_local_index(t):
                    indexes.setdefault(t['data_table_id'], []).append(t)
            self.views[version] = tables, _pgs(tables, groups), indexes
        return self.views[version]

    def pgs(self, version):
        """User PGs of the schema: (low id, partition_id) -> low ids of member tables."""
        return self._view(version)[1]

    def rebuilt_globals(self, at_set):
        """Low ids of global indexes that are AVAILABLE now but were not at the set's version: RootService builds them anew."""
        before = {t['table_id'] for t in self._view(at_set)[0] if is_global_index(t) and t['index_status'] == 2}
        return {t['table_id'] for t in self._view(self.version)[0]
                if is_global_index(t) and t['index_status'] == 2} - before

    def indexes(self, low_id, version, available=True):
        """Local indexes of a table at a version."""
        return [t for t in self._view(version)[2].get(low_id, []) if not available or t['index_status'] == 2]


def _pgs(tables, groups):
    out = {(g['tablegroup_id'], p): [] for g in groups for p in _group_partitions(g)}
    known = {g['tablegroup_id'] for g in groups}
    for t in tables:
        if is_local_index(t) or t['table_type'] in (1, 2, 4, 7):
            continue
        if t['table_type'] == 5 and t['index_status'] != 2:
            continue  # a global index has PGs of its own only when AVAILABLE
        home = t['tablegroup_id'] if t['binding'] else t['table_id']
        if t['binding'] and home not in known:
            continue
        for p in t['partitions']:
            out.setdefault((home, p), []).append(t['table_id'])
    return out


def _group_partitions(g):
    """Partition ids of a tablegroup; one level: 0, 1, ...; two levels: both words carry bit 28."""
    if g['part_level'] == 0:
        return [0]
    if g['part_level'] == 1:
        return range(g['part_num'])
    return [(p << 32 | s) | 1 << 28 | 1 << 60 for p in range(g['part_num']) for s in range(g['sub_part_num'])]


def is_local_index(t):
    return t['table_type'] == 5 and t['index_type'] in (1, 2, 5, 6, 7, 8)


def is_global_index(t):
    return t['table_type'] == 5 and t['index_type'] in (3, 4)


def index_row_key(index_low, key):
    """Key of a row's entry in a local index: 8 bytes of hash, so that the index has another order, then the row's key."""
    return murmur64a(key, index_low & 0xFFFF).to_bytes(8, 'big') + key


def build_index(index_low, table_rows):
    """Rows of a local index that RootService builds again after the restore, in key order."""
    return sorted((index_row_key(index_low, key), b'', version) for key, _, version in table_rows)
