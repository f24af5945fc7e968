"""gen_archive.py - writes the log archive of a treegen.World: round mode or pieces; only the tests of this reader use it."""
import archive as A
import media as M
import records as R
from obcodec import INT64_MAX, crc_chain
from treegen import DEST, T0, TENANT, put

ROUND = 1


class PgWriter:
    """All data of one PG in one or more pieces."""

    def __init__(self, pg, start_log=1):
        self.pg = pg
        self.next = start_log
        self.start = start_log
        self.accum, self.submit = pg.chain[start_log - 1]
        self.submit = self.submit or pg.logs[0].submit_ts - 1
        self.epoch, self.checkpoint = (T0 if start_log > 1 else 1), self.submit
        self.round = dict(round_start_ts=self.submit if start_log > 1 else 1, round_start_log_id=start_log,
                          round_snapshot_version=0, round_log_submit_ts=self.submit, round_clog_epoch_id=self.epoch,
                          round_accum_checksum=self.accum)
        self.files, self.last = {}, None

    def index(self, effective, file_id, lo=None, lo_ts=None):
        return A.put_index(is_effective=effective, data_file_id=file_id, clog_epoch_id=self.epoch, accum_checksum=self.accum,
                           min_log_id=self.next - 1 if lo is None else lo, min_log_ts=self.submit if lo is None else lo_ts,
                           max_log_id=self.next - 1, max_checkpoint_ts=self.checkpoint, max_log_submit_ts=self.submit,
                           **self.round)

    def _block(self, buf, payload, lo):
        return buf + A.put_data_block(
            len(buf), payload, timestamp=T0, clog_epoch_id=self.epoch, accum_checksum=self.accum, min_log_id_in_file=lo[0],
            min_log_ts_in_file=lo[1], max_log_id=self.next - 1, max_checkpoint_ts=self.checkpoint, max_log_submit_ts=self.submit)

    def _kickoff(self):
        inner = R.KICKOFF_INNER.put({'version': 1, 'checkpoint_ts': self.checkpoint,
                                     'round_start_ts': self.round['round_start_ts'], 'round_snapshot_version': 0})
        return A.put_entry(A.LOG_KICKOFF, self.pg.key, self.start, self.submit, inner, 0, T0).pack()

    def piece(self, path, up_to, first, blocks_per_file=3, logs_per_block=2, method=2):
        """Writes logs [next, up_to] into a piece directory."""
        name = '%d/%d' % (self.pg.key.table_id, self.pg.key.partition_id)
        if first:
            key = A.put_archive_key(True, 0, self.index(0, 0))
        else:
            key = A.put_archive_key(False, self.index_files, self.last or self.index(0, 0))
        put('%s/archive_key/%s' % (path, name.replace('/', '_')), key)
        logs = self.pg.logs[self.next - 1:up_to]
        groups = [logs[i:i + logs_per_block] for i in range(0, len(logs), logs_per_block)]
        files = [groups[i:i + blocks_per_file] for i in range(0, len(groups), blocks_per_file)]
        if first and not files:
            files = [[]]
        records, self.index_files, self.last = [], 0, None
        for n, blocks in enumerate(files, 1):
            buf, lo = b'', None
            if first and n == 1:
                lo = (self.start - 1, self.submit)
                buf = self._block(buf, self._kickoff(), lo)
            for group in blocks:
                lo = lo or (group[0].log_id, group[0].submit_ts)
                for e in group:
                    self.accum, self.submit, self.epoch = crc_chain(self.accum, e.data_checksum), e.submit_ts, e.epoch_id
                    self.next = e.log_id + 1
                    if e.type == A.LOG_SUBMIT and e.data[:8] == (12000).to_bytes(8, 'big'):
                        c, _ = R.CHECKPOINT_LOG.get(e.data, 8, len(e.data))
                        self.checkpoint = max(self.checkpoint, c['checkpoint'])
                raw = b''.join(e.pack() for e in group)
                chunk = A.put_chunk(raw, method) if method else raw
                buf = self._block(buf, chunk if len(chunk) < len(raw) else raw, lo)
            put('%s/data/%s/%d' % (path, name, n), buf)
            self.last = self.index(1, n, *lo)
            if n < len(files):
                records.append(self.last.pack())
        if records:
            put('%s/index/%s/1' % (path, name), b''.join(records))
            self.index_files = 1


