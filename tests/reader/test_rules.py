"""Rules of restorable-set that choose and refuse: A2, A3 b to f, A5, A8, A9, A10, each with a tree that breaks it."""
import os
import unittest

import gen_archive as GA
import media as M
import records as R
import treegen as G
from test_tree import Case


class Rules(Case):
    def broken(self, cut):
        self.history()
        self.full(cut=cut)
        self.after()
        a = GA.ArchiveWriter(self.cp, self.w)
        a.piece()
        a.infos()

    def cut_tables(self, change):
        """change(list of sstables of TABLE/0's own partition) on the way to the media."""
        def cut(v):
            if v['pg_meta']['pg_key'] == G.PKey(G.full(G.TABLE), 0):
                change(v['partitions'][0]['sstables'])
            return v
        self.broken(cut)

    def other_keys(self, change):
        """Another table key for the sstables of TABLE/0, in the meta and in the index alike."""
        own, real = G.PKey(G.full(G.TABLE), 0), G.SetWriter._table

        def table(writer, key, rows, side):
            return real(writer, change(key) if key['pkey'] == own else key, rows, side)
        G.SetWriter._table = table
        self.addCleanup(setattr, G.SetWriter, '_table', real)

        def put(tables):
            for t in tables:
                t['table_key'] = change(t['table_key'])
        self.cut_tables(put)

    # ---- A2: UNTIL == S

    def test_a_log_set_at_its_own_snapshot_is_green_and_wrong(self):
        self.history()
        late = [self.w.commit({(G.TABLE, 1): [(G.TABLE, b'k019', b'before S')]})]
        copy = G.Copy

        class Early(copy):  # TABLE/1 was copied before its last log: its sstables do not know it
            def __init__(self, pg, major):
                last = pg.logs, pg.redo, pg.ends
                if (pg.low, pg.part) == (G.TABLE, 1):
                    n = len(pg.logs) - 1
                    pg.logs, pg.redo = pg.logs[:n], [r for r in pg.redo if r[0] <= n]
                    pg.ends = [e for e in pg.ends if e[0] <= n]
                super().__init__(pg, major)
                pg.logs, pg.redo, pg.ends = last

        G.Copy = Early
        self.addCleanup(setattr, G, 'Copy', copy)
        self.full()
        self.after()
        a = GA.ArchiveWriter(self.cp, self.w)
        a.piece()
        a.infos()
        S = self.s.snapshot
        self.assertLess(late[0], S)
        r = self.restore(S)
        self.assertEqual((r['rc'], r['no_log']), (0, True))
        self.assertNotEqual(r['content'][G.TABLE, 1], self.w.expected(G.TABLE, 1, S), 'UNTIL == S must lose the log')
        self.same(S + 1)

    # ---- A3: tables of a copy

    def test_minors_without_a_major(self):
        self.cut_tables(lambda tables: tables.__delitem__(0))
        self.refused(-4016, self.times[0], 'no major of')

    def test_index_available_with_minors_only(self):
        def late(tables):
            tables[:] = [t for t in tables if t['table_key']['table_id'] == G.full(G.TABLE) or t['table_key']['table_type'] != 1]
        self.cut_tables(late)
        self.refused(-4016, self.times[0], 'no major of %d' % G.full(G.INDEX))

    def test_the_same_minor_twice(self):
        self.cut_tables(lambda tables: tables.append(next(t for t in tables if t['table_key']['table_type'] != 1)))
        self.refused(-4016, self.times[0], 'twice')

    def test_minor_left_out(self):
        """What no sstable and no log behind data_info holds is lost, and nobody says so."""
        def lose(tables):
            tables[:] = [t for t in tables if t['table_key']['table_type'] == 1]
        self.cut_tables(lose)
        r = self.restore(self.times[3])
        self.assertEqual(r['rc'], 0, r['message'])
        self.assertNotEqual(r['content'][G.TABLE, 0], self.w.expected(G.TABLE, 0, self.times[3]))

    def test_below_the_kept_versions(self):
        """T below multi_version_start of a minor, or below a major: recycled versions are not read (A3 f)."""
        def late(key):
            if key['table_type'] != 1:
                self.kept = self.w.now + 150  # a little later than the set's snapshot
                key = dict(key, trans_version_range=dict(key['trans_version_range'], multi_version_start=self.kept))
            return key
        self.other_keys(late)
        self.refused(-4138, self.times[0], 'keeps versions from')
        self.same(self.kept)

    def test_odd_assist_of_table_keys(self):
        """The restore looks blocks up by a key that it makes itself: another assist finds none (A3 e)."""
        self.other_keys(lambda key: dict(key, pkey=G.PKey(G.full(G.TABLE), 0, 2)))
        self.refused(-4016, self.times[0], 'index has none of')

    # ---- A4, A6: global indexes

    def global_index(self, before_set, listed=True):
        """A global index, AVAILABLE before or after the set; it never has rows."""
        w = self.history()
        low = 60077
        row = dict(w.index(low, G.TABLE, 1), index_type=3, part_level=1, part_num=1, partitions=[0])
        w.ddl([row])
        w._pg(G.Pg(low, 0))
        if before_set:
            w.ddl([dict(row, index_status=2)])
        pg = w.pgs[low, 0]
        if not listed:
            del w.pgs[low, 0]
        self.full()
        w.pgs[low, 0] = pg
        if not before_set:
            w.ddl([dict(row, index_status=2)])
        self.after()
        a = GA.ArchiveWriter(self.cp, self.w)
        a.piece()
        a.infos()
        return low

    def test_global_index_of_the_set_must_be_listed(self):
        low = self.global_index(True)
        r = self.same(self.times[-1])
        self.assertIn((low, 0), r['content'])
        self.setUp()
        self.global_index(True, listed=False)
        self.refused(-4016, self.times[-1], 'may lost data')

    def test_global_index_made_available_later_is_built_anew(self):
        low = self.global_index(False, listed=False)
        r = self.same(self.times[-1])
        self.assertEqual([p['file'] for p in r['pgs'] if p['table_id'] == low], [None])

    def test_lists_and_indexes_are_those_of_the_schema(self):
        """check --rows: what is listed and copied against the schema rows on the media themselves."""
        self.whole()
        self.clean()
        path = self.s.inc + '/normal_pg_list'
        self.edit_list(path, M.TYPE_PG_LIST, R.PG_LIST, lambda v: v['items'].pop(0))
        self.found('of the schema at S_v is not in the list')
        self.setUp()
        self.whole()
        self.edit_list(self.s.inc + '/sys_pg_list', M.TYPE_PG_LIST, R.PG_LIST, lambda v: v['items'].pop(-1))
        self.found('is not in the list')
        self.setUp()
        low = self.global_index(False)  # listed though it was not AVAILABLE
        self.found('PG %d/0 is not in the schema at S_v' % low)
        self.setUp()
        self.cut_tables(lambda tables: tables.__setitem__(slice(None), [t for t in tables if t['table_key']['table_id'] == G.full(G.TABLE)]))
        self.found('no major of %d, which is AVAILABLE' % G.INDEX)
        self.setUp()
        self.whole()
        self.edit_set(lambda e: e.update(backup_schema_version=self.w.before_index))
        self.found('schema at S is of version')

    # ---- A5, A8: what a set says of itself

    def test_compatible_1_and_2_are_never_restored_from_3_1_positions(self):
        for compatible in (1, 2):
            with self.subTest(compatible=compatible):
                self.setUp()
                self.whole()
                self.edit_set(lambda e, c=compatible: e.update(compatible=c))
                src = ['file://' + self.s.path, 'file://' + self.path('clog', '1')]
                self.refused(-4007, self.times[0], 'compatible %d' % compatible, sources=src)
                self.refused(-4007, self.times[0], 'compatible %d' % compatible)

    def test_cluster_version_must_be_a_release_by_name(self):
        cases = [(3 << 32 | 1 << 16 | 5, 0), (3 << 32 | 1 << 16 | 1, 0), (3 << 32 | 1 << 16, -4007), (3 << 32 | 1 << 16 | 6, -4007),
                 (30105, -4007), (3 << 32 | 1 << 16 | 5 | 1 << 48, -4007), (2 << 32 | 2 << 16 | 77, -4007)]
        self.whole()
        for version, rc in cases:
            with self.subTest(version=hex(version)):
                self.edit_set(lambda e, v=version: e.update(cluster_version=v))
                r = self.restore(self.times[0], cluster_version=4 << 32)
                self.assertEqual(r['rc'], rc, r['message'])
        self.found('is no release that 3.1.5 knows')
        self.edit_set(lambda e: e.update(cluster_version=3 << 32 | 1 << 16 | 4))
        self.refused(-4007, self.times[0], 'cluster version', cluster_version=3 << 32 | 1 << 16 | 3)

    # ---- A9, A10: selection at a cluster root

    def incremental(self):
        self.history()
        first = self.full()
        self.after()
        self.w.commit({(G.TABLE, 0): [(G.TABLE, b'k%03d' % k, b'c') for k in range(30, 34)]})
        self.major = self.w.tick()
        self.w.checkpoint()
        self.s = G.SetWriter(self.tree, self.w, 2, self.major, first).write()
        return first

    def test_an_exact_incremental_still_asks_for_pieces(self):
        first = self.incremental()
        self.refused(-4018, self.s.snapshot, 'backup_backup_piece_info')  # there is no archive at all
        r = self.restore(first.snapshot)  # its full alone needs none
        self.assertEqual((r['rc'], r['no_log']), (0, True), r['message'])

    def test_an_exact_incremental_with_pieces_reads_no_log(self):
        self.incremental()
        self.w.commit({(G.TABLE, 1): [(G.TABLE, b'k000', b'zz')]})
        self.w.checkpoint()
        a = GA.ArchiveWriter(self.cp, self.w)
        a.piece()
        a.infos()
        r = self.restore(self.s.snapshot)
        self.assertEqual((r['rc'], r['no_log']), (0, True), r['message'])

    def test_an_entry_with_result_0_is_chosen_whatever_its_status(self):
        self.incremental()
        a = GA.ArchiveWriter(self.cp, self.w)
        self.w.checkpoint()
        a.piece()
        a.infos()
        at = self.s.snapshot + 1
        path = self.path('data', 'tenant_backup_set_file_info')
        for result, rc in ((0, -4018), (-4023, 0)):  # 0: the half set is read; else the set before it
            def doing(v, n=result):
                v['items'][1].update(status=R.SET_DOING, result=n, start_replay_log_ts=0)
            self.edit_list(path, M.TYPE_SET_FILES, R.SET_FILE_INFOS, doing)
            os.rename(self.s.inc, self.s.inc + '.away')
            r = self.restore(at)
            os.rename(self.s.inc + '.away', self.s.inc)
            self.assertEqual(r['rc'], rc, (result, r['message']))


if __name__ == '__main__':
    unittest.main()
