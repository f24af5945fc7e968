"""check_archive.py - the whole archived log of one PG in one round, every byte of it (format-clog-archive 4, 6, 9)."""
import os
from array import array
from typing import NamedTuple

import archive as A
import records as R
from check_rows import commits_of
from errors import ObError
from findings import Findings
from obcodec import crc_chain
from pgarchive import PgArchive
from tree import numbered, read

RULE = 'format-clog-archive '
OB_LOG_CHECKPOINT, OFFLINE = 12000, (20001, 20002)


class PgSummary(NamedTuple):
    """What the checks across PGs and sets need."""
    table_id: int
    partition_id: int
    start_log_id: int
    round_start_ts: int
    last_log_id: int
    first_submit_ts: int
    last_submit_ts: int
    max_checkpoint_ts: int
    offline: bool
    wanted: dict  # log id -> (accum, submit_ts, epoch) after that log
    base_submit_ts: int
    keys: tuple     # piece ids in which it has an archive_key
    last_submits: dict  # piece id -> greatest submit_ts in it
    commits: dict  # with rows: trans id -> (version, participants) of transactions over several PGs


class _Scan:
    def __init__(self, top, pieces, table_id, partition_id, wanted, rows):
        self.out = Findings(top)
        self.pg = PgArchive(pieces, table_id, partition_id)
        self.wanted_ids = set(wanted)
        self.wanted = {}
        self.start = self.expect = None
        self.accum = self.epoch = self.submit = self.checkpoint = 0
        self.first_submit = 0
        self.kickoff = None
        self.round = None  # the round_* fields that every index record repeats
        self.log_sums, self.accums, self.submits = array('I'), array('I'), array('q')
        self.offline = False
        self.rows, self.commits = rows, {}
        self.last_submits = {}
        self.again = None  # next log that a piece must bring again because the piece before it has become longer
        self.trans_checkpoint = 0

    def say(self, path, rule, text, offset=None):
        self.out.add(path, RULE + rule, text, offset)

    # ---- one piece ----

    def piece(self, i):
        pg, ids = self.pg, self.pg.data_ids(i)
        key_path = os.path.join(pg.pieces[i].path, 'archive_key', '%d_%d' % (pg.table_id, pg.partition_id))
        key = pg.keys[i]
        if key is None:
            if ids or os.path.isdir(pg.dir(i, 'index')):
                self.say(key_path, '4.4', 'data without an archive_key')
        else:
            self._key(i, key, key_path)
        before = len(self.submits)
        files = {n: self._file(i, n, pg.data_path(i, n)) for n in ids}
        if len(self.submits) > before:
            self.last_submits[pg.pieces[i].piece_id] = self.submit
        self._index(i, files)

    def _key(self, i, key, path):
        r = key.index
        first = self.round is None
        if first:
            self.round = r[14:20]
            if not key.is_first_piece or r.is_effective or r.data_file_id or key.max_index_file_id \
                    or r.max_log_id != r.round_start_log_id - 1:
                self.say(path, '4.4', 'archive_key is not that of a first piece')
            self._begin(r.round_start_log_id, r.round_accum_checksum, r.round_clog_epoch_id, r.round_log_submit_ts)
            if r.round_start_log_id == 1 and r.round_accum_checksum:
                self.say(path, '4.1', 'starts at log 1 with accum_checksum %x' % r.round_accum_checksum)
            if (r.accum_checksum, r.clog_epoch_id, r.max_log_submit_ts) != (
                    r.round_accum_checksum, r.round_clog_epoch_id, r.round_log_submit_ts):
                self.say(path, '4.4', 'state of the first archive_key is not the start of the round')
        else:
            if key.is_first_piece:
                self.say(path, '4.4', 'archive_key says first piece again')
            longer = self._longer(i, r)
            if (r.max_log_id, r.accum_checksum) != (self.expect - 1, self.accum) and not longer:
                self.say(path, '4.4', 'base is log %d, previous piece ends at %d' % (r.max_log_id, self.expect - 1))
            before = numbered(self.pg.dir(i - 1, 'index'))
            if key.max_index_file_id != (before[-1] if before else 0) and not (longer and key.max_index_file_id in [0] + before):
                self.say(path, '4.4', 'max_index_file_id %d' % key.max_index_file_id)
            data = self.pg.data_ids(i - 1)
            if r.is_effective and (not data or r.data_file_id != data[-1]) and not (longer and r.data_file_id in data):
                self.say(path, '4.4', 'effective for data file %d' % r.data_file_id)
        if r[14:20] != self.round:
            self.say(path, '4.3', 'round start fields differ')
        if key.reserved:
            self.say(path, '4.4', 'reserved field is not zero', 6)

    def _longer(self, i, r):
        """An owner of before added to the previous piece after the switch (8.5): its logs come again in this one."""
        k = r.max_log_id - self.start
        if not -1 <= k < len(self.accums) - 1:
            return False
        if r.accum_checksum != (self.accums[k] if k >= 0 else self.round[5] & 0xFFFFFFFF):
            return False
        n = self.pg.pieces[i - 1].piece_id
        if n in self.last_submits:
            self.last_submits[n] = self.submits[k] if k >= 0 else 0
        self.again = r.max_log_id + 1
        return True

    def _begin(self, start, accum, epoch, submit):
        self.start = self.expect = start
        self.accum, self.epoch, self.submit = accum & 0xFFFFFFFF, epoch, submit
        self.base_submit = self.first_base = submit
        if start - 1 in self.wanted_ids:
            self.wanted[start - 1] = (self.accum, submit, epoch)

    # ---- one data file ----

    def _file(self, i, file_id, path):
        """-> (min_log_id_in_file, {max_log_id of a block: its meta}) or None without a usable block."""
        buf = read(path)
        if len(buf) > A.FILE_MAX:
            self.say(path, '4.2', 'data file of %d bytes' % len(buf))
        first, ends, pos = None, {}, 0
        try:
            for block in A.get_blocks(buf, strict=True):
                pos = block.end
                if first is None:
                    first = block.meta.min_log_id_in_file, block.meta.min_log_ts_in_file
                    self._first_block(block, path)
                elif (block.meta.min_log_id_in_file, block.meta.min_log_ts_in_file) != first:
                    self.say(path, '4.1', 'min_log_id_in_file differs inside the file', block.offset)
                self._block(i, file_id, block, path)
                ends[block.meta.max_log_id] = block.meta
        except ObError as e:
            self.out.error(path, RULE + '4.1', e)
            return (first[0], ends) if first else None
        if pos < len(buf):
            self.out.leftover(path, RULE + '6.2', 'torn tail of %d bytes' % (len(buf) - pos), pos)
        return (first[0], ends) if first else None

    def _first_block(self, block, path):
        entries = A.get_entries(A.open_payload(block.payload)[0])
        e = entries[0]
        m = block.meta
        want = (e.log_id - 1, e.submit_ts) if e.type == A.LOG_KICKOFF else (e.log_id, e.submit_ts)
        if (m.min_log_id_in_file, m.min_log_ts_in_file) != want:
            self.say(path, '4.1', 'min log of the file is %d/%d, block says %d/%d' % (
                want + (m.min_log_id_in_file, m.min_log_ts_in_file)), block.offset)

    def _block(self, i, file_id, block, path):
        m, at = block.meta, block.offset
        if m.version != 1 or m.input_bytes or m.output_bytes:
            self.say(path, '4.1', 'version or unused fields of the block meta', at)
        if m.total_len > A.READ_UNIT:
            self.say(path, '6.2', 'block of %d bytes' % m.total_len, at)
        raw, method = A.open_payload(block.payload)
        A.note_chunk(block.payload, raw, method, lambda o, r, t: self.out.add(path, r, t, at + o))
        if len(raw) > A.RAW_MAX:
            self.say(path, '4.1', '%d raw bytes in one block' % len(raw), at)
        entries = A.get_entries(raw)
        if any(e.type == A.LOG_KICKOFF for e in entries):
            self._kickoff(entries, m, path, at, method)
            return
        if self.expect is None:
            self.say(path, '4.1', 'data before an archive_key or kickoff', at)
            self._begin(entries[0].log_id, 0, 0, 0)
        for k, e in enumerate(entries):
            if e.log_id != entries[0].log_id + k:
                self.say(path, '4.1', 'log %d behind %d in one block' % (e.log_id, entries[0].log_id + k - 1), at)
            self._entry(e, path, at)
        last = entries[-1]
        if m.max_log_id != last.log_id:
            self.say(path, '4.1', 'max_log_id %d, last log is %d' % (m.max_log_id, last.log_id), at)
        if m.clog_epoch_id != last.epoch_id:
            self.say(path, '4.1', 'clog_epoch_id %d, last log has %d' % (m.clog_epoch_id, last.epoch_id), at)
        k = last.log_id - self.start
        if 0 <= k < len(self.accums) and m.accum_checksum != self.accums[k]:
            self.say(path, '6.2', 'accum_checksum %x at log %d, chain has %x' % (
                m.accum_checksum, last.log_id, self.accums[k]), at)
        self._block_ts(entries, m, path, at)

    def _block_ts(self, entries, m, path, at):
        real = [e.submit_ts for e in entries if e.type not in A.TS_MAY_STAY]
        if real:
            ok = m.max_log_submit_ts in (real[-1], entries[-1].submit_ts)
        else:
            k = entries[0].log_id - self.start
            before = self.submits[k - 1] if 0 < k <= len(self.submits) else self.base_submit
            ok = m.max_log_submit_ts == before
        if not ok:
            self.say(path, '4.1', 'max_log_submit_ts %d' % m.max_log_submit_ts, at)
        if entries[-1].log_id == self.expect - 1:
            if m.max_checkpoint_ts < self.checkpoint:
                self.say(path, '4.1', 'max_checkpoint_ts goes back to %d' % m.max_checkpoint_ts, at)
            if m.max_checkpoint_ts < self.trans_checkpoint:
                self.say(path, '4.1', 'max_checkpoint_ts %d, an archived checkpoint log says %d' % (
                    m.max_checkpoint_ts, self.trans_checkpoint), at)
            self.checkpoint = max(self.checkpoint, m.max_checkpoint_ts)

    def _kickoff(self, entries, m, path, at, method):
        e = entries[0]
        if len(entries) != 1 or at or method:
            self.say(path, '4.1', 'kickoff is not alone, plain and first in its file', at)
        inner = R.KICKOFF_INNER.decode(bytes(e.data))
        if e.epoch_id or e.proposal_addr or e.proposal_ts != -1 or e.proposal_version != 4 or e.freeze_version != 1 \
                or e.is_trans or inner['version'] != 1:
            self.say(path, '4.1', 'fixed fields of the kickoff', at)
        if self.round is None:
            self.round = (inner['round_start_ts'], e.log_id, inner['round_snapshot_version'], e.submit_ts,
                          m.clog_epoch_id, m.accum_checksum)
            self._begin(e.log_id, m.accum_checksum, m.clog_epoch_id, e.submit_ts)
        want = (inner['round_start_ts'], e.log_id, inner['round_snapshot_version'], e.submit_ts, m.clog_epoch_id,
                m.accum_checksum)
        if want != tuple(self.round):
            self.say(path, '4.1', 'kickoff says %s, archive_key %s' % (want, tuple(self.round)), at)
        if m.max_log_id != e.log_id - 1 or m.max_log_submit_ts != e.submit_ts:
            self.say(path, '4.1', 'block meta of the kickoff', at)
        self.checkpoint = max(self.checkpoint, m.max_checkpoint_ts)
        self.kickoff = e

    def _entry(self, e, path, at):
        if (e.table_id, e.pkey.partition_id) != (self.pg.table_id, self.pg.partition_id):
            self.say(path, '4.1', 'log %d of PG %s' % (e.log_id, e.pkey), at)
        if e.type in A.LOCAL_ONLY or e.type == A.LOG_CHECKPOINT:
            self.say(path, '1.3', 'log %d of type %d is never archived' % (e.log_id, e.type), at)
        self._comes_again(e, path, at)
        if e.log_id < self.expect:
            k = e.log_id - self.start
            if k >= 0 and (self.log_sums[k], self.submits[k]) != (e.data_checksum, max(
                    e.submit_ts, self.submits[k - 1] if k else self.base_submit)):
                self.say(path, '8.5', 'log %d comes again with other content' % e.log_id, at)
            return
        if e.log_id > self.expect:
            self.say(path, '6.2', 'gap: log %d where %d is next' % (e.log_id, self.expect), at)
            self._begin_after_gap(e.log_id)
        if e.type not in A.TS_MAY_STAY and e.submit_ts <= self.submit:
            self.say(path, '6.2', 'submit ts of log %d does not grow' % e.log_id, at)
        if e.epoch_id < self.epoch and e.type != A.LOG_KICKOFF:
            self.say(path, '2.1', 'epoch of log %d goes back' % e.log_id, at)
        self.submit, self.epoch = max(self.submit, e.submit_ts), max(self.epoch, e.epoch_id)
        self.accum = crc_chain(self.accum, e.data_checksum)
        self.first_submit = self.first_submit or e.submit_ts
        self.log_sums.append(e.data_checksum)
        self.accums.append(self.accum)
        self.submits.append(self.submit)
        if e.log_id in self.wanted_ids:
            self.wanted[e.log_id] = (self.accum, self.submit, self.epoch)
        self.expect = e.log_id + 1
        if self.rows:
            for trans_id, version, parts in commits_of(e):
                self.commits.setdefault(trans_id, (version, parts))
        if e.type == A.LOG_SUBMIT and len(e.data) >= 8:
            kind = int.from_bytes(e.data[:8], 'big')
            self.offline = self.offline or kind in OFFLINE
            if kind == OB_LOG_CHECKPOINT:
                c, _ = R.CHECKPOINT_LOG.get(e.data, 8, len(e.data))
                self.trans_checkpoint = max(self.trans_checkpoint, c['checkpoint'])

    def _comes_again(self, e, path, at):
        if self.again is None or e.log_id < self.again:
            return
        if e.log_id > self.again:
            self.say(path, '6.2', 'gap: log %d where log %d of the piece before has to come again' % (e.log_id, self.again), at)
        whole = e.log_id > self.again or e.log_id >= self.expect - 1
        self.again = None if whole else e.log_id + 1

    def _begin_after_gap(self, log_id):
        """Go on behind a gap so that one gap is one finding; the chain is lost, so it is not compared any more."""
        self.start = self.expect = log_id
        self.log_sums, self.accums, self.submits = array('I'), array('I'), array('q')
        self.base_submit = self.submit

    # ---- index of a piece ----

    def _index(self, i, files):
        d = self.pg.dir(i, 'index')
        for n in numbered(d):
            path, last = os.path.join(d, str(n)), 0
            for r in A.get_index_records(read(path), self.out.note(path)):
                self._record(r, files, path)
                if r.data_file_id < last:
                    self.say(path, '4.3', 'record of data file %d behind %d' % (r.data_file_id, last))
                last = max(last, r.data_file_id)
        for start in sorted({f[0] for f in files.values() if f} | {w + 1 for w in self.wanted_ids}):
            if self.start is not None and self.start <= start < self.expect and self.expect == self.start + len(self.accums):
                self._reachable(i, start, files)

    def _record(self, r, files, path):
        if tuple(r[14:20]) != tuple(self.round or ()):
            self.say(path, '4.3', 'round start fields of the record of file %d' % r.data_file_id)
        if r.input_bytes or r.output_bytes:
            self.say(path, '4.3', 'unused fields of the record of file %d' % r.data_file_id)
        f = files.get(r.data_file_id)
        if not r.is_effective:
            if r.min_log_id != r.max_log_id:
                self.say(path, '4.3', 'ineffective record of file %d with a range' % r.data_file_id)
            return
        m = f[1].get(r.max_log_id) if f else None
        if m is None or r.min_log_id != f[0]:
            self.say(path, '4.3', 'record says file %d holds logs %d to %d' % (r.data_file_id, r.min_log_id, r.max_log_id))
        elif (r.accum_checksum, r.clog_epoch_id, r.max_log_submit_ts) != (
                m.accum_checksum, m.clog_epoch_id, m.max_log_submit_ts):
            self.say(path, '4.3', 'record of file %d differs from its last block' % r.data_file_id)

    def _reachable(self, i, start, files):
        """OceanBase, told to begin at log start in this piece, must open a file that is not behind it."""
        at = self.pg.locate(start, i)
        before = [n for n, f in files.items() if f and n < (at or 0) and any(
            hi >= start for hi in f[1])]
        holds = [n for n, f in files.items() if f and f[0] <= start <= max(f[1])]
        if before and holds and not any(n >= at for n in holds):
            self.say(self.pg.dir(i, 'index'), '6.2', 'log %d lies in data file %d, restore begins at %s' % (
                start, holds[0], at))


def scan_pg(top, pieces, table_id, partition_id, wanted, rows=False):
    """-> (findings, PgSummary or None)."""
    out, s = Findings(top), None
    with out.guard(pieces[0].path, RULE + '4.4'):
        s = _Scan(top, pieces, table_id, partition_id, wanted, rows)
    if s is None:
        return out, None
    for i, p in enumerate(pieces):
        with s.out.guard(p.path, RULE + '4'):
            s.piece(i)
    if s.expect is None:
        s.say(pieces[0].path, '6.2', 'PG %d/%d has neither key nor data' % (table_id, partition_id))
        return s.out, None
    return s.out, PgSummary(table_id, partition_id, s.round[1] if s.round else s.start, s.round[0] if s.round else 0,
                            s.expect - 1, s.first_submit, s.submit, s.checkpoint, s.offline, s.wanted, s.first_base,
                            tuple(p.piece_id for p, k in zip(pieces, s.pg.keys) if k), s.last_submits, s.commits)