class ArchiveWriter:
    """The archive of a tenant: call piece() once (round mode) or several times, then infos()."""

    def __init__(self, cp, world, pieces=False, start_log=1, before=None):
        """before: the writer of the round before this one; every PG then starts behind its newest log."""
        self.cp, self.world, self.pieces, self.before = cp, world, pieces, before
        self.writers = {k: PgWriter(p, len(p.logs) + 1 if before else start_log) for k, p in world.pgs.items()}
        self.done = []
        self.start_ts = world.tick() if before else T0
        self.round = before.round + 1 if before else ROUND
        self.first = before.done[-1]['backup_piece_id'] + 1 if before and pieces else 1

    def piece(self, ends=None, checkpoint=None, **how):
        """Archives every PG up to ends[(low, part)] (default: all logs there are)."""
        n = len(self.done) + self.first if self.pieces else 0
        name = '%d_%d_2026010%d' % (self.round, n, n) if n else str(self.round)
        path = '%s/%d/clog/%s' % (self.cp, TENANT, name)
        for k in self.world.pgs:
            fresh = k not in self.writers
            if fresh:
                self.writers[k] = PgWriter(self.world.pgs[k])
            w = self.writers[k]
            w.piece(path, (ends or {}).get(k, len(w.pg.logs)), not self.done or fresh, **how)
        checkpoint = checkpoint or self.world.tick()
        info = {'incarnation': 1, 'tenant_id': TENANT, 'round_id': self.round, 'backup_piece_id': n, 'copy_id': 0,
                'create_date': 20260100 + n if n else 0, 'start_ts': self.done[-1]['max_ts'] if self.done else self.start_ts,
                'checkpoint_ts': checkpoint, 'max_ts': INT64_MAX, 'status': R.PIECE_ACTIVE, 'file_status': 0,
                'backup_dest': DEST, 'compatible': 1, 'start_piece_id': self.first if n else 0}
        if self.done:
            self.done[-1].update(status=R.PIECE_FROZEN)
        self.done.append(info)
        return path

    def freeze_last(self):
        """The newest piece ends here; the next one begins at its max_ts."""
        last = self.done[-1]
        last['max_ts'] = self.world.tick()

    def end(self, status=R.ROUND_STOP, freeze=True):
        """The round is over: stopped, or interrupted by a gap; its newest piece should be frozen then."""
        self.ended = status
        if freeze:
            self.freeze_last()
            self.done[-1]['status'] = R.PIECE_FROZEN

    def _status(self, tenant, status):
        last = self.done[-1]
        return {'tenant_id': tenant, 'start_ts': self.done[0]['start_ts'], 'checkpoint_ts': last['checkpoint_ts'],
                'incarnation': 1, 'round': self.round, 'status': status, 'is_mark_deleted': False,
                'is_mount_file_created': True, 'compatible': 1, 'backup_piece_id': last['backup_piece_id'],
                'start_piece_id': last['start_piece_id']}

    def infos(self, status=None):
        old = self.before.done if self.before else []
        for tenant, top, prefix in ((TENANT, '%s/%d/clog/' % (self.cp, TENANT), ('backup_', 'tenant_')),
                                    (1, self.cp + '/', ('cluster_backup_', 'cluster_'))):
            mine = [dict(i, tenant_id=tenant) for i in old + self.done]
            listed = [dict(i, checkpoint_ts=0) if i['status'] == R.PIECE_ACTIVE else i for i in mine]
            put(top + prefix[0] + 'piece_info', M.put_info(M.TYPE_PIECES, R.PIECE_INFOS.put({'items': listed}), 1))
            for i in mine:
                n = i['backup_piece_id']
                name = '%d_%d_%d' % (i['round_id'], n, i['create_date']) if n else str(i['round_id'])
                put('%s/%d/clog/%s/single_piece_info' % (self.cp, tenant, name),
                    M.put_info(M.TYPE_PIECE, R.PIECE_INFO.put(i), 1))
            rounds = [self.before._status(tenant, self.before.ended)] if self.before else []
            rounds.append(self._status(tenant, R.ROUND_DOING if status is None else status))
            put(top + prefix[1] + 'clog_backup_info', M.put_info(
                M.TYPE_CLOG_INFO, R.ARCHIVE_STATUSES.put({'items': rounds}), 1))
        for n in range(ROUND, self.round + 1):
            put('%s/1/clog/%d/mount_file' % (self.cp, n), str(n).encode())
