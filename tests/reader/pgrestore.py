"""pgrestore.py - restores one PG as an OceanBase replica would: sstables, transaction states, log, versions cut at T."""
import os
from typing import NamedTuple

import macroblock as B
import records as R
import rows as W
from backupset import MAJOR, MINOR, index_key, key_from_id, read_block
from digest import RowWriter
from errors import OB_ERR_UNEXPECTED, OB_SNAPSHOT_DISCARDED, ObError
from pgarchive import PgArchive


# position of a PG that comes from the log alone
NOTHING = {'last_replay_log_id': 0, 'accumulate_checksum': 0, 'last_submit_timestamp': 0}


class Job(NamedTuple):
    """What every PG of a restore shares."""
    plan: object       # select_sources.Plan
    until: int
    keys: frozenset    # PKeys of both lists
    index: dict        # meta index of the largest set
    schema: object     # rows.Schema at T, None while the schema itself is being restored
    out_dir: str


class Result(NamedTuple):
    rows: int
    digest: str
    file: str
    partitions: int
    blocks: int
    logs: int


class _Changes:
    """Changes of minors and log: resolved per transaction, newest committed one per key wins."""

    def __init__(self, until):
        self.until = until
        self.best = {}     # index id -> {key: (version, redo_ts, seq, op, value)}
        self.open = {}     # trans id -> [(index id, key, redo_ts, seq, op, value)]
        self.ended = {}    # trans id -> commit version, or None when aborted
        self.seq = 0

    def committed(self, index_id, key, version, redo_ts, op, value):
        self.seq += 1
        if version > self.until:
            return
        table = self.best.setdefault(index_id, {})
        old = table.get(key)
        if old is None or (version, redo_ts, self.seq) >= old[:3]:
            table[key] = (version, redo_ts, self.seq, op, value)

    def pending(self, trans_id, index_id, key, redo_ts, op, value):
        self.seq += 1
        self.open.setdefault(trans_id, []).append((index_id, key, redo_ts, self.seq, op, value))

    def end(self, trans_id, version):
        """The log's own word; a trans-state row that already says how it ended stays."""
        self.ended.setdefault(trans_id, version)

    def resolve(self):
        """Transactions without a commit did not happen."""
        for trans_id, changes in self.open.items():
            version = self.ended.get(trans_id)
            if not version or version > self.until:
                continue
            for index_id, key, redo_ts, seq, op, value in changes:
                table = self.best.setdefault(index_id, {})
                old = table.get(key)
                if old is None or (version, redo_ts, seq) >= old[:3]:
                    table[key] = (version, redo_ts, seq, op, value)
        self.open.clear()


