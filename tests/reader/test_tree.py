"""A small tree made here: the check finds nothing in it and everything that is broken in it; restores give the rows of the history."""
import json
import os
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import archive as A  # noqa: E402
import check  # noqa: E402
import gen_archive as GA  # noqa: E402
import media as M  # noqa: E402
import records as R  # noqa: E402
import restore  # noqa: E402
import treegen as G  # noqa: E402
from digest import read_rows, tenant_digest  # noqa: E402
from rows import index_row_key  # noqa: E402


def rows(tag, keys):
    """Changes of the table and of its local index, which logs with it."""
    out = [(G.TABLE, b'k%03d' % k, b'%s-%013d' % (tag, k)) for k in keys]
    return out + [(G.INDEX, index_row_key(G.INDEX, k), b'') for _, k, _ in out]


class Case(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix='reader-tree-')
        self.addCleanup(shutil.rmtree, self.root)
        self.tree = os.path.join(self.root, 'backup')
        os.mkdir(self.tree)

    def history(self):
        w = self.w = G.World()
        w.commit({(G.TABLE, 0): rows(b'a', range(20)), (G.TABLE, 1): rows(b'b', range(20))})
        w.commit({(G.GROUP, 0): [(50002, b'a', b'1'), (50003, b'b', b'2')]})
        w.commit({(212, 0): [(212, b'x', b'y')]})
        self.major = w.tick()
        w.checkpoint()
        w.commit({(G.TABLE, 0): [(G.TABLE, b'k001', None), (G.TABLE, b'k002', b'new')]})
        self.open = w.begin({(G.TABLE, 0): [(G.TABLE, b'k003', b'p')], (G.TABLE, 1): [(G.TABLE, b'k003', b'q')]})
        self.dead = w.begin({(G.TABLE, 1): [(G.TABLE, b'k005', b'abort')]})
        return w

    def full(self, **cut):
        s = self.s = G.SetWriter(self.tree, self.w, 1, self.major).write(**cut)
        self.cp = s.cp
        G.write_names(s.cp)
        return s

    def after(self):
        w = self.w
        self.times = [self.s.snapshot + 1]
        self.times += [w.end(self.open), 0]
        self.times[2] = self.times[1] - 1
        w.end(self.dead, False)
        self.times.append(w.commit({(G.TABLE, 0): [(G.TABLE, b'k010', b'late')], (G.GROUP, 0): [(50003, b'b', None)]}))
        w.commit({(G.TABLE, 1): [(G.TABLE, b'k011', b'behind')]})
        w.checkpoint()

    def whole(self):
        self.history()
        self.full()
        self.after()
        self.a = GA.ArchiveWriter(self.cp, self.w)
        self.a.piece()
        self.a.infos()

    def findings(self):
        out, _ = check.check_root(self.tree, rows=True)
        return out

    def clean(self):
        self.assertEqual([str(f) for f in self.findings()], [])

    def found(self, text):
        out = [str(f) for f in self.findings()]
        self.assertTrue(any(text in f for f in out), (text, out))

    def restore(self, until, sources=None, **more):
        out = os.path.join(self.root, 'out')
        shutil.rmtree(out, ignore_errors=True)
        os.mkdir(out)
        job = dict(job_id=1, at='' if sources else 'file://' + self.tree, sources=sources or [], backup_tenant_name='t1',
                   backup_cluster_name=G.CLUSTER, backup_cluster_id=G.CLUSTER_ID, until_us=until, dst_tenant_id=1002,
                   dst_tenant_name='n', cluster_version=G.VERSION)
        job.update(more)
        with open(out + '/job.json', 'w') as f:
            json.dump(job, f)
        rc = restore.main(['--job', out + '/job.json', '--out', out])
        with open(out + '/result.json') as f:
            r = json.load(f)
        self.assertEqual(rc == 0, r['rc'] == 0)
        r['content'] = {(p['table_id'], p['partition_id']): {(i, k): v for i, k, v, _ in read_rows(out + '/' + p['file'])}
                        for p in r['pgs'] if p['file']}
        return r

    def same(self, until, **how):
        r = self.restore(until, **how)
        self.assertEqual(r['rc'], 0, r['message'])
        for k, got in r['content'].items():
            self.assertEqual(got, self.w.expected(*k, until), (k, until))
        self.assertEqual(r['tenant_digest'], tenant_digest(
            [(p['table_id'], p['partition_id'], p['rows'], p['digest']) for p in r['pgs']]))
        return r

    def refused(self, rc, until, text='', **how):
        r = self.restore(until, **how)
        self.assertEqual(r['rc'], rc, r['message'])
        self.assertIn(text, r['message'])

    def path(self, *names):
        return os.path.join(self.cp, str(G.TENANT), *names)

    def edit_list(self, path, data_type, spec, change, version=0):
        with open(path, 'rb') as f:
            v = M.get_info(f.read(), data_type, spec)
        change(v)
        G.put(path, M.put_info(data_type, spec.put(v), version))

    def edit_set(self, change):
        """The same change in the list and in single_backup_set_info."""
        for p in (self.path('data', 'tenant_backup_set_file_info'), self.s.path + '/single_backup_set_info'):
            self.edit_list(p, M.TYPE_SET_FILES, R.SET_FILE_INFOS, lambda v: [change(e) for e in v['items']])


