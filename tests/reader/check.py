#!/usr/bin/python3
"""check.py ROOT - strict check of a native backup tree, as strict as OceanBase 3.1 and then as our own writer must be.

Exit status 0: nothing found; 1: findings, each with file, offset and rule; 2: usage.
"""
import argparse
import json
import os
import sys

import check_lists as L
import records as R
from backupset import BackupSet
from check_archive import scan_pg
from check_files import check_macro_file, check_small_file
from check_own import check_identity
from check_rows import check_commits, check_lists
from check_set import SetCheck
from errors import ObError
from findings import Findings
from pgarchive import find_pgs, piece_of
from select_sources import NotYet, plan, tenant_of
from tree import ROUND_DIR, SET_DIR, TMP, classify, find_clusters, walk
from workers import pool, size_of

D, C = 'format-data-backup ', 'format-clog-archive '


class Tree:
    """One incarnation directory: files by kind, parsed small files, facts of macro files."""

    def __init__(self, root, cp, out, pool, tenant=None, rows=False):
        self.root, self.cp, self.out, self.pool = root, cp, out, pool
        self.only, self.rows = tenant, rows
        self.names = []
        self.values = {}
        self.files = {}
        self.sets = {}    # tenant -> {set id: BackupSet}
        self.chains = {}  # tenant -> [SetCheck]
        self.stats = {'files': 0, 'bytes': 0, 'sets': 0, 'pgs': 0, 'macro_blocks': 0, 'archived_pgs': 0, 'logs': 0}

    def path(self, name):
        return os.path.join(self.cp, name.path)

    def run(self):
        self._grammar()
        self._small_files()
        self._macro_files()
        with self.out.guard(os.path.join(self.cp, 'obvault', 'repository.json'), 'format.md, repository identity'):
            check_identity(self.out, self.cp)
        tenants = sorted({int(n.fields['tenant']) for n in self.names if 'tenant' in n.fields} - {1})
        for t in tenants:
            with self.out.guard(self.cp, D + '1'):
                self._tenant(t)
        with_sys = tenants + ([1] if not self.only else [])
        for t in with_sys:
            with self.out.guard(self.cp, D + '3.9'):
                self._lists(t)
        if not self.only:
            with self.out.guard(self.cp, D + '3.9'):
                L.check_cluster(self.out, self.cp, self.values, tenants)
        for t in tenants:
            with self.out.guard(self.cp, C + '6'):
                self._restorable(t, self._archive(t))

    def _grammar(self):
        for rel, is_dir in walk(self.cp):
            if rel == 'obvault' or rel.startswith('obvault/'):
                continue
            path = os.path.join(self.cp, rel)
            if is_dir:
                self.out.leftover(path, D + '1', 'empty directory')
                continue
            name = classify(rel)
            if name is None:
                level = self.out.leftover if TMP.search(rel) else self.out.add
                level(path, D + '1', 'no rule names this file')
                continue
            if self.only and int(name.fields.get('tenant', self.only)) != self.only:
                continue
            self.stats['files'] += 1
            self.stats['bytes'] += os.path.getsize(path)
            self.names.append(name)

    def _small_files(self):
        for n in self.names:
            if n.kind not in ('macro_data', 'macro_index', 'archive_data', 'archive_index', 'archive_key'):
                self.values[self.path(n)] = check_small_file(self.out, self.path(n), n.kind)
            if n.kind == 'mount_file' and self.values[self.path(n)] != n.fields['round'].encode():
                self.out.add(self.path(n), C + '3', 'mount file does not hold its round')

    def _macro_files(self):
        jobs = [(self.out.top, self.path(n), self.rows) for n in self.names if n.kind == 'macro_data']
        for (_, path, _), (found, facts) in zip(jobs, self.pool.starmap(check_macro_file, jobs, chunksize=4)):
            self.out.extend(found)
            self.files[path] = facts
            self.stats['macro_blocks'] += len(facts)

    # ---- one tenant ----

    def _tenant(self, t):
        top = os.path.join(self.cp, str(t), 'data')
        chain = self.sets[t] = {}
        for name in sorted(os.listdir(top)) if os.path.isdir(top) else []:
            path = os.path.join(top, name)
            if not SET_DIR.match(name):
                continue
            v = self.values.get(os.path.join(path, 'single_backup_set_info'))
            if v is None or len(v['items']) != 1:
                continue
            with self.out.guard(path, D + '1.2'):
                s = BackupSet(path, v['items'][0])
                if s.set_id in chain:
                    self.out.add(path, D + '1', 'second directory of set %d' % s.set_id)
                chain[s.set_id] = s
        checks = self.chains[t] = []
        for s in chain.values():
            self._set_name(t, s)
            if s.info['status'] == R.SET_SUCCESS and s.info['file_status'] in (
                    R.FILE_AVAILABLE, R.FILE_EXPIRED):
                c = SetCheck(self.out, s.path, self.files, chain)
                with self.out.guard(s.path, D + '3'):
                    c.run(self.values)
                checks.append(c)
                self.stats['sets'] += 1
                self.stats['pgs'] += len(c.pgs)
        used = set().union(*(c.used for c in checks)) if checks else set()
        done = {c.path for c in checks}
        for path, facts in self.files.items():
            if any(path.startswith(d + '/') for d in done):
                for offset in facts:
                    if (path, offset) not in used:
                        self.out.leftover(path, 'design 7', 'no index names this block', offset)

    def _set_name(self, t, s):
        i, path = s.info, os.path.join(s.path, 'single_backup_set_info')
        kind = 'full' if i['backup_type'] == R.BACKUP_FULL else 'inc'
        if (i['tenant_id'], i['backup_set_id'], kind, i['date']) != (t, s.set_id, s.type, s.date):
            self.out.add(path, D + '1.3', 'tenant, set id, type or date do not fit the directory')
        data = os.path.join(self.cp, str(t), 'data', 'tenant_backup_')
        listed = self.values.get(self._list(data + 'set_file_info', data + 'backup_set_file_info'))
        entry = [e for e in (listed or {'items': []})['items'] if e['backup_set_id'] == s.set_id]
        if not entry or entry[0] != i:
            diff = [n for n in i if entry and entry[0][n] != i[n]]
            self.out.add(path, D + '15', 'differs from the entry in the list: %s' % (', '.join(diff) or 'no entry'))
        for n in self.names:
            if n.kind in ('macro_data', 'macro_index') and n.fields['set'] == os.path.basename(s.path) \
                    and int(n.fields['tenant']) == t and int(n.fields['inc']) != s.set_id:
                self.out.add(self.path(n), D + '1.3', 'file of another set id')

    def _lists(self, t):
        top = self.cp if t == 1 else os.path.join(self.cp, str(t), 'data')
        prefix = 'cluster_' if t == 1 else 'tenant_'
        path = os.path.join(top, prefix + 'backup_set_file_info')
        copies = os.path.join(top, prefix + 'backup_backup_set_file_info')
        if path in self.values and copies in self.values:
            self.out.add(path, 'restorable-set F', 'both an original list and a list of copies')
        path = self._list(path, copies)
        files = self.values.get(path)
        if files:
            cluster_id = int(os.path.basename(os.path.dirname(self.cp)))
            L.check_set_list(self.out, path, files['items'], t, cluster_id)
            if t != 1:
                self._listed_sets(t, path, files['items'])
        info_path = os.path.join(top, prefix + 'data_backup_info')
        info = self.values.get(info_path)
        if info or files:
            if info is None or files is None:
                self.out.add(info_path, D + '3.9', 'only one of %sdata_backup_info and %sbackup_set_file_info is there' % (
                    prefix, prefix))
            else:
                L.check_backup_info(self.out, info_path, info['items'], files['items'])
        self._log_lists(t)

    def _list(self, path, copies):
        """The original's list wins; a secondary copy has only the list of copies."""
        return copies if path not in self.values and copies in self.values else path

    def _listed_sets(self, t, path, items):
        for e in items:
            if e['status'] == R.SET_SUCCESS and e['file_status'] in (R.FILE_AVAILABLE, R.FILE_EXPIRED) \
                    and e['backup_set_id'] not in self.sets.get(t, {}):
                self.out.add(path, D + '9.7', 'set %d has no readable directory' % e['backup_set_id'])

    def _singles(self, t):
        out = {}
        for n in self.names:
            if n.kind == 'piece' and int(n.fields['tenant']) == t and self.values.get(self.path(n)):
                v = self.values[self.path(n)]
                m = ROUND_DIR.match(n.fields['dir'])
                if (v['round_id'], v['backup_piece_id'], v['create_date'], v['tenant_id']) != (
                        int(m[1]), int(m[2] or 0), int(m[3] or 0), t):
                    self.out.add(self.path(n), C + '3', 'round, piece, date or tenant do not fit the directory')
                out[int(m[1]), int(m[2] or 0)] = (self.path(n), v)
        return out

    def _log_lists(self, t):
        top = self.cp if t == 1 else os.path.join(self.cp, str(t), 'clog')
        prefix = 'cluster_' if t == 1 else ''
        pieces_path = self._list(os.path.join(top, prefix + 'backup_piece_info'),
                                 os.path.join(top, prefix + 'backup_backup_piece_info'))
        rounds_path = os.path.join(top, ('cluster_' if t == 1 else 'tenant_') + 'clog_backup_info')
        pieces, rounds = self.values.get(pieces_path), self.values.get(rounds_path)
        if pieces is None and rounds is None and not os.path.isdir(top):
            return
        singles = self._singles(t)
        if pieces is None or rounds is None:
            if singles or pieces or rounds:
                self.out.add(top, C + '4.6', 'piece list or round list is missing')
            return
        L.check_pieces(self.out, pieces_path, pieces['items'], t, singles)
        L.check_rounds(self.out, rounds_path, rounds['items'], t, pieces['items'], singles)

    # ---- log archive ----

    def _archive(self, t):
        """-> {round: {(table, partition): PgSummary}}"""
        top = os.path.join(self.cp, str(t), 'clog')
        rounds = {}
        for name in os.listdir(top) if os.path.isdir(top) else []:
            if ROUND_DIR.match(name) and os.path.isdir(os.path.join(top, name)):
                p = piece_of(os.path.join(top, name))
                rounds.setdefault(p.round_id, []).append(p)
        out, wanted = {}, {}
        for c in self.chains[t]:
            for key, v in c.pgs.items():
                wanted.setdefault((key.table_id, key.partition_id), set()).add(
                    v['pg_meta']['storage_info']['clog_info']['last_replay_log_id'])
        for r, pieces in sorted(rounds.items()):
            pieces.sort(key=lambda p: p.piece_id)
            pgs = sorted(set().union(*(find_pgs(p) for p in pieces)))
            jobs = [(self.out.top, pieces, a, b, wanted.get((a, b), set()), self.rows) for a, b in pgs]
            out[r] = {}
            for (found, s), (a, b) in zip(self.pool.starmap(scan_pg, jobs, chunksize=4), pgs):
                self.out.extend(found)
                if a >> 40 != t:
                    self.out.add(pieces[0].path, C + '3', 'PG %d/%d is of another tenant' % (a, b))
                if s:
                    out[r][a, b] = s
                    self.stats['archived_pgs'] += 1
                    self.stats['logs'] += s.last_log_id - s.start_log_id + 1
            self._round(t, r, pieces, out[r])
        return out

    def _round(self, t, r, pieces, pgs):
        infos = {k: v for k, v in self._singles(t).items() if k[0] == r}
        if not infos:
            self.out.add(pieces[0].path, C + '3', 'no single_piece_info in the round')
            return
        newest = infos[max(infos)][1]
        first = infos[min(infos)][1]
        if self.rows:
            check_commits(self.out, infos[max(infos)][0], pgs, newest['checkpoint_ts'])
        self._pieces(infos, pgs)
        if newest['checkpoint_ts'] and first['start_ts']:
            late = [s for s in pgs.values() if s.round_start_ts > max(i[1]['start_ts'] for i in infos.values())]
            for s in late:
                self.out.add(infos[min(infos)][0], C + '5.2', 'start_ts %d, PG %d/%d begins at %d' % (
                    first['start_ts'], s.table_id, s.partition_id, s.round_start_ts))

    def _pieces(self, infos, pgs):
        """What must hold once a switch is complete: a FROZEN piece has all its logs, and every PG has moved on."""
        for (r, n), (path, v) in sorted(infos.items()):
            follower = infos.get((r, n + 1))
            if v['status'] != R.PIECE_FROZEN:
                continue
            for key, s in sorted(pgs.items()):
                name = 'PG %d/%d' % key
                if s.last_submits.get(n, 0) > v['max_ts']:
                    self.out.add(path, C + '9 (9)', 'max_ts %d, %s has a log of %d in the piece' % (
                        v['max_ts'], name, s.last_submits[n]))
                if n and follower and n in s.keys and n + 1 not in s.keys and not s.offline:
                    self.out.add(follower[0], C + '4.4', '%s is not offline and has no archive_key in piece %d' % (name, n + 1))
            if follower and follower[1]['checkpoint_ts'] < v['checkpoint_ts']:
                self.out.add(follower[0], C + '5.3', 'checkpoint_ts %d, piece %d had %d' % (
                    follower[1]['checkpoint_ts'], n, v['checkpoint_ts']))

    def _restorable(self, t, archives):
        """What of restorable-set and of the restore's own start conditions can be seen on media."""
        for c in self.chains[t]:
            s, info = c.set, c.info
            if info['file_status'] != R.FILE_AVAILABLE:
                continue
            where = os.path.join(s.path, 'single_backup_set_info')
            if s.type == 'inc':
                prev = self.sets[t].get(info['prev_inc_backup_set_id'])
                if prev is None or prev.info['file_status'] not in (R.FILE_AVAILABLE, R.FILE_EXPIRED):
                    self.out.add(where, D + '7.2', 'previous set %d is not there' % info['prev_inc_backup_set_id'])
            try:
                found = plan(self.cp, t, info['snapshot_version'] + 1)
            except NotYet as e:  # the set has just ended; the log will come
                self.out.leftover(where, 'restorable-set E24', str(e))
                continue
            except ObError as e:
                self.out.error(where, 'restorable-set E24', e)
                continue
            self._name(t, s)
            if found.largest.set_id != s.set_id:
                continue
            pgs = archives.get(found.pieces[0].round_id, {}) if found.pieces else {}
            for key, v in c.pgs.items():
                self._starts(where, key, v['pg_meta']['storage_info']['clog_info'], pgs)
            if self.rows:
                with self.out.guard(where, 'restorable-set A6'):
                    check_lists(self.out, c, found)

    def _name(self, t, s):
        """The tenant's name must lead to it at the first time that can be restored."""
        with self.out.guard(os.path.join(self.cp, 'tenant_name_info'), D + '3.9 (8)'):
            name = s.locality()['tenant_name'].decode()
            if tenant_of(self.cp, name, s.info['snapshot_version'] + 1) != t:
                self.out.add(os.path.join(self.cp, 'tenant_name_info'), D + '3.9 (8)', 'name %s does not lead to tenant %d' % (name, t))

    def _starts(self, where, key, clog, pgs):
        s = pgs.get((key.table_id, key.partition_id))
        n = clog['last_replay_log_id']
        if s is None:
            self.out.add(where, C + '6.2', 'PG %s is not archived' % (key,))
        elif n + 1 < s.start_log_id:
            self.out.add(where, C + '6.1', 'PG %s is at log %d, archive begins at %d' % (key, n, s.start_log_id), None, -9064)
        elif n > s.last_log_id:
            self.out.add(where, C + '6.2', 'PG %s is at log %d, archived up to %d' % (key, n, s.last_log_id))
        elif n in s.wanted:
            accum, submit, epoch = s.wanted[n]
            if n == 0 and (accum, epoch) == (0, 1):
                return  # a PG archived from its first log on: log 0 stands for nothing (format-clog-archive 4.1)
            if accum != clog['accumulate_checksum'] & 0xFFFFFFFF or submit != clog['last_submit_timestamp'] \
                    or epoch < clog['epoch_id']:
                self.out.add(where, C + '6.2', 'PG %s at log %d: meta says accum %x, submit %d, epoch %d, archive %x, %d, %d' % (
                    key, n, clog['accumulate_checksum'], clog['last_submit_timestamp'], clog['epoch_id'],
                    accum, submit, epoch))