class PgRestore:
    def __init__(self, job, low_id, partition_id):
        self.job = job
        self.low, self.partition_id = low_id, partition_id
        self.key = key_from_id(job.plan.tenant_id << 40 | low_id, partition_id)
        self.set = job.plan.largest
        self.in_set = self.key in job.keys
        self.archive = PgArchive(job.plan.pieces, self.key.table_id, partition_id) if job.plan.pieces else None
        self.changes = _Changes(job.until)
        self.majors = {}   # index id -> (table key, [entries])
        self.blocks = self.partitions = self.logs = 0
        self.added = {}    # PKey -> submit ts of the log that added it to the PG

    def _error(self, rc, text):
        return ObError(rc, 'PG %d/%d: %s' % (self.low, self.partition_id, text), self.set.path)

    @property
    def exists(self):
        """A sys PG that is neither in the list nor archived is created empty, without an error (A7)."""
        return self.in_set or (self.archive is not None and self.archive.exists)

    def run(self):
        self._load()
        if self.job.schema is not None:
            self._members_known()
        return self._write()

    def _load(self):
        clog, data = self._load_set() if self.in_set else (NOTHING, NOTHING)
        if not self.job.plan.no_log:
            self._replay(clog, data['last_replay_log_id'])
        elif not self.in_set:
            raise self._error(OB_ERR_UNEXPECTED, 'not in the set, and no log is read')
        self.changes.resolve()

    # ---- the set ----

    def _load_set(self):
        entry = self.job.index.get(index_key(self.key))
        if entry is None:
            raise self._error(OB_ERR_UNEXPECTED, 'no meta index entry')
        meta = self.set.pg_meta(entry)
        self.task = entry['task_id']
        pg = meta['pg_meta']
        if pg['pg_key'] != self.key:
            raise self._error(OB_ERR_UNEXPECTED, 'PG meta is of %s' % (pg['pg_key'],))
        clog, data = pg['storage_info']['clog_info'], pg['storage_info']['data_info']
        self.tables = {MAJOR: self.set.macro_index(self.key, MAJOR, self.task).tables,
                       MINOR: self.set.macro_index(self.key, MINOR, self.task).tables}
        kept = self._filter(meta, data)
        self.partitions = len([p for p, _ in kept if not p.is_trans])
        self.in_meta = {p for p, _ in kept}
        self._readable(kept, data)
        for pkey, sstables in kept:
            if pkey.is_trans:
                for s in sstables:
                    self._trans_states(s)
        for pkey, sstables in kept:
            if not pkey.is_trans:
                self._partition(pkey, sstables)
        return clog, data

    def _filter(self, meta, data):
        """Partitions and index sstables by the schema at min(target, data_info.schema_version) (A3 d)."""
        parts = [(p['partition_store_meta']['pkey'], p['sstables']) for p in meta['partitions']]
        if self.job.schema is None or self.key.is_inner:
            return parts
        version = min(self.job.schema.version, data['schema_version'])
        members = self.job.schema.pgs(version).get((self.low, self.partition_id), [])
        wanted = {key_from_id(self.job.plan.tenant_id << 40 | m, self.partition_id): m for m in members}
        out = []
        for pkey, sstables in parts:
            if pkey.is_trans:
                out.append((pkey, sstables))
            elif pkey in wanted:
                out.append((pkey, self._filter_indexes(wanted[pkey], sstables, version)))
        lost = set(wanted) - {p for p, _ in parts}
        if lost:
            raise self._error(OB_ERR_UNEXPECTED, 'may lost data: schema %d wants partition %s' % (version, min(lost)))
        return out

    def _filter_indexes(self, table, sstables, version):
        tenant = self.job.plan.tenant_id << 40
        there = {tenant | t['table_id'] for t in self.job.schema.indexes(table, version, available=False)}
        need = {tenant | t['table_id'] for t in self.job.schema.indexes(table, version)}
        have = {s['table_key']['table_id'] for s in sstables}
        if need - have:
            raise self._error(OB_ERR_UNEXPECTED, 'may lost data: schema %d wants index %d' % (version, min(need - have)))
        there.add(tenant | table)
        return [s for s in sstables if s['table_key']['table_id'] in there]

    def _readable(self, kept, data):
        """A table, or an index that the schema calls AVAILABLE, is read from a major on: minors alone are no base."""
        for pkey, sstables in kept:
            if pkey.is_trans:
                continue
            ids = {pkey.table_id}
            if self.job.schema is not None and not self.key.is_inner:
                version = min(self.job.schema.version, data['schema_version'])
                ids |= {self.job.plan.tenant_id << 40 | t['table_id'] for t in self.job.schema.indexes(pkey.low, version)}
            keys = [s['table_key'] for s in sstables]
            for index_id in sorted(ids - {k['table_id'] for k in keys if k['table_type'] == R.TYPE_MAJOR}):
                raise self._error(OB_ERR_UNEXPECTED, 'no major of %d: nothing to read its minors on' % index_id)
            for i, k in enumerate(keys):
                if k in keys[:i] and k['table_type'] != R.TYPE_MAJOR:
                    raise self._error(OB_ERR_UNEXPECTED, 'sstable of %d is there twice' % k['table_id'])

    def _entries(self, s):
        """Index entries of an sstable, complete; the restore makes the key anew, with an assist of its own (A3 e)."""
        k, m = s['table_key'], s['sstable_meta']
        if not k['pkey'].is_trans:
            k = dict(k, pkey=key_from_id(k['pkey'].table_id, k['pkey'].partition_id))
        total = m['macro_block_count'] + m['lob_macro_block_count']
        if total == 0:
            return []
        side = self.set.side(k['table_type'])
        table = self.tables[side].get(R.TABLE_KEY.put(k))
        if table is None or len(table.entries) != total or table.total != total:
            raise self._error(OB_ERR_UNEXPECTED, 'index has %s of %d blocks of table %d type %d' % (
                len(table.entries) if table else 'none', total, k['table_id'], k['table_type']))
        return table.entries

    def _rows(self, s, entries):
        """Rows of an sstable in macro order; every block is validated against its meta."""
        k = s['table_key']
        side = self.set.side(k['table_type'])
        for e in entries:
            path = self.set.block_path(self.job.plan.sets, self.key, side, self.task, e)
            raw, data = read_block(path, e)
            try:
                meta, schema = B.get_full_meta(raw)
                if (meta['data_version'], meta['data_seq'], meta['table_id']) != (
                        e['data_version'], e['data_seq'], k['table_id']):
                    raise ObError(OB_ERR_UNEXPECTED, 'block is not the one that the index names')
                block = B.check_block(data, meta, schema)
                self.blocks += 1
                for i in range(len(block.micros)):
                    yield from W.micro_rows(block.micro(i))
            except ObError as err:
                raise err.at(path, e['offset'])

    def _trans_states(self, s):
        for row in self._rows(s, self._entries(s)):
            trans_id, state = W.trans_state(row)
            if state.status == W.TX_COMMITTED:
                self.changes.ended[trans_id] = state.version
            elif state.status == W.TX_ABORTED:
                self.changes.ended[trans_id] = None

    def _partition(self, pkey, sstables):
        log_end = {}
        for s in sstables:
            k = s['table_key']
            t, index_id = k['table_type'], k['table_id']
            r, logs = k['trans_version_range'], k['log_ts_range']
            if t == R.TYPE_MAJOR:
                if index_id in self.majors:
                    raise self._error(OB_ERR_UNEXPECTED, 'two majors of %d become one version' % index_id)
                self.majors[index_id] = (s, self._entries(s))
                floor = r['snapshot_version']
            elif t in R.MINOR_TYPES:
                if t == R.TYPE_COMPLEMENT and logs['end_log_ts'] > logs['start_log_ts']:
                    continue
                if index_id in log_end and logs['start_log_ts'] > log_end[index_id]:
                    raise self._error(OB_ERR_UNEXPECTED, 'minors of %d do not continue' % index_id)
                log_end[index_id] = logs['end_log_ts']
                floor = r['multi_version_start']
                self._minor(s, index_id)
            else:
                raise self._error(OB_ERR_UNEXPECTED, 'table type %d in partition %s' % (t, pkey))
            if self.job.until < floor:
                raise self._error(OB_SNAPSHOT_DISCARDED, 'table %d keeps versions from %d, T is %d' % (
                    index_id, floor, self.job.until))

    def _minor(self, s, index_id):
        for row in self._rows(s, self._entries(s)):
            if row.state == W.COMMITTED:
                self.changes.committed(index_id, row.key, row.version, row.redo_ts, row.op, row.value)
            else:
                self.changes.pending(row.trans_id, index_id, row.key, row.redo_ts, row.op, row.value)

    # ---- the log ----

    def _enough(self, e):
        if e.type != 201:
            return False
        (item,) = W.items(e)
        return item.kind == W.LOG_TRANS_CHECKPOINT and W.checkpoint_of(item) >= self.job.until

    def _replay(self, clog, in_data):
        """Logs up to data_info's are in the sstables: their order is checked, their content is not taken again."""
        if self.archive is None:
            raise self._error(OB_ERR_UNEXPECTED, 'no piece to read the log from')
        start = clog['last_replay_log_id'] + 1
        for e in self.archive.read(start, clog['accumulate_checksum'] & 0xFFFFFFFF, clog['last_submit_timestamp'],
                                   self._enough):
            self.logs += 1
            if e.log_id == 1 and not self.in_set and self.job.schema is not None:
                self._born(e)
            if e.log_id <= in_data:
                continue
            for item in W.items(e):
                if W.is_transaction(item.kind):
                    self._transaction(item)
                elif item.kind == W.LOG_ADD_PARTITION:
                    self.added[W.add_partition_of(item)] = item.submit_ts

    def _born(self, e):
        """A PG as old as the set but in no list: its first logs are not replayed, so it cannot come back whole (A4)."""
        snapshot = self.set.info['snapshot_version']
        if not self.key.is_inner and e.submit_ts <= snapshot:
            raise self._error(OB_ERR_UNEXPECTED, 'may lost data: born at %d, S is %d, not in the lists' % (
                e.submit_ts, snapshot))

    def _transaction(self, item):
        t = W.transaction(item)
        for c in t.changes:
            self.changes.pending(t.trans_id, c.index_id, c.key, item.submit_ts, c.op, c.value)
        if t.commit_version:
            self.changes.end(t.trans_id, t.commit_version)
        elif t.aborted:
            self.changes.end(t.trans_id, None)

    def _members_known(self):
        """Members of a tablegroup PG at T: copied, or added by a log behind S (A4)."""
        if not self.in_set or self.key.is_inner:
            return
        tenant, S = self.job.plan.tenant_id << 40, self.set.info['snapshot_version']
        for m in self.job.schema.pgs(self.job.schema.version).get((self.low, self.partition_id), []):
            p = key_from_id(tenant | m, self.partition_id)
            if p not in self.in_meta and not self.added.get(p, 0) > S:
                raise self._error(OB_ERR_UNEXPECTED, 'may lost data: member %s was not copied nor added behind S' % (p,))

    # ---- the rows at T ----

    def _visible(self):
        """-> [(index low id, low id of its table, rebuilt?)], ascending."""
        schema = self.job.schema
        if schema is None or self.key.is_inner:
            return [(self.low, self.low, False)]
        out = []
        at_set = self.set.info['backup_schema_version']
        for m in schema.pgs(schema.version).get((self.low, self.partition_id), []):
            out.append((m, m, False))
            ready = {t['table_id'] for t in schema.indexes(m, min(at_set, schema.version))}
            for t in schema.indexes(m, schema.version):
                out.append((t['table_id'], m, t['table_id'] not in ready))
        return sorted(out)

    def merged(self, low):
        """Visible rows of one index in key order: (key, value, version)."""
        index_id = self.job.plan.tenant_id << 40 | low
        overlay = self.changes.best.get(index_id, {})
        news = sorted(overlay)
        i = 0
        s, entries = self.majors.get(index_id, (None, []))
        last = None
        for row in self._rows(s, entries) if entries else ():
            key = row.key
            if last is not None and key <= last or row.op != W.PUT or row.state != W.COMMITTED:
                raise self._error(OB_ERR_UNEXPECTED, 'major of %d is not in key order' % index_id)
            last = key
            while i < len(news) and news[i] < key:
                v = overlay[news[i]]
                if v[3] == W.PUT:
                    yield news[i], v[4], v[0]
                i += 1
            if i < len(news) and news[i] == key:
                v = overlay[key]
                i += 1
                if v[0] >= row.version or row.version > self.job.until:
                    if v[3] == W.PUT:
                        yield key, v[4], v[0]
                    continue
            if row.version <= self.job.until:
                yield key, row.value, row.version
        for key in news[i:]:
            v = overlay[key]
            if v[3] == W.PUT:
                yield key, v[4], v[0]

    def _write(self):
        path = os.path.join(self.job.out_dir, 'pg', '%d_%d.rows' % (self.low, self.partition_id))
        out = RowWriter(path)
        try:
            for low, table, rebuilt in self._visible():
                source = W.build_index(low, self.merged(table)) if rebuilt else self.merged(low)
                for key, value, version in source:
                    out.add(low, key, value, version)
        except BaseException:
            out.abort()
            raise
        rows, digest = out.close()
        return Result(rows, digest, path, self.partitions or 1, self.blocks, self.logs)

    def values(self):
        """All visible values of a sys PG, for reading the schema."""
        if not self.exists:
            return []
        self._load()
        return [value for _, value, _ in self.merged(self.low)]