class Whole(Case):
    def test_round_mode(self):
        self.whole()
        self.clean()
        for t in self.times:
            self.same(t)

    def test_explicit_sources(self):
        self.whole()
        src = ['file://' + self.s.path, 'file://' + self.path('clog', '1')]
        self.same(self.times[3], sources=src)
        self.refused(-4002, self.times[3], 'no piece', sources=src[:1] * 1 + [])
        self.refused(-4002, self.times[3], 'twice', sources=src + src[:1])
        self.refused(-4002, self.s.snapshot - 1, 'before the set', sources=src)
        self.refused(-4002, self.w.now + 10, 'behind the checkpoint', sources=src)

    def test_a_secondary_copy(self):
        self.whole()
        os.rename(self.path('data', 'tenant_backup_set_file_info'), self.path('data', 'tenant_backup_backup_set_file_info'))
        os.rename(self.path('clog', 'backup_piece_info'), self.path('clog', 'backup_backup_piece_info'))
        for n in ('set_file_info', 'piece_info'):
            os.rename(self.cp + '/cluster_backup_' + n, self.cp + '/cluster_backup_backup_' + n)
        self.clean()
        self.same(self.times[3])
        shutil.copy(self.path('data', 'tenant_backup_backup_set_file_info'), self.path('data', 'tenant_backup_set_file_info'))
        self.found('both an original list')

    def test_preview_and_refusals_of_the_root_service(self):
        self.whole()
        r = self.restore(self.times[0], preview=True)
        self.assertEqual((r['rc'], len(r['pgs']), len(r['backup_set_list'])), (0, 0, 1))
        self.refused(-4007, self.times[0], cluster_version=G.VERSION - 1)
        self.refused(-4018, self.times[0], 'no tenant', backup_tenant_name='t2')
        self.refused(-4018, self.s.snapshot - 1, 'no successful set')
        self.refused(-4018, self.w.now + 100, 'no piece reaches')
        self.refused(-4002, self.times[0], backup_cluster_id=2, sources=[
            'file://' + self.s.path, 'file://' + self.path('clog', '1')])

    def test_pieces(self):
        self.history()
        ends = {k: len(p.logs) - 1 for k, p in self.w.pgs.items()}
        early = min(p.logs[-1].submit_ts for p in self.w.pgs.values()) - 1
        self.full()
        self.a = GA.ArchiveWriter(self.cp, self.w, pieces=True)
        self.a.piece(ends, checkpoint=early)
        self.a.freeze_last()
        self.after()
        self.a.piece(method=8)
        self.a.infos()
        self.clean()
        for t in self.times:
            self.same(t)
        pieces = ['file://' + self.path('clog', n) for n in sorted(os.listdir(self.path('clog'))) if n[0] == '1']
        self.same(self.times[3], sources=['file://' + self.s.path] + pieces)
        self.refused(-4002, self.times[3], 'pieces begin at', sources=['file://' + self.s.path] + pieces[1:])
        self.refused(-4002, self.times[3], 'behind the checkpoint', sources=['file://' + self.s.path] + pieces[:1])

    def test_incremental(self):
        self.history()
        first = self.full()
        self.after()
        self.w.commit({(G.TABLE, 0): rows(b'c', range(30, 34))})
        many = self.w.aggregate((G.TABLE, 0), [rows(b'd', [30 + k]) for k in range(5)])
        self.major = self.w.tick()
        self.w.checkpoint()
        self.w.commit({(G.TABLE, 1): [(G.TABLE, b'k000', b'z')]})
        self.s = G.SetWriter(self.tree, self.w, 2, self.major, first).write()
        t = self.w.commit({(G.TABLE, 1): [(G.TABLE, b'k000', b'zz')]})
        self.w.checkpoint()
        a = GA.ArchiveWriter(self.cp, self.w)
        a.piece()
        a.infos()
        self.clean()
        for at in self.times + many + [self.s.snapshot + 1, t]:
            self.same(at)
        src = ['file://' + self.s.path, 'file://' + self.path('clog', '1')]
        self.refused(-4002, t, 'needs set 1', sources=src)
        self.same(t, sources=src + ['file://' + first.path])
        shutil.rmtree(first.path + '/data')
        self.refused(-4018, t)
        self.found('no block of')


