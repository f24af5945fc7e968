"""Pieces and rounds: a tree of three pieces, another round behind a gap; what a restore chooses, and each fault by its name."""
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import archive as A  # noqa: E402
import gen_archive as GA  # noqa: E402
import media as M  # noqa: E402
import records as R  # noqa: E402
import select_sources as S  # noqa: E402
import treegen as G  # noqa: E402
from test_tree import Case  # noqa: E402


class Pieces(Case):
    def setUp(self):
        super().setUp()
        self.history()
        self.full()
        self.after()
        self.a = GA.ArchiveWriter(self.cp, self.w, pieces=True)
        before = {k: max(1, len(p.logs) - 3) for k, p in self.w.pgs.items()}
        early = min(p.logs[before[k] - 1].submit_ts for k, p in self.w.pgs.items()) - 1
        self.a.piece(before, checkpoint=early)
        self.a.freeze_last()
        self.a.piece(method=8)
        self.a.freeze_last()
        self.times.append(self.w.commit({(G.TABLE, 0): [(G.TABLE, b'k012', b'third')], (G.TABLE, 1): [(G.TABLE, b'k012', b'piece')]}))
        self.times.append(self.times[-1] - 1)
        self.w.checkpoint()
        self.a.piece(method=0)
        self.a.infos()
        self.dirs = sorted(n for n in os.listdir(self.path('clog')) if n[0] == '1')

    def edit_piece(self, n, single=True, **change):
        """The same change in the lists and, if told, in single_piece_info, of the tenant and of the cluster."""
        for top, tenant in ((self.path('clog', 'backup_piece_info'), G.TENANT), (self.cp + '/cluster_backup_piece_info', 1)):
            self.edit_list(top, M.TYPE_PIECES, R.PIECE_INFOS, lambda v: v['items'][n - 1].update(change), 1)
            if single:
                path = '%s/%d/clog/%s/single_piece_info' % (self.cp, tenant, self.dirs[n - 1])
                self.edit_list(path, M.TYPE_PIECE, R.PIECE_INFO, lambda v: v.update(change), 1)

    def sources(self, *pieces):
        return ['file://' + self.s.path] + ['file://' + self.path('clog', self.dirs[n - 1]) for n in pieces]

    def chosen(self, until):
        return [p.piece_id for p in S.plan(self.cp, G.TENANT, until).pieces]

    def test_whole(self):
        self.clean()
        for t in self.times:
            self.same(t)
            self.same(t, sources=self.sources(1, 2, 3))

    def test_walk_back(self):
        t = self.times[-1]
        self.assertEqual(self.chosen(t), [1, 2, 3])
        self.assertEqual(self.chosen(self.times[0]), [1, 2])
        for n in (1, 2):
            self.edit_piece(n, file_status=R.FILE_DELETING)
        self.assertEqual(self.chosen(t), [1, 2, 3])
        self.edit_piece(2, file_status=4)  # EXPIRED: left out, the walk goes on
        self.assertEqual(self.chosen(t), [1, 3])
        self.assertEqual(self.chosen(self.times[0]), [1])  # chosen by its checkpoint first, then left out: no later one instead
        self.edit_piece(2, file_status=0, max_ts=1)  # ends before the set needs log: the walk stops there
        self.refused(-9048, t, 'smallest piece begins at')

    def test_explicit_sources(self):
        t = self.times[-1]
        self.refused(-4002, t, 'not FROZEN or 2 is missing', sources=self.sources(1, 3))
        self.refused(-4002, t, 'behind the checkpoint', sources=self.sources(1, 2))
        self.refused(-4002, t, 'pieces begin at', sources=self.sources(2, 3))
        self.refused(-4002, t, 'twice', sources=self.sources(1, 2, 3, 3))
        self.edit_piece(2, status=R.PIECE_FREEZING)
        self.refused(-4002, t, 'not FROZEN', sources=self.sources(1, 2, 3))

    def test_a_set_before_the_round(self):
        self.edit_piece(1, start_ts=self.s.snapshot + 5)
        self.refused(-4018, self.times[-1], 'round 1 begins at')

    def key(self, n, low=G.TABLE, part=0):
        return self.path('clog', self.dirs[n - 1], 'archive_key', '%d_%d' % (G.full(low), part))

    def test_keys(self):
        os.unlink(self.key(2))
        self.found('data without an archive_key')

    def test_key_of_a_pg_that_stays_behind(self):
        os.unlink(self.key(3))
        shutil.rmtree(self.path('clog', self.dirs[2], 'data', str(G.full(G.TABLE)), '0'))
        self.found('is not offline and has no archive_key in piece 3')

    def test_base_of_a_key(self):
        with open(self.key(3), 'rb') as f:
            k = A.get_archive_key(f.read())
        for change, text in (({'max_log_id': k.index.max_log_id - 1}, 'base is log'), ({'accum_checksum': 7}, 'base is log'),
                             ({'data_file_id': 9}, 'effective for data file 9'), ({'round_accum_checksum': 9}, 'round start fields')):
            r = k.index._replace(**change)
            G.put(self.key(3), A.put_archive_key(False, k.max_index_file_id, r._replace(checksum=r.sum())))
            self.found(text)
        G.put(self.key(3), A.put_archive_key(True, k.max_index_file_id, k.index))
        self.found('first piece again')
        G.put(self.key(3), A.put_archive_key(False, k.max_index_file_id + 1, k.index))
        self.found('max_index_file_id')

    def test_a_stale_owner_adds_to_an_old_piece(self):
        """What it writes comes again in the next piece; a log that does not come again, or another one, is a finding."""
        name = os.path.join('data', str(G.full(G.TABLE)), '1', '1')
        with open(self.path('clog', self.dirs[2], name), 'rb') as f:
            block = list(A.get_blocks(f.read()))[0]
        old = self.path('clog', self.dirs[1], name)
        with open(old, 'rb') as f:
            buf = f.read()
        m, lo = block.meta, list(A.get_blocks(buf))[0].meta
        fields = {n: getattr(m, n) for n in ('timestamp', 'clog_epoch_id', 'accum_checksum', 'max_log_id', 'max_checkpoint_ts',
                                             'max_log_submit_ts')}
        fields.update(min_log_id_in_file=lo.min_log_id_in_file, min_log_ts_in_file=lo.min_log_ts_in_file)
        G.put(old, buf + A.put_data_block(len(buf), bytes(block.payload), **fields))
        self.clean()
        for t in self.times:
            self.same(t)
        G.put(old, buf + A.put_data_block(len(buf), bytes(block.payload), **dict(fields, accum_checksum=m.accum_checksum ^ 1)))
        self.found('accum_checksum')
        G.put(old, buf + A.put_data_block(len(buf), bytes(block.payload), **fields))
        path = self.path('clog', self.dirs[2], name)
        with open(path, 'rb') as f:
            rest = [b for b in A.get_blocks(f.read())][1:]
        out = b''
        for b in rest:
            out += A.put_data_block(len(out), bytes(b.payload), **{n: getattr(b.meta, n) for n in (
                'timestamp', 'clog_epoch_id', 'accum_checksum', 'min_log_id_in_file', 'min_log_ts_in_file', 'max_log_id',
                'max_checkpoint_ts', 'max_log_submit_ts')})
        G.put(path, out)
        self.found('has to come again')

    def test_a_lost_piece(self):
        shutil.rmtree(self.path('clog', self.dirs[1]))
        self.found('piece 2 of round 1: no single_piece_info')
        self.found('gap')
        self.refused(-4018, self.times[-1], 'single_piece_info')

    def test_accumulated_checksum_over_a_switch(self):
        """The first block of piece 3 carries a wrong value: the chain from piece 2 shows it."""
        path = self.path('clog', self.dirs[2], 'data', str(G.full(G.TABLE)), '1', '1')
        with open(path, 'rb') as f:
            blocks = list(A.get_blocks(f.read()))
        buf = b''
        for b in blocks:
            m = b.meta
            buf += A.put_data_block(len(buf), bytes(b.payload), **{n: getattr(m, n) for n in (
                'timestamp', 'clog_epoch_id', 'min_log_id_in_file', 'min_log_ts_in_file', 'max_log_id', 'max_checkpoint_ts',
                'max_log_submit_ts')}, accum_checksum=m.accum_checksum ^ (b is blocks[0]))
        G.put(path, buf)
        self.found('accum_checksum')
        self.refused(-4103, self.times[-1], 'accumulated checksum')

    def test_infos(self):
        end = self.a.done[1]['max_ts']
        for n, change, text in (
                (1, {'max_ts': self.a.done[0]['checkpoint_ts'] + 1}, 'has a log of'),
                (2, {'start_ts': self.a.done[1]['start_ts'] + 1}, 'piece before it ends at'),
                (3, {'status': R.PIECE_FROZEN}, 'FROZEN with start'),
                (2, {'status': R.PIECE_ACTIVE}, 'piece before it has status 0'),
                (2, {'checkpoint_ts': end + 1}, 'FROZEN with start'),
                (1, {'start_piece_id': 2}, 'start_piece_id 2')):
            old = {k: self.a.done[n - 1][k] for k in change}
            self.edit_piece(n, **change)
            self.found(text)
            self.edit_piece(n, **old)
        self.edit_list(self.path('clog', self.dirs[2], 'single_piece_info'), M.TYPE_PIECE, R.PIECE_INFO,
                       lambda v: v.update(checkpoint_ts=self.a.done[1]['checkpoint_ts'] - 1), 1)
        self.found('piece 2 had')

    def test_directory_of_another_date(self):
        os.rename(self.path('clog', self.dirs[1]), self.path('clog', '1_2_20260109'))
        self.found('do not fit the directory')


