"""pgarchive.py - the archived log of one PG, found and read as OceanBase's restore does (format-clog-archive 6.2)."""
import os
from typing import NamedTuple

import archive as A
from errors import OB_CHECKSUM_ERROR, OB_ENTRY_NOT_EXIST, OB_ERR_UNEXPECTED, ObError
from obcodec import crc_chain
from tree import ROUND_DIR, numbered, read


class Piece(NamedTuple):
    """A piece or round directory of one tenant."""
    path: str
    round_id: int
    piece_id: int  # 0 = round mode


def piece_of(path):
    m = ROUND_DIR.match(os.path.basename(path))
    if not m:
        raise ObError(OB_ERR_UNEXPECTED, 'not the name of a round or piece', path)
    return Piece(path, int(m[1]), int(m[2] or 0))


class PgArchive:
    """One PG over the pieces of one round, ascending."""

    def __init__(self, pieces, table_id, partition_id):
        self.pieces = pieces
        self.table_id = table_id
        self.partition_id = partition_id
        self.keys = [self._key(p) for p in pieces]

    def _key(self, piece):
        path = os.path.join(piece.path, 'archive_key', '%d_%d' % (self.table_id, self.partition_id))
        if not os.path.exists(path):
            return None
        try:
            return A.get_archive_key(read(path))
        except ObError as e:
            raise e.at(path)

    def dir(self, i, what):
        return os.path.join(self.pieces[i].path, what, str(self.table_id), str(self.partition_id))

    def data_ids(self, i):
        return numbered(self.dir(i, 'data'))

    def data_path(self, i, file_id):
        return os.path.join(self.dir(i, 'data'), str(file_id))

    @property
    def exists(self):
        return any(self.keys) or any(self.data_ids(i) for i in range(len(self.pieces)))

    def records(self, i):
        """All valid index records of a piece in the order of files and of positions."""
        d = self.dir(i, 'index')
        return [r for n in numbered(d) for r in A.get_index_records(read(os.path.join(d, str(n))))]

    def _fatal(self, text, i=0):
        return ObError(OB_ERR_UNEXPECTED, 'PG %d/%d: %s' % (self.table_id, self.partition_id, text), self.pieces[i].path)

    def start_piece(self, start):
        """-> (start, end) piece indexes."""
        if self.pieces[0].piece_id == 0:
            return 0, 0
        have = [i for i, k in enumerate(self.keys) if k is not None]
        if not have:
            raise ObError(OB_ENTRY_NOT_EXIST, 'PG %d/%d has no archive_key in any piece' % (
                self.table_id, self.partition_id), self.pieces[0].path)
        for i in have:
            if self.keys[i].index.max_log_id >= start:
                if i == have[0]:
                    raise self._fatal('first piece begins behind log %d' % start, i)
                return i - 1, have[-1]
        return have[-1], have[-1]

    def locate(self, start, i):
        """Data file of piece i where reading begins, or None when it has no file."""
        ids = self.data_ids(i)
        effective = [r for r in self.records(i) if r.is_effective]
        for r in effective:
            if r.min_log_id <= start <= r.max_log_id:
                return r.data_file_id
        if not ids:
            return None
        if not effective:
            return ids[-1]
        last = effective[-1]
        if last.max_log_id < start:
            if last.max_log_id + 1 < start and last.data_file_id + 1 in ids:
                return last.data_file_id + 1
            return last.data_file_id
        return ids[-1]

    def files(self, start):
        """Paths of data files in reading order -> (paths, start piece, end piece)."""
        first, last = self.start_piece(start)
        at = self.locate(start, first)
        if at is None:
            base = self.keys[first].index.max_log_id if self.keys[first] else None
            if self.pieces[first].piece_id == 0 or first != last or start != (base or 0) + 1:
                raise self._fatal('no data file for log %d' % start, first)
            return [], first, last
        out = [self.data_path(first, n) for n in self.data_ids(first) if n >= at]
        for i in range(first + 1, last + 1):
            out += [self.data_path(i, n) for n in self.data_ids(i)]
        return out, first, last

    def read(self, start, accum, submit_ts, enough):
        """Entries from log id start on, in order, each once. accum and submit_ts are those of log start - 1.

        enough(entry) tells whether the entry is a checkpoint log that covers the target: reading stops at the end of
        its block. Gaps, bad checksums and a wrong accumulated checksum at a block's end are errors.
        """
        paths, first, last = self.files(start)
        expect, stop, archived = start, False, 0
        for path in paths:
            buf = read(path)
            try:
                for block in A.get_blocks(buf):
                    for e in A.get_entries(A.open_payload(block.payload)[0]):
                        if e.type == A.LOG_KICKOFF:
                            continue
                        archived = max(archived, e.log_id)
                        if e.log_id < expect:
                            continue
                        if e.log_id > expect:
                            raise ObError(OB_ERR_UNEXPECTED, 'gap: log %d where %d is next' % (e.log_id, expect))
                        if (e.table_id, e.pkey.partition_id) != (self.table_id, self.partition_id):
                            raise ObError(OB_ERR_UNEXPECTED, 'log of PG %s' % (e.pkey,))
                        if e.type not in A.TS_MAY_STAY and e.submit_ts <= submit_ts:
                            raise ObError(OB_ERR_UNEXPECTED, 'submit ts of log %d does not grow' % e.log_id)
                        submit_ts = max(submit_ts, e.submit_ts)
                        accum = crc_chain(accum, e.data_checksum)
                        expect += 1
                        stop = stop or enough(e)
                        yield e
                    m = block.meta
                    if m.max_log_id == expect - 1 >= start and m.accum_checksum != accum:
                        raise ObError(OB_CHECKSUM_ERROR, 'accumulated checksum at log %d is %x, block says %x' % (
                            m.max_log_id, accum, m.accum_checksum), offset=block.offset)
                    if stop:
                        return
            except ObError as e:
                raise e.at(path)
        if expect == start:
            if last > first:
                raise self._fatal('nothing to read though the archive goes on', last)
            base = self.keys[last].index.max_log_id if self.keys[last] else 0
            if max(base, archived, self._max_indexed(last)) < start - 1:
                raise self._fatal('archived up to %d, log %d is needed' % (max(base, archived), start), last)

    def _max_indexed(self, i):
        return max((r.max_log_id for r in self.records(i)), default=0)


def find_pgs(piece):
    """All PGs that have anything in a piece -> {(table_id, partition_id)}."""
    out = set()
    key_dir = os.path.join(piece.path, 'archive_key')
    if os.path.isdir(key_dir):
        for n in os.listdir(key_dir):
            t, _, p = n.partition('_')
            if t.isdigit() and p.isdigit():
                out.add((int(t), int(p)))
    for what in ('data', 'index'):
        top = os.path.join(piece.path, what)
        for t in os.listdir(top) if os.path.isdir(top) else []:
            for p in os.listdir(os.path.join(top, t)):
                if t.isdigit() and p.isdigit():
                    out.add((int(t), int(p)))
    return out