class Traps(Case):
    """restorable-set: what stock OceanBase loses silently must be found on media, and lost by the reader too."""

    def broken(self, cut):
        self.history()
        self.full(cut=cut)
        self.after()
        self.a = GA.ArchiveWriter(self.cp, self.w)
        self.a.piece()
        self.a.infos()

    @staticmethod
    def table_pg(v):
        return v['pg_meta']['pg_key'] == G.PKey(G.full(G.TABLE), 0)

    def test_until_equal_snapshot_reads_no_log(self):
        self.whole()
        r = self.restore(self.s.snapshot)
        self.assertEqual((r['rc'], r['no_log'], r['backup_piece_list']), (0, True, []))
        self.w.end(self.w.begin({(G.TABLE, 0): []}), False)

    def test_small_schema_version_drops_the_index(self):
        def cut(v):
            if self.table_pg(v):
                v['pg_meta']['storage_info']['data_info']['schema_version'] = self.w.before_index
            return v
        self.broken(cut)
        self.found('data_info.schema_version')
        r = self.restore(self.times[0])
        self.assertEqual(r['rc'], 0)
        got = r['content'][G.TABLE, 0]
        self.assertFalse([k for k in got if k[0] == G.INDEX])

    def test_two_majors(self):
        def cut(v):
            if self.table_pg(v):
                s = v['partitions'][0]['sstables']
                s.insert(0, s[0])
            return v
        self.broken(cut)
        self.found('2 majors')
        self.refused(-4016, self.times[0], 'two majors')

    def test_trans_sstable_behind(self):
        def cut(v):
            if self.table_pg(v):
                v['partitions'][-1]['sstables'][0]['table_key']['log_ts_range']['end_log_ts'] -= 1000
            return v
        self.broken(cut)
        self.found('trans sstable ends before')

    def test_index_sstable_missing(self):
        def cut(v):
            if self.table_pg(v):
                v['partitions'][0]['sstables'] = [s for s in v['partitions'][0]['sstables'] if s['table_key']['table_id'] != G.full(G.INDEX)]
            return v
        self.broken(cut)
        self.refused(-4016, self.times[0], 'may lost data')

    def test_data_info_behind_the_newest_minor(self):
        """Changes are then in an sstable and in the log: replay is idempotent."""
        def cut(v):
            if self.table_pg(v):
                pg = self.w.pgs[G.TABLE, 0]
                clog, data = (v['pg_meta']['storage_info'][n] for n in ('clog_info', 'data_info'))
                n = clog['last_replay_log_id'] - 2
                accum, ts = pg.chain[n]
                clog.update(last_replay_log_id=n, accumulate_checksum=accum, last_submit_timestamp=ts)
                data.update(last_replay_log_id=n, last_replay_log_ts=ts)
                self.early = ts
            return v
        self.broken(cut)
        self.edit_set(lambda e: e.update(start_replay_log_ts=min(e['start_replay_log_ts'], self.early)))
        for t in self.times:
            self.same(t)

    def test_trans_states_lost(self):
        """Uncommitted rows of a transaction that committed below data_info are lost without its state (A3 a)."""
        self.history()
        self.w.end(self.open)
        pg = self.w.pgs[G.TABLE, 0]
        copy = G.Copy

        def forget(p, ts):
            c = copy(p, ts)
            if p is pg:
                for _, tables in c.parts[:-1]:
                    for _, rows in tables:
                        rows[:] = [r._replace(state=1, version=0) if r.value == b'p' else r for r in rows]
                c.parts[-1][1][0][1].clear()
            return c
        G.Copy = forget
        self.addCleanup(setattr, G, 'Copy', copy)
        self.full()
        self.w.checkpoint()
        a = GA.ArchiveWriter(self.cp, self.w)
        a.piece()
        a.infos()
        t = self.s.snapshot + 1
        r = self.restore(t)
        lost = set(self.w.expected(G.TABLE, 0, t).items()) ^ set(r['content'][G.TABLE, 0].items())
        self.assertEqual({v for _, v in lost}, {b'p', b'a-%013d' % 3})

    def test_is_restore(self):
        def cut(v):
            if self.table_pg(v):
                v['pg_meta']['is_restore'] = 2
            return v
        self.broken(cut)
        self.found('is_restore 2')
        self.refused(-4016, self.times[0], 'is_restore')

    def test_accumulated_checksum_of_the_meta(self):
        def cut(v):
            if self.table_pg(v):
                v['pg_meta']['storage_info']['clog_info']['accumulate_checksum'] ^= 1
            return v
        self.broken(cut)
        self.found('accum')
        self.refused(-4103, self.times[0], 'accumulated checksum')

    def test_position_behind_the_archive(self):
        self.history()
        self.full()
        self.after()
        a = GA.ArchiveWriter(self.cp, self.w)
        a.writers[G.TABLE, 0] = GA.PgWriter(self.w.pgs[G.TABLE, 0], len(self.w.pgs[G.TABLE, 0].logs))
        a.piece()
        a.infos()
        self.found('OceanBase: -9064')
        self.refused(-4016, self.times[0])

    def test_missing_sys_pg_is_created_empty(self):
        self.whole()
        path = os.path.join(self.s.inc, 'sys_pg_list')
        self.edit_list(path, M.TYPE_PG_LIST, R.PG_LIST, lambda v: v['items'].remove(G.PKey(G.full(212), 0)))
        shutil.rmtree(self.path('clog', '1', 'data', str(G.full(212))))
        os.unlink(self.path('clog', '1', 'archive_key', '%d_0' % G.full(212)))
        r = self.restore(self.times[0])
        p = next(p for p in r['pgs'] if p['table_id'] == 212)
        self.assertEqual((r['rc'], p['restored'], p['file'], p['rows']), (0, False, None, 0))
        self.found('which no list names')

    def test_assist_that_differs_is_skipped(self):
        self.whole()
        path = os.path.join(self.s.inc, 'normal_pg_list')

        def change(v):
            v['items'] = [G.PKey(k[0], k[1], 2) if k == G.PKey(G.full(G.TABLE), 0) else k for k in v['items']]
        self.edit_list(path, M.TYPE_PG_LIST, R.PG_LIST, change)
        self.found('assist 2')
        self.refused(-4016, self.times[0], 'born at')

    def test_pg_older_than_the_set_and_in_no_list(self):
        self.whole()
        path = os.path.join(self.s.inc, 'normal_pg_list')
        self.edit_list(path, M.TYPE_PG_LIST, R.PG_LIST, lambda v: v['items'].pop())
        self.refused(-4016, self.times[0], 'may lost data')

    def test_pg_born_after_the_set_comes_from_the_log(self):
        self.history()
        self.full()
        w = self.w
        w.ddl([w.table(50009, [0])])
        w._pg(G.Pg(50009, 0))
        w.commit({(50009, 0): [(50009, b'n', b'ew')]})
        self.after()
        a = GA.ArchiveWriter(self.cp, w)
        a.piece()
        a.infos()
        self.clean()
        r = self.same(self.times[3])
        self.assertEqual(r['content'][50009, 0], {(50009, b'n'): b'ew'})

    def test_index_made_after_the_set_is_built_again(self):
        self.history()
        self.full()
        w = self.w
        w.ddl([w.index(60002, G.TABLE, 2)])
        self.after()
        a = GA.ArchiveWriter(self.cp, w)
        a.piece()
        a.infos()
        r = self.restore(self.times[3])
        got = r['content'][G.TABLE, 0]
        table = {k: v for k, v in got.items() if k[0] == G.TABLE}
        self.assertEqual({k[1] for k in got if k[0] == 60002}, {index_row_key(60002, k[1]) for k in table})

    def test_schema_older_than_the_set(self):
        self.whole()
        self.edit_set(lambda e: e.update(backup_schema_version=self.w.now))
        self.refused(-4023, self.times[0], 'local schema is old')

    def test_doing_entry_with_result_0_is_selected(self):
        self.whole()

        def change(v):
            e = dict(v['items'][-1], backup_set_id=2, status=R.SET_DOING, snapshot_version=self.times[0], file_status=R.FILE_COPYING)
            v['items'].append(e)
        self.edit_list(self.path('data', 'tenant_backup_set_file_info'), M.TYPE_SET_FILES, R.SET_FILE_INFOS, change)
        self.found('status 0 with result 0')
        self.refused(-4016, self.times[0], 'file_status 1')

    def test_set_before_the_round(self):
        self.whole()
        path = self.path('clog', '1', 'single_piece_info')
        self.edit_list(path, M.TYPE_PIECE, R.PIECE_INFO, lambda v: v.update(start_ts=self.s.snapshot + 5), 1)
        self.found('OceanBase: -4018')
        self.refused(-4018, self.times[3], 'round 1 begins at')

    def test_checkpoint_too_early(self):
        self.whole()
        self.edit_list(self.path('clog', '1', 'single_piece_info'), M.TYPE_PIECE, R.PIECE_INFO,
                       lambda v: v.update(checkpoint_ts=self.times[3] - 1), 1)
        self.refused(-4018, self.times[3], 'no piece reaches')
        self.found('single_piece_info has')


