"""select_sources.py - which sets and pieces a restore uses (format-data-backup 7.2, format-clog-archive 6.1, restorable-set A10)."""
import os
from typing import NamedTuple

import media as M
import records as R
from backupset import BackupSet, load, single_set_info
from errors import (OB_ENTRY_NOT_EXIST, OB_ERR_UNEXPECTED, OB_INVALID_ARGUMENT, OB_ISOLATED_BACKUP_SET,
                    OB_NOT_SUPPORTED, OB_OP_NOT_ALLOW, ObError)
from pgarchive import Piece, piece_of
from tree import uri_path

USABLE = (R.FILE_AVAILABLE, R.FILE_DELETING, R.FILE_DELETED)
V3_0_0 = 3 << 32
RELEASES = tuple(3 << 32 | 1 << 16 | patch for patch in (1, 2, 3, 4, 5))  # what 3.1.5 knows by name (A8)


class NotYet(ObError):
    """The archive has not come so far: not damage, only too early."""


class Plan(NamedTuple):
    tenant_id: int
    sets: dict        # set id -> BackupSet, from the full to the largest
    pieces: list      # Piece, ascending
    no_log: bool      # UNTIL is exactly the snapshot: no log is read

    @property
    def largest(self):
        return self.sets[max(self.sets)]


def is_exact(info, until):
    return until == info['snapshot_version'] and info['cluster_version'] > V3_0_0


def _list(path, copy_path, data_type, spec):
    """(entries, came from the copies' list): the original's list wins when it is there."""
    if os.path.exists(path):
        return load(path, M.get_info, data_type, spec), False
    if os.path.exists(copy_path):
        return load(copy_path, M.get_info, data_type, spec), True
    raise ObError(OB_ENTRY_NOT_EXIST, 'neither a list nor a list of copies', path)


def _items(v):
    return v['items'] if v else []


def set_dir(cp, tenant_id, e):
    kind = 'full' if e['backup_type'] == R.BACKUP_FULL else 'inc'
    return os.path.join(cp, str(tenant_id), 'data', 'backup_set_%d_%s_%d' % (e['backup_set_id'], kind, e['date']))


def piece_dir(cp, tenant_id, p):
    name = str(p['round_id']) if p['backup_piece_id'] == 0 else '%d_%d_%d' % (
        p['round_id'], p['backup_piece_id'], p['create_date'])
    return os.path.join(cp, str(tenant_id), 'clog', name)


def single_piece_info(path):
    name = os.path.join(path, 'single_piece_info')
    v = load(name, M.get_info, M.TYPE_PIECE, R.PIECE_INFO)
    if v is None:
        raise ObError(OB_ERR_UNEXPECTED, 'empty single_piece_info', name)
    return v


def tenant_of(cp, name, until):
    """tenant_name_info: the last id that bore the name at UNTIL."""
    path = os.path.join(cp, 'tenant_name_info')
    _, names = load(path, M.get_tenant_names)
    for n, ids in names:
        if n == name.encode():
            fit = [i for i, ts in ids if ts <= until]
            if fit:
                return fit[-1]
    raise ObError(OB_ENTRY_NOT_EXIST, 'no tenant %r at %d' % (name, until), path)


def plan(cp, tenant_id, until):
    """AT a cluster root."""
    data = os.path.join(cp, str(tenant_id), 'data')
    info_path = os.path.join(data, 'tenant_data_backup_info')
    infos = _items(load(info_path, M.get_info, M.TYPE_BACKUP_INFO, R.BACKUP_INFOS))
    good = [e for e in infos if e['status'] == R.INFO_SUCCESS and e['backup_snapshot_version'] <= until]
    if not good:
        raise ObError(OB_ENTRY_NOT_EXIST, 'no successful set at or before %d' % until, info_path)
    if good[-1]['compatible'] == 1:
        raise ObError(OB_NOT_SUPPORTED, 'compatible 1 is read by the old route', info_path)
    chosen, exact, copy = _choose_sets(data, until)
    sets = {}
    for e in chosen:
        path = set_dir(cp, tenant_id, e)
        sets[e['backup_set_id']] = BackupSet(path, single_set_info(path))
    last = chosen[0]
    pieces = [] if exact else _choose_pieces(cp, tenant_id, until, last, copy)
    return _finish(tenant_id, sets, pieces, until)


