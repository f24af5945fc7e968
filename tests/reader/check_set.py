"""check_set.py - rules of one backup set that need several of its files (restorable-set A, format-data-backup 3 and 9)."""
import os

import media as M
import records as R
from backupset import MAJOR, MINOR, index_key
from errors import ObError
from obcodec import crc_chain
from select_sources import RELEASES

S_INFO = 'format-data-backup 3.9'


class SetCheck:
    """One SET directory; facts of macro data files are given, findings go to out."""

    def __init__(self, out, path, files, chain):
        self.out = out
        self.path = path
        self.files = files    # absolute path -> facts of check_macro_file
        self.chain = chain    # set id -> BackupSet of the tenant
        self.set = chain[int(os.path.basename(path).split('_')[2])]
        self.info = self.set.info
        self.used = set()     # (path of macro file, offset) named by an index of this set
        self.pgs = {}         # PKey -> ObBackupPGMetaInfo
        self.blocks = 0
        self.partitions = 0

    def finding(self, path, rule, text, offset=None):
        self.out.add(path, rule, text, offset)

    def run(self, values):
        """values: path -> parsed value of each small file of the set."""
        lists = {n: values.get(os.path.join(self.set.inc, n)) for n in ('sys_pg_list', 'normal_pg_list')}
        if None in lists.values():
            self.finding(self.set.inc, S_INFO, 'sys_pg_list or normal_pg_list is missing or unreadable')
            return
        self.sys = lists['sys_pg_list']['items']
        self.normal = lists['normal_pg_list']['items']
        self._lists()
        self._index_files(values)
        for key in self.sys + self.normal:
            entry = self.index.get(index_key(key))
            if entry is None:
                self.finding(self.set.inc, 'format-data-backup 3.6', 'PG %s has no type-4 meta index entry' % (key,))
                continue
            with self.out.guard(self.path, 'format-data-backup 3.5'):
                meta = self.set.pg_meta(entry)
                self.pgs[key] = meta
                self._pg_meta(key, meta, self._meta_path(entry))
                self._macro(key, meta, entry)
        self._totals(values)

    def _meta_path(self, entry):
        return os.path.join(self.set.inc, 'meta_file_%d' % entry['task_id'])

    # ---- lists and meta indexes ----

    def _lists(self):
        path = os.path.join(self.set.inc, 'sys_pg_list')
        if not self.sys:
            self.finding(path, 'restorable-set A6', 'sys_pg_list is empty')
        tenant = self.info['tenant_id']
        seen = set()
        for keys, sys in ((self.sys, True), (self.normal, False)):
            for k in keys:
                if k.is_sys != sys:
                    self.finding(path, S_INFO + ' (4)', 'PG %s is in the wrong list' % (k,))
                if k.tenant_id != tenant or k in seen:
                    self.finding(path, S_INFO + ' (4)', 'PG %s comes twice or is of another tenant' % (k,))
                if k.part_id < 0 or k.assist < 0 or k.is_trans:
                    self.finding(path, 'format-data-backup 2', 'PG key %s is not valid' % (k,))
                if k.assist and not (k.part_id & 0xF0000000 and k.assist & 0xF0000000):
                    self.finding(path, 'restorable-set A3 e', 'PG %s: assist %d, restore compares with 0' % (k, k.assist))
                seen.add(k)

    def _index_files(self, values):
        merged = os.path.join(self.set.inc, 'meta_index_file')
        entries = values.get(merged)
        if entries is None:
            self.finding(merged, 'format-data-backup 3.6', 'no merged meta_index_file')
            entries = []
        self.index = {}
        listed = {index_key(k) for k in self.sys + self.normal}
        tasks = set()
        for e in entries:
            key = e['table_id'], e['partition_id']
            tasks.add(e['task_id'])
            if e['meta_type'] != M.PG_META_INFO:
                self.finding(merged, 'format-data-backup 3.6', 'entry of type %d' % e['meta_type'])
            if key in self.index:
                self.finding(merged, 'format-data-backup 3.6', 'two entries for PG %d/%d' % key)
            if key not in listed:
                self.finding(merged, 'restorable-set A4', 'entry for PG %d/%d, which no list names' % key)
            self.index[key] = e
            task_index = os.path.join(self.set.inc, 'meta_index_file_%d' % e['task_id'])
            if e not in (values.get(task_index) or []):
                self.finding(task_index, 'format-data-backup 3.6', 'lacks the entry of PG %d/%d' % key)
            records = values.get(self._meta_path(e)) or {}
            if records.get(e['offset']) != e['data_length']:
                self.finding(self._meta_path(e), 'format-data-backup 3.6', 'no record of %d bytes for PG %d/%d' % (
                    (e['data_length'],) + key), e['offset'])
        for path in values:
            name = os.path.basename(path)
            if os.path.dirname(path) == self.set.inc and name.startswith(('meta_file_', 'meta_index_file_')) \
                    and int(name.rsplit('_', 1)[1]) not in tasks:
                self.finding(path, 'design 7', 'task is not named by the merged index')

    # ---- one PG's meta ----

    def _pg_meta(self, key, v, path):
        pg, say = v['pg_meta'], lambda rule, text: self.finding(path, rule, 'PG %s: %s' % (key, text))
        if pg['pg_key'] != key:
            say('restorable-set A6', 'record is of %s' % (pg['pg_key'],))
        stores = [p['partition_store_meta']['pkey'] for p in v['partitions']]
        if stores != pg['partitions']:
            say('restorable-set A3 a', 'partitions of the PG meta differ from the partition metas')
        if [p for p in stores if p.is_trans] != [key.trans_key()] or stores[-1] != key.trans_key():
            say('format-data-backup 2', 'trans-state partition is missing, wrong or not last')
        self.partitions += len(stores) - 1
        clog, data = pg['storage_info']['clog_info'], pg['storage_info']['data_info']
        if clog['last_replay_log_id'] > data['last_replay_log_id']:
            say('restorable-set A', 'clog_info at log %d, data_info at %d' % (
                clog['last_replay_log_id'], data['last_replay_log_id']))
        if pg['replica_type'] != 0:
            say('restorable-set A3 a', 'replica_type %d' % pg['replica_type'])
        if pg['storage_info']['version'] != 3 or pg['saved_split_state'] < 0:
            say('format-data-backup 3.5', 'storage_info version or split state')
        S, S_v = self.info['snapshot_version'], self.info['backup_schema_version']
        reached = False
        schema_floor = max(S_v, 0)
        for p in v['partitions']:
            pkey = p['partition_store_meta']['pkey']
            for s in p['sstables']:
                k, m = s['table_key'], s['sstable_meta']
                if k['pkey'] != pkey:
                    say('format-data-backup 9.4', 'table key of %s under partition %s' % (k['pkey'], pkey))
                if k['pkey'].assist != key.assist and not k['pkey'].part_id & 0xF0000000 and k['pkey'].assist:
                    say('restorable-set A3 e', 'assist %d in a table key' % k['pkey'].assist)
                if (k['table_type'] == R.TYPE_TRANS) != pkey.is_trans:
                    say('format-data-backup 2', 'table type %d in partition %s' % (k['table_type'], pkey))
                if k['table_type'] not in (R.TYPE_MAJOR, R.TYPE_TRANS) + R.MINOR_TYPES:
                    say('restorable-set A', 'table type %d' % k['table_type'])
                if k['trans_version_range']['snapshot_version'] >= data['publish_version']:
                    reached = True
                    schema_floor = max(schema_floor, m['schema_version'])
            if pkey.is_trans:
                self._trans(p, data, say)
            else:
                self._tables(p, data, S, say)
        if not reached:
            say('restorable-set A3 c', 'no table reaches publish_version %d' % data['publish_version'])
        if data['schema_version'] < schema_floor:
            say('restorable-set A3 d', 'data_info.schema_version %d, must be at least %d' % (
                data['schema_version'], schema_floor))

    @staticmethod
    def _trans(p, data, say):
        if not p['sstables']:
            say('restorable-set A3 a', 'no trans sstable')
        elif max(s['table_key']['log_ts_range']['end_log_ts'] for s in p['sstables']) < data['last_replay_log_ts']:
            say('restorable-set A3 a', 'trans sstable ends before last_replay_log_ts %d' % data['last_replay_log_ts'])

    def _tables(self, p, data, S, say):
        """Per index: one major, a connected chain of minors up to the first that reaches publish_version."""
        by_index = {}
        for s in p['sstables']:
            by_index.setdefault(s['table_key']['table_id'], []).append(s)
        for table_id, tables in by_index.items():
            majors = [s for s in tables if s['table_key']['table_type'] == R.TYPE_MAJOR]
            minors = [s for s in tables if s['table_key']['table_type'] in R.MINOR_TYPES]
            if len(majors) > 1:
                say('restorable-set A3 b', '%d majors for index %d' % (len(majors), table_id))
            lower = None
            for s in majors:
                lower = max(lower or 0, s['table_key']['trans_version_range']['snapshot_version'])
                # an index that was built after the PG's last freeze has no older one; S covers it all the same (A3 f)
                if lower > data['publish_version'] and table_id == p['partition_store_meta']['pkey'].table_id:
                    say('restorable-set A3 b', 'major of %d at %d is newer than publish_version' % (table_id, lower))
            self._minors(table_id, minors, lower, data['publish_version'], say)
            floor = max([lower or 0] + [s['table_key']['trans_version_range']['multi_version_start'] for s in minors])
            if S < floor:
                say('restorable-set A3 f', 'S %d is below %d, the lower bound of index %d' % (S, floor, table_id))

    @staticmethod
    def _minors(table_id, minors, lower, publish, say):
        reached, end = lower, None
        done = False
        for s in minors:
            k, upper = s['table_key'], s['sstable_meta']['upper_trans_version']
            r, logs = k['trans_version_range'], k['log_ts_range']
            if lower is not None and upper <= lower:
                say('restorable-set A3 c', 'minor of %d lies below the major' % table_id)
            if done:
                say('restorable-set A3 c', 'minor of %d behind the one that reaches publish_version' % table_id)
            if reached is not None and r['base_version'] > reached:
                say('restorable-set A3 c', 'hole in the versions of %d: %d to %d' % (table_id, reached, r['base_version']))
            if end is not None and logs['start_log_ts'] > end:
                say('restorable-set A3 c', 'hole in the log range of %d: %d to %d' % (table_id, end, logs['start_log_ts']))
            reached, end = max(reached or 0, r['snapshot_version']), logs['end_log_ts']
            done = done or r['snapshot_version'] >= publish

    # ---- one PG's macro indexes ----

    def _macro(self, key, meta, entry):
        task = entry['task_id']
        tables = {}
        for side in (MAJOR, MINOR):
            try:
                tables[side] = self.set.macro_index(key, side, task, self.out.note).tables
            except ObError as e:
                self.out.error(self.set.side_dir(key, side, task), 'format-data-backup 3.8', e)
                tables[side] = {}
        named = {MAJOR: set(), MINOR: set()}
        for p in meta['partitions']:
            for s in p['sstables']:
                k, m = s['table_key'], s['sstable_meta']
                side = self.set.side(k['table_type'])
                raw = R.TABLE_KEY.put(k)
                total = m['macro_block_count'] + m['lob_macro_block_count']
                self.blocks += total
                table = tables[side].get(raw)
                where = self.set.side_dir(key, side, task)
                if table is None:
                    if total:
                        self.finding(where, 'format-data-backup 9.4', 'no index for table %d of type %d with %d blocks' % (
                            k['table_id'], k['table_type'], total))
                    continue
                named[side].add(raw)
                if table.total != total or len(table.entries) != total:
                    self.finding(where, 'format-data-backup 3.8', 'table %d: meta says %d blocks, index %d, entries %d' % (
                        k['table_id'], total, table.total, len(table.entries)))
                else:
                    self._table(key, side, task, k, m, table)
        members = set(meta['pg_meta']['partitions'])
        for raw, table in tables[MINOR].items():
            # a table that left its tablegroup after the copy takes its partition out of the meta (A3 e), not out of the index
            if raw not in named[MINOR] and table.key['pkey'] in members:
                self.finding(self.set.side_dir(key, MINOR, task), 'format-data-backup 9.4',
                             'index names a table key that the meta lacks: table %d' % table.key['table_id'])
        for raw, table in tables[MAJOR].items():
            if raw not in named[MAJOR]:  # an earlier pass; its blocks are on media all the same
                for e in table.entries:
                    self._find(key, MAJOR, task, e)

    def _find(self, key, side, task, e):
        """Fact of the block an entry names, or None after a finding."""
        where = self.set.side_dir(key, side, task)
        if side == MINOR and e['backup_set_id'] != self.set.set_id:
            self.finding(where, 'format-data-backup 5.2', 'minor block in set %d' % e['backup_set_id'])
            return None
        try:
            path = self.set.block_path(self.chain, key, side, task, e)
        except ObError as err:
            self.out.error(where, 'format-data-backup 5.2', err)
            return None
        facts = self.files.get(path)
        fact = facts.get(e['offset']) if facts is not None else None
        if fact is None or fact.length != e['data_length']:
            self.finding(path, 'format-data-backup 3.8', 'no block of %d bytes where the index of %s says' % (
                e['data_length'], key), e['offset'])
            return None
        self.used.add((path, e['offset']))
        if (fact.data_version, fact.data_seq) != (e['data_version'], e['data_seq']):
            self.finding(path, 'format-data-backup 5.2', 'block is %d/%d, index says %d/%d' % (
                fact.data_version, fact.data_seq, e['data_version'], e['data_seq']), e['offset'])
        return fact

    def _table(self, key, side, task, k, m, table):
        facts = [self._find(key, side, task, e) for e in table.entries]
        if None in facts:
            return
        where = self.set.side_dir(key, side, task)
        say = lambda rule, text: self.finding(where, rule, 'table %d type %d: %s' % (k['table_id'], k['table_type'], text))
        for f in facts:
            if f.table_id != k['table_id'] or (f.attr == 1 and f.partition_id != k['pkey'].partition_id):
                say('observer-store 1.10', 'block belongs to %d/%d' % (f.table_id, f.partition_id))
        data = facts[:m['macro_block_count']]
        if any(f.attr != 1 for f in data) or any(f.attr == 1 for f in facts[m['macro_block_count']:]):
            say('observer-store 8 I7', 'LOB blocks do not follow the data blocks')
        for a, b in zip(data, data[1:]):
            if a.last_key is not None and (a.last_key > b.first_key or a.last_key == b.first_key
                                           and k['table_type'] not in R.MINOR_TYPES):
                say('observer-store 8 I7', 'blocks are not in key order')
        rows, size = sum(f.row_count for f in data), sum(f.occupy_size for f in facts)
        if rows != m['row_count']:
            say('restorable-set B11', 'blocks have %d rows, meta says %d' % (rows, m['row_count']))
        if size != m['occupy_size']:
            say('restorable-set B11', 'blocks occupy %d bytes, meta says %d' % (size, m['occupy_size']))
        fold = 0
        for f in data:
            fold = crc_chain(fold, f.data_checksum)
        if fold != m['data_checksum']:
            say('restorable-set B11', 'data_checksum %x, meta says %x' % (fold, m['data_checksum']))
        if k['table_type'] == R.TYPE_MAJOR:
            self._columns(data, m, say)

    @staticmethod
    def _columns(facts, m, say):
        for c in m['column_metas']:
            total = 0
            for f in facts:
                if c['column_id'] in f.column_ids:
                    total += f.column_checksums[f.column_ids.index(c['column_id'])]
                else:
                    total += c['column_default_checksum'] * f.row_count
            if (total - c['column_checksum']) & (1 << 64) - 1:
                say('restorable-set B11', 'column %d: blocks sum to %d, meta says %d' % (
                    c['column_id'], total, c['column_checksum']))

    # ---- the set's own infos ----

    def _totals(self, values):
        i, path = self.info, os.path.join(self.path, 'single_backup_set_info')
        say = lambda rule, text: self.finding(path, rule, text)
        if i['compatible'] == 4 and i['cluster_version'] not in RELEASES:
            say('restorable-set A8', 'cluster_version %x is no release that 3.1.5 knows' % i['cluster_version'])
        pgs = len(self.sys) + len(self.normal)
        for name, want in (('pg_count', pgs), ('finish_pg_count', pgs), ('macro_block_count', self.blocks),
                           ('finish_macro_block_count', self.blocks), ('partition_count', self.partitions),
                           ('finish_partition_count', self.partitions)):
            if i[name] != want:
                say(S_INFO + ' (2)', '%s %d, tree has %d' % (name, i[name], want))
        if self.pgs:
            first = min(v['pg_meta']['storage_info']['clog_info']['last_submit_timestamp'] for v in self.pgs.values())
            if i['start_replay_log_ts'] != first:
                say('format-data-backup 5.1', 'start_replay_log_ts %d, minimum over the PGs is %d' % (
                    i['start_replay_log_ts'], first))
        info = values.get(os.path.join(self.path, 'backup_set_info'))
        if info is None or len(info['items']) != 1:
            self.finding(self.path, S_INFO + ' (3)', 'backup_set_info with exactly one entry is missing')
        else:
            x = info['items'][0]
            for name, mine in (('backup_set_id', 'backup_set_id'), ('backup_snapshot_version', 'snapshot_version'),
                               ('compatible', 'compatible'), ('pg_count', 'pg_count'),
                               ('macro_block_count', 'macro_block_count'), ('input_bytes', 'input_bytes'),
                               ('output_bytes', 'output_bytes'), ('cluster_version', 'cluster_version')):
                if x[name] != i[mine]:
                    self.finding(os.path.join(self.path, 'backup_set_info'), S_INFO + ' (3)',
                                 '%s %d, single_backup_set_info has %d' % (name, x[name], i[mine]))
            if x['compress_type'] <= 0:
                self.finding(os.path.join(self.path, 'backup_set_info'), S_INFO + ' (3)', 'compress_type 0')
        loc = values.get(os.path.join(self.set.inc, 'tenant_locality_info'))
        if loc is None:
            self.finding(self.set.inc, S_INFO + ' (6)', 'tenant_locality_info is missing')
        else:
            x = loc['info']
            if (x['tenant_id'], x['backup_set_id'], x['backup_snapshot_version']) != (
                    i['tenant_id'], i['backup_set_id'], i['snapshot_version']):
                self.finding(os.path.join(self.set.inc, 'tenant_locality_info'), S_INFO + ' (6)', 'is of another set')
            if not (x['tenant_name'] and x['locality'] and x['primary_zone']) or x['compat_mode'] not in (0, 1):
                self.finding(os.path.join(self.set.inc, 'tenant_locality_info'), S_INFO + ' (6)', 'empty string')