class Log(Case):
    def data(self, low, part, n):
        return self.path('clog', '1', 'data', str(G.full(low)), str(part), str(n))

    def test_lost_file(self):
        self.whole()
        os.unlink(self.data(G.TABLE, 0, 2))
        self.found('gap')
        self.refused(-4016, self.times[3], 'gap')

    def test_unindexed_file_behind_another(self):
        self.whole()
        os.unlink(self.path('clog', '1', 'index', str(G.full(G.TABLE)), '0', '1'))
        self.found('restore begins at')

    def test_torn_tail_is_a_leftover(self):
        self.whole()
        path = self.data(G.TABLE, 1, 1)
        with open(path, 'rb') as f:
            buf = f.read()
        G.put(path, buf + buf[:70])
        out = self.findings()
        self.assertEqual([f.leftover for f in out], [True])
        self.same(self.times[3])

    def test_duplicates_of_another_writer_are_skipped(self):
        self.whole()
        path = self.data(G.TABLE, 1, 1)
        with open(path, 'rb') as f:
            buf = f.read()
        b = list(A.get_blocks(buf))[-1]
        m = b.meta
        again = A.put_data_block(len(buf), bytes(b.payload), **{n: getattr(m, n) for n in (
            'timestamp', 'clog_epoch_id', 'accum_checksum', 'min_log_id_in_file', 'min_log_ts_in_file', 'max_log_id',
            'max_checkpoint_ts', 'max_log_submit_ts')})
        G.put(path, buf + again)
        self.clean()
        self.same(self.times[3])

    def test_missing_tail_is_not_seen_by_oceanbase(self):
        """Only the checkpoint protects: the reader loses the rows as OceanBase does."""
        self.whole()
        p = self.w.pgs[G.TABLE, 1]
        self.a = GA.ArchiveWriter(self.cp, self.w)
        shutil.rmtree(self.path('clog'))
        self.a.piece({(G.TABLE, 1): len(p.logs) - 2})
        self.a.infos()
        r = self.restore(self.w.now - 1)
        self.assertEqual(r['rc'], 0)
        self.assertNotEqual(r['content'][G.TABLE, 1], self.w.expected(G.TABLE, 1, self.w.now - 1))
        self.clean()

    def test_half_a_transaction_below_the_checkpoint(self):
        self.whole()
        shutil.rmtree(self.path('clog'))
        p = self.w.pgs[G.TABLE, 1]
        last = next(i for i, trans, _ in p.ends if trans == self.open[0])
        a = GA.ArchiveWriter(self.cp, self.w)
        a.piece({(G.TABLE, 1): last - 1})
        a.infos()
        self.found('is committed in')