def _choose_sets(data, until):
    """-> (entries from the chosen set back to its full, exact as OceanBase computes it, list of copies?)"""
    path = os.path.join(data, 'tenant_backup_set_file_info')
    v, copy = _list(path, os.path.join(data, 'tenant_backup_backup_set_file_info'), M.TYPE_SET_FILES, R.SET_FILE_INFOS)
    items = _items(v)
    ids = [e['backup_set_id'] for e in items]
    if ids != sorted(ids):
        raise ObError(OB_ERR_UNEXPECTED, 'set list does not ascend', path)
    out, exact = [], False
    want = None
    for e in reversed(items):
        if e['result'] != 0 or e['snapshot_version'] > until or want not in (None, e['backup_set_id']):
            continue
        if e['file_status'] not in USABLE:
            raise ObError(OB_ERR_UNEXPECTED, 'set %d has file_status %d' % (e['backup_set_id'], e['file_status']), path)
        out.append(e)
        exact = is_exact(e, until)  # the full's answer stays, as in OceanBase
        if e['backup_type'] == R.BACKUP_FULL:
            return out, exact, copy
        want = e['prev_inc_backup_set_id']
    raise ObError(OB_ENTRY_NOT_EXIST, 'no complete chain of sets at or before %d' % until, path)


def _choose_pieces(cp, tenant_id, until, data_set, copy):
    clog = os.path.join(cp, str(tenant_id), 'clog')
    path = os.path.join(clog, 'backup_piece_info')
    if copy or not os.path.exists(path):
        path = os.path.join(clog, 'backup_backup_piece_info')
    items = _items(load(path, M.get_info, M.TYPE_PIECES, R.PIECE_INFOS))
    if not items:
        raise ObError(OB_ENTRY_NOT_EXIST, 'no piece', path)
    if items[-1]['status'] == R.PIECE_ACTIVE:
        items[-1] = single_piece_info(piece_dir(cp, tenant_id, items[-1]))
    keys = [(p['round_id'], p['backup_piece_id']) for p in items]
    if keys != sorted(keys):
        raise ObError(OB_ERR_UNEXPECTED, 'piece list does not ascend', path)
    last = next((i for i, p in enumerate(items) if p['checkpoint_ts'] >= until), None)  # whatever its file_status
    if last is None:
        raise NotYet(OB_ENTRY_NOT_EXIST, 'no piece reaches %d, newest is at %d' % (until, items[-1]['checkpoint_ts']), path)
    round_id = items[last]['round_id']
    first = next(p for p in items if p['round_id'] == round_id)
    if data_set['snapshot_version'] < first['start_ts']:
        raise ObError(OB_ENTRY_NOT_EXIST, 'set at %d, round %d begins at %d' % (
            data_set['snapshot_version'], round_id, first['start_ts']), path)
    chosen = []
    for p in reversed(items[:last + 1]):
        if p['round_id'] != round_id or p['max_ts'] < data_set['start_replay_log_ts']:
            break
        if p['file_status'] in USABLE:
            chosen.insert(0, p)
    if not chosen:
        raise ObError(OB_ENTRY_NOT_EXIST, 'no usable piece for %d' % until, path)
    return [(piece_of(piece_dir(cp, tenant_id, p)), single_piece_info(piece_dir(cp, tenant_id, p))) for p in chosen]