def check_root(root, cluster=None, cluster_id=None, tenant=None, rows=False):
    """-> (findings, statistics)"""
    root = os.path.abspath(root)
    out = Findings(root)
    stats = {}
    found = [c for c in find_clusters(root) if cluster in (None, c[0]) and cluster_id in (None, c[1])]
    if not found:
        out.add(root, D + '1.1', 'no cluster directory')
    for name in sorted(os.listdir(root)):
        path = os.path.join(root, name)
        if name == '.obvault-tmp' and os.path.isdir(path):
            for rest in os.listdir(path):
                out.leftover(os.path.join(path, rest), 'design 4', '.obvault-tmp is not empty')
        elif name not in {c[0] for c in find_clusters(root)}:
            out.add(path, D + '1.1', 'no rule names this')
    with pool(size_of(*[c[2] for c in found])) as workers:
        for _, _, cp in found:
            tree = Tree(root, cp, out, workers, tenant, rows)
            tree.run()
            for k, v in tree.stats.items():
                stats[k] = stats.get(k, 0) + v
    return out, stats


def main(argv):
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('root')
    ap.add_argument('--cluster')
    ap.add_argument('--id', type=int)
    ap.add_argument('--tenant', type=int)
    ap.add_argument('--json', action='store_true')
    ap.add_argument('--rows', action='store_true', help='also check the rows and transactions of the stand-in')
    ap.add_argument('--no-leftovers', action='store_true', help='what a crash may leave behind counts as a finding')
    args = ap.parse_args(argv)
    out, stats = check_root(args.root, args.cluster, args.id, args.tenant, args.rows)
    bad = [f for f in out if args.no_leftovers or not f.leftover]
    if args.json:
        print(json.dumps({'ok': not bad, 'statistics': stats, 'findings': [f._asdict() for f in out]}, indent=1))
    else:
        for f in out:
            print(('leftover ' if f.leftover else '') + str(f))
        print('%d findings, %d leftovers; %s' % (sum(not f.leftover for f in out), sum(f.leftover for f in out), ', '.join(
            '%s %d' % kv for kv in stats.items())))
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