class EveryByte(Case):
    def test_one_flipped_bit_is_found(self):
        """No byte of a native tree is free: a flip anywhere is a finding (text of the diagnose file apart)."""
        self.whole()
        missed = []
        for base, _, files in os.walk(self.cp):
            for n in files:
                path = os.path.join(base, n)
                if '/%d/0' % G.full(211) not in path and '/%d/' % G.full(G.TABLE) not in path and '/data/' in path:
                    continue
                missed += self.flips(path)
        self.assertEqual(missed, [])

    def flips(self, path):
        with open(path, 'rb') as f:
            buf = f.read()
        step = max(1, len(buf) // 3)
        out = []
        for at in range(len(path) % 7, len(buf), step):
            bad = bytearray(buf)
            bad[at] ^= 1 << at % 8
            G.put(path, bytes(bad))
            if not self.findings():
                out.append((os.path.relpath(path, self.cp), at))
        G.put(path, buf)
        return out

    def test_a_restore_of_a_damaged_tree_is_refused_or_right(self):
        self.whole()
        until = self.times[3]
        want = self.same(until)['tenant_digest']
        wrong = []
        for base, _, files in os.walk(self.cp):
            for n in files:
                path = os.path.join(base, n)
                if '/%d/' % G.full(G.TABLE) not in path and '/backup_1/' not in path:
                    continue
                with open(path, 'rb') as f:
                    buf = f.read()
                for at in range(len(path) % 5, len(buf), max(1, len(buf) // 5)):
                    bad = bytearray(buf)
                    bad[at] ^= 1 << at % 8
                    G.put(path, bytes(bad))
                    r = self.restore(until)
                    if r['rc'] == 0 and r['tenant_digest'] != want:
                        wrong.append((os.path.relpath(path, self.cp), at))
                    if 'Traceback' in r['message']:
                        wrong.append((os.path.relpath(path, self.cp), at, r['message'][-300:]))
                G.put(path, buf)
        self.assertEqual(wrong, [])

    def test_names(self):
        self.whole()
        for name in ('x', '1001/data/backup_set_1_full_20260101/extra', '1001/clog/1/data/5/0/01', '1001/1', 'clog_info/1'):
            path = os.path.join(self.cp, name)
            G.put(path, b'x')
            self.found('no rule names')
            os.unlink(path)
            while not os.listdir(os.path.dirname(path)):
                path = os.path.dirname(path)
                os.rmdir(path)
        G.put(os.path.join(self.cp, 'obvault/anything/at/all'), b'x')
        self.clean()
        os.mkdir(os.path.join(self.tree, '.obvault-tmp'))
        self.clean()
        G.put(os.path.join(self.tree, 'stray'), b'')
        self.found('no rule names')


if __name__ == '__main__':
    unittest.main()