def plan_explicit(uris, until):
    """SET and piece directories named one by one (ADD RESTORE SOURCE)."""
    sets, pieces = {}, {}
    for uri in uris:
        path = uri_path(uri)
        if path is None:
            raise ObError(OB_NOT_SUPPORTED, 'source %s is no file URI' % uri)
        if os.path.exists(os.path.join(path, 'single_backup_set_info')):
            s = BackupSet(path)
            if s.set_id in sets:
                raise ObError(OB_INVALID_ARGUMENT, 'set %d is given twice' % s.set_id, path)
            if s.info['backup_set_id'] != s.set_id or s.info['date'] != s.date:
                raise ObError(OB_ERR_UNEXPECTED, 'single_backup_set_info is of set %d' % s.info['backup_set_id'], path)
            sets[s.set_id] = s
        elif os.path.exists(os.path.join(path, 'single_piece_info')):
            v = single_piece_info(path)
            if v['backup_piece_id'] in pieces:
                raise ObError(OB_INVALID_ARGUMENT, 'piece %d is given twice' % v['backup_piece_id'], path)
            pieces[v['backup_piece_id']] = (Piece(path, v['round_id'], v['backup_piece_id']), v)
        else:
            raise ObError(OB_INVALID_ARGUMENT, 'neither a set nor a piece', path)
    if not sets or not pieces:
        raise ObError(OB_INVALID_ARGUMENT, 'no %s among the sources' % ('set' if not sets else 'piece'))
    tenants = {s.info['tenant_id'] for s in sets.values()} | {v['tenant_id'] for _, v in pieces.values()}
    if len(tenants) != 1:
        raise ObError(OB_INVALID_ARGUMENT, 'sources are of tenants %s' % sorted(tenants))
    _check_chain(sets)
    ordered = [pieces[i] for i in sorted(pieces)]
    _check_pieces(sets[max(sets)], ordered, until)
    return _finish(tenants.pop(), sets, ordered, until)


def _check_chain(sets):
    """From the largest set down to the first full; what lies below that is not looked at."""
    for i in sorted(sets, reverse=True):
        s = sets[i]
        if s.info['result'] != 0:
            continue
        if s.info['backup_type'] == R.BACKUP_FULL:
            return
        prev = s.info['prev_inc_backup_set_id']
        if prev >= i or prev not in sets:
            raise ObError(OB_INVALID_ARGUMENT, 'set %d needs set %d, which is not given' % (i, prev), s.path)
    raise ObError(OB_INVALID_ARGUMENT, 'no full set among the sources')


def _check_pieces(largest, pieces, until):
    first, last = pieces[0][1], pieces[-1][1]
    if len({v['round_id'] for _, v in pieces}) != 1:
        raise ObError(OB_INVALID_ARGUMENT, 'pieces of several rounds')
    for (_, a), (_, b) in zip(pieces, pieces[1:]):
        if b['backup_piece_id'] != a['backup_piece_id'] + 1 or a['status'] != R.PIECE_FROZEN:
            raise ObError(OB_INVALID_ARGUMENT, 'piece %d is not FROZEN or %d is missing' % (
                a['backup_piece_id'], a['backup_piece_id'] + 1))
    info = largest.info
    if until < info['snapshot_version']:
        raise ObError(OB_INVALID_ARGUMENT, 'UNTIL %d is before the set at %d' % (until, info['snapshot_version']), largest.path)
    if until > last['checkpoint_ts']:
        raise NotYet(OB_INVALID_ARGUMENT, 'UNTIL %d is behind the checkpoint %d' % (until, last['checkpoint_ts']),
                     pieces[-1][0].path)
    if first['backup_piece_id'] != first['start_piece_id'] and first['start_ts'] > info['start_replay_log_ts']:
        raise ObError(OB_INVALID_ARGUMENT, 'pieces begin at %d, set needs log from %d' % (
            first['start_ts'], info['start_replay_log_ts']), pieces[0][0].path)


def _finish(tenant_id, sets, pieces, until):
    info = sets[max(sets)].info
    if pieces and info['snapshot_version'] < pieces[0][1]['start_ts']:
        raise ObError(OB_ISOLATED_BACKUP_SET, 'set at %d, smallest piece begins at %d' % (
            info['snapshot_version'], pieces[0][1]['start_ts']), pieces[0][0].path)
    return Plan(tenant_id, sets, [p for p, _ in pieces], is_exact(info, until))


def check_set_usable(p, target_version, passwords):
    """What RootService tests when it picks the job up: passwords, version, locality, the system PG list."""
    for s in p.sets.values():
        word = s.info['passwd'].decode()
        if word and word not in passwords:
            raise ObError(OB_OP_NOT_ALLOW, 'set %d: wrong password' % s.set_id, s.path)
    version = p.largest.info['cluster_version']
    if version not in RELEASES or target_version and version > target_version:
        raise ObError(OB_NOT_SUPPORTED, 'set is of cluster version %x, target %x' % (version, target_version),
                      p.largest.path)
    locality = p.largest.locality()
    if not p.largest.pg_list('sys_pg_list'):
        raise ObError(OB_ERR_UNEXPECTED, 'sys_pg_list is empty', p.largest.inc)
    return locality