class Rounds(Case):
    def test_a_round_behind_a_gap(self):
        """Round 1 ends at a gap; only a set of round 2 makes later times whole, and round 1 still restores up to its checkpoint."""
        self.whole_round(False)

    def test_with_pieces(self):
        self.whole_round(True)

    def test_a_round_that_was_interrupted(self):
        self.whole_round(True, R.ROUND_INTERRUPTED)
        self.edit_list(self.path('clog', 'tenant_clog_backup_info'), M.TYPE_CLOG_INFO, R.ARCHIVE_STATUSES,
                       lambda v: v['items'][0].update(checkpoint_ts=v['items'][0]['checkpoint_ts'] + 1), 1)
        self.found('INTERRUPTED at')

    def test_a_piece_left_active_before_another_round(self):
        """Its log is there and right, and stock OceanBase never looks at it."""
        self.history()
        self.full()
        self.after()
        one = GA.ArchiveWriter(self.cp, self.w, pieces=True)
        one.piece()
        one.infos()
        self.same(self.times[3])
        one.end(R.ROUND_INTERRUPTED, freeze=False)
        two = GA.ArchiveWriter(self.cp, self.w, pieces=True, before=one)
        self.w.checkpoint()
        two.piece()
        two.infos()
        self.found('ACTIVE, but not the newest')
        self.refused(-4018, self.times[3], 'round 2 begins at')

    def whole_round(self, pieces, ended=R.ROUND_STOP):
        self.history()
        first = self.full()
        self.after()
        one = GA.ArchiveWriter(self.cp, self.w, pieces=pieces)
        one.piece()
        one.end(ended)
        end = one.done[-1]['checkpoint_ts']
        lost = self.w.commit({(G.TABLE, 0): [(G.TABLE, b'k013', b'only in a set')]})
        self.major = self.w.tick()
        self.w.checkpoint()
        two = GA.ArchiveWriter(self.cp, self.w, pieces=pieces, before=one)
        self.w.commit({(G.TABLE, 1): [(G.TABLE, b'k014', b'first of the round')]})
        self.s = G.SetWriter(self.tree, self.w, 2, self.major, first).write()
        t = self.w.commit({(G.TABLE, 1): [(G.TABLE, b'k014', b'second round')], (G.TABLE, 0): [(G.TABLE, b'k014', b'x')]})
        self.w.checkpoint()
        two.piece()
        two.infos()
        self.clean()
        for at in self.times + [end, t, t - 1, self.s.snapshot + 1]:
            self.same(at)
        self.refused(-4018, lost, 'round 2 begins at')
        src = ['file://' + first.path, 'file://' + self.s.path]
        names = sorted(n for n in os.listdir(self.path('clog')) if n[0] in '12')
        both = ['file://' + self.path('clog', n) for n in names]
        self.refused(-4002, t, 'several rounds' if pieces else 'twice', sources=src + both)
        self.same(t, sources=src + both[1:])
        return one


if __name__ == '__main__':
    unittest.main()
