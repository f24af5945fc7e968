"""check_lists.py - rules over the info files of a tenant and of the cluster (format-data-backup 3.9, 5.1; archive 4.6, 5)."""
import os

import records as R
from obcodec import INT64_MAX

D, C = 'format-data-backup ', 'format-clog-archive '


def ascending(out, path, rule, ids):
    if ids != sorted(set(ids)):
        out.add(path, rule, 'ids do not ascend: %s' % ids)


def one_success(out, path, e):
    if e['result'] != 0 or e['file_status'] not in (R.FILE_AVAILABLE, R.FILE_EXPIRED, R.FILE_DELETING, R.FILE_DELETED):
        out.add(path, D + '9.11', 'set %d: SUCCESS with result %d, file_status %d' % (
            e['backup_set_id'], e['result'], e['file_status']))


def check_set_list(out, path, items, tenant_id, cluster_id):
    """tenant_backup_set_file_info or the cluster's."""
    ascending(out, path, D + '9.7', [e['backup_set_id'] for e in items])
    for e in items:
        who = 'set %d: ' % e['backup_set_id']
        say = lambda rule, text, who=who: out.add(path, rule, who + text)
        if e['tenant_id'] != tenant_id or e['incarnation'] != 1:
            say(D + '3.9', 'tenant %d, incarnation %d' % (e['tenant_id'], e['incarnation']))
        if cluster_id and e['cluster_id'] != cluster_id:
            say(D + '3.9', 'cluster_id %d' % e['cluster_id'])
        if e['compatible'] != 4 or not e['cluster_version']:
            say('restorable-set A8', 'compatible %d, cluster_version %x' % (e['compatible'], e['cluster_version']))
        if e['status'] == R.SET_SUCCESS:
            one_success(out, path, e)
            if e['finish_pg_count'] != e['pg_count'] or not e['end_time'] or e['end_time'] < e['start_time']:
                say(D + '3.9', 'SUCCESS with %d of %d PGs, end_time %d' % (
                    e['finish_pg_count'], e['pg_count'], e['end_time']))
        else:
            if e['result'] == 0:
                say('restorable-set A10', 'status %d with result 0' % e['status'])
            want = {R.SET_DOING: (R.FILE_COPYING,), R.SET_FAILED: (
                R.FILE_INCOMPLETE, R.FILE_DELETING, R.FILE_DELETED)}.get(e['status'], ())
            if e['file_status'] not in want:
                say(D + '9.11', 'status %d with file_status %d' % (e['status'], e['file_status']))
        if e['snapshot_version'] <= 0 or e['backup_type'] not in (R.BACKUP_FULL, R.BACKUP_INC) or not e['backup_dest']:
            say(D + '3.9', 'snapshot, type or destination')
        full = e['backup_type'] == R.BACKUP_FULL
        prev = e['prev_full_backup_set_id'], e['prev_inc_backup_set_id'], e['prev_backup_data_version']
        if full and any(prev) or not full and not all(prev):
            say(D + '5.1', 'previous set %s' % (prev,))
        if not full:
            p = next((x for x in items if x['backup_set_id'] == prev[1]), None)
            if p is None or p['status'] != R.SET_SUCCESS or p['backup_data_version'] != prev[2]:
                say(D + '5.1', 'previous set %d is not a successful one of data version %d' % (prev[1], prev[2]))


def check_backup_info(out, path, items, files):
    """tenant_data_backup_info against the list of set files."""
    ascending(out, path, D + '3.9 (1)', [e['inc_backup_set_id'] for e in items])
    by_id = {e['backup_set_id']: e for e in files}
    status = {R.INFO_SUCCESS: R.SET_SUCCESS, R.INFO_DOING: R.SET_DOING, R.INFO_FAILED: R.SET_FAILED}
    for e in items:
        i = e['inc_backup_set_id']
        say = lambda text, rule=D + '3.9 (1)', i=i: out.add(path, rule, 'set %d: %s' % (i, text))
        if min(e['full_backup_set_id'], i, e['backup_data_version'], e['backup_snapshot_version'],
               e['backup_schema_version'], e['frozen_snapshot_version']) <= 0 or e['frozen_schema_version'] < 0:
            say('a version or id is not positive')
        if (e['backup_type'] == R.BACKUP_FULL) != (e['full_backup_set_id'] == i):
            say('full set id %d, type %d' % (e['full_backup_set_id'], e['backup_type']))
        f = by_id.get(i)
        if f is None:
            say('not in the list of set files')
            continue
        same = [('backup_snapshot_version', 'snapshot_version'), ('backup_schema_version',) * 2,
                ('backup_data_version',) * 2, ('prev_full_backup_set_id',) * 2, ('prev_inc_backup_set_id',) * 2,
                ('prev_backup_data_version',) * 2, ('compatible',) * 2, ('cluster_version',) * 2,
                ('backup_type',) * 2, ('date',) * 2, ('encryption_mode',) * 2, ('passwd',) * 2]
        for a, b in same:
            if e[a] != f[b]:
                say('%s %s, list of set files has %s' % (a, e[a], f[b]))
        if status.get(e['status']) != f['status']:
            say('status %d, list of set files has %d' % (e['status'], f['status']))
        if e['is_mark_deleted'] != (f['file_status'] == R.FILE_DELETING):
            say('is_mark_deleted %s, file_status %d' % (e['is_mark_deleted'], f['file_status']))
    missing = set(by_id) - {e['inc_backup_set_id'] for e in items}
    for i in sorted(missing):
        if by_id[i]['file_status'] not in (R.FILE_DELETING, R.FILE_DELETED):
            out.add(path, D + '3.9 (1)', 'lacks set %d' % i)


def check_pieces(out, path, items, tenant_id, singles):
    """backup_piece_info against the single_piece_info of each directory (singles: (round, piece) -> (path, value))."""
    ascending(out, path, C + '4.6', [(e['round_id'], e['backup_piece_id'], e['copy_id']) for e in items])
    previous = None
    for e in items:
        who = 'piece %d of round %d: ' % (e['backup_piece_id'], e['round_id'])
        say = lambda text, rule=C + '4.6', who=who: out.add(path, rule, who + text)
        if e['tenant_id'] != tenant_id or e['incarnation'] != 1 or e['compatible'] != 1 or not e['backup_dest']:
            say('tenant, incarnation, compatible or destination')
        if (e['backup_piece_id'] == 0) != (e['start_piece_id'] == 0) or (
                e['backup_piece_id'] == 0 and e['create_date']) or e['start_piece_id'] > e['backup_piece_id']:
            say('piece id %d, start_piece_id %d, date %d' % (e['backup_piece_id'], e['start_piece_id'], e['create_date']))
        if e['status'] == R.PIECE_FROZEN:
            if not 0 < e['start_ts'] <= e['checkpoint_ts'] <= e['max_ts'] < INT64_MAX:
                say('FROZEN with start %d, checkpoint %d, max %d' % (e['start_ts'], e['checkpoint_ts'], e['max_ts']))
        elif e['status'] == R.PIECE_ACTIVE and e['max_ts'] != INT64_MAX:
            say('ACTIVE with max_ts %d' % e['max_ts'])
        if e['status'] == R.PIECE_ACTIVE and e is not items[-1]:  # single_piece_info is read for the last of the list only
            say('ACTIVE, but not the newest: OceanBase reads checkpoint 0 and restores nothing from it', C + '6.1')
        if previous and previous['round_id'] == e['round_id']:
            if previous['status'] not in (R.PIECE_FROZEN, R.PIECE_FREEZING):
                say('piece before it has status %d' % previous['status'])
            if previous['status'] == R.PIECE_FROZEN and e['start_ts'] != previous['max_ts']:
                say('start_ts %d, piece before it ends at %d' % (e['start_ts'], previous['max_ts']), C + '5.4')
            if e['backup_piece_id'] != previous['backup_piece_id'] + 1:
                say('piece id does not follow %d' % previous['backup_piece_id'], C + '5.4')
        previous = e
        single = singles.get((e['round_id'], e['backup_piece_id']))
        if single is None:
            if e['file_status'] not in (R.FILE_DELETING, R.FILE_DELETED):
                say('no single_piece_info')
            continue
        s = single[1]
        free = {'checkpoint_ts'} if e['status'] == R.PIECE_ACTIVE else set()
        if e['status'] == R.PIECE_ACTIVE and s['start_ts'] == 0:
            free.add('start_ts')
        for n in e:
            if n not in free and e[n] != s[n]:
                say('%s %s, single_piece_info has %s' % (n, e[n], s[n]))
        if e['status'] == R.PIECE_ACTIVE and e['checkpoint_ts']:
            say('ACTIVE with checkpoint_ts %d: it belongs into single_piece_info only' % e['checkpoint_ts'])
    for key, (where, _) in singles.items():
        if key not in {(e['round_id'], e['backup_piece_id']) for e in items}:
            out.add(where, C + '4.6', 'piece is not in the list')


def check_rounds(out, path, items, tenant_id, pieces, singles):
    ascending(out, path, C + '4.6', [e['round'] for e in items])
    for e in items:
        say = lambda text, rule=C + '4.6', r=e['round']: out.add(path, rule, 'round %d: %s' % (r, text))
        if e['tenant_id'] != tenant_id or e['incarnation'] != 1 or e['compatible'] != 1:
            say('tenant, incarnation or compatible')
        mine = [p for p in pieces if p['round_id'] == e['round']]
        if not mine:
            say('no piece of the round is listed')
            continue
        last = mine[-1]
        if (e['backup_piece_id'], e['start_piece_id']) != (last['backup_piece_id'], last['start_piece_id']):
            say('piece %d from %d, newest is %d from %d' % (e['backup_piece_id'], e['start_piece_id'],
                                                           last['backup_piece_id'], last['start_piece_id']))
        single = singles.get((e['round'], last['backup_piece_id']))
        if e['status'] == R.ROUND_STOP and last['status'] != R.PIECE_FROZEN:
            say('STOP, newest piece has status %d' % last['status'], C + '5.4')
        if e['status'] == R.ROUND_INTERRUPTED and single and e['checkpoint_ts'] > single[1]['checkpoint_ts']:
            say('INTERRUPTED at %d, single_piece_info has %d' % (e['checkpoint_ts'], single[1]['checkpoint_ts']), C + '9 (11)')
        if e['status'] in (R.ROUND_DOING, R.ROUND_STOP):
            if not 0 < e['start_ts'] <= e['checkpoint_ts']:
                say('start_ts %d, checkpoint_ts %d' % (e['start_ts'], e['checkpoint_ts']), C + '5.2')
            if single and e['checkpoint_ts'] > single[1]['checkpoint_ts']:
                say('checkpoint_ts %d, single_piece_info has %d' % (e['checkpoint_ts'], single[1]['checkpoint_ts']),
                    C + '9 (8)')
            if mine[0]['start_ts'] != e['start_ts'] and mine[0]['backup_piece_id'] == e['start_piece_id']:
                say('start_ts %d, first piece has %d' % (e['start_ts'], mine[0]['start_ts']))


def check_cluster(out, cp, values, tenants):
    """The sys tenant's entries against those of the user tenants."""
    get = lambda *names: values.get(os.path.join(cp, *names))
    items = lambda v: v['items'] if v else []
    path = os.path.join(cp, 'cluster_backup_set_file_info')
    first = lambda *found: next((v for v in found if v), None)
    mine = {e['backup_set_id']: e for e in items(first(get('cluster_backup_set_file_info'), get('cluster_backup_backup_set_file_info')))}
    theirs = {}
    for t in tenants:
        for e in items(first(get(str(t), 'data', 'tenant_backup_set_file_info'), get(str(t), 'data', 'tenant_backup_backup_set_file_info'))):
            theirs.setdefault(e['backup_set_id'], []).append(e)
    for i, group in theirs.items():
        done = [e for e in group if e['status'] == R.SET_SUCCESS]
        if len({e['snapshot_version'] for e in done}) > 1:
            out.add(path, D + '5.1', 'tenants have different snapshots for set %d' % i)
        c = mine.get(i)
        if c is None:
            if all(e['status'] != R.SET_DOING for e in group):
                out.add(path, D + '5.1', 'set %d of the tenants is not listed' % i)
        elif c['status'] == R.SET_SUCCESS and c['file_status'] == R.FILE_AVAILABLE:
            if any(e['status'] == R.SET_DOING for e in group):
                out.add(path, D + '6.3', 'set %d: SUCCESS before all tenants' % i)
            if done and c['start_replay_log_ts'] != min(e['start_replay_log_ts'] for e in done):
                out.add(path, D + '5.1', 'set %d: start_replay_log_ts is not the minimum' % i)
    names = get('tenant_name_info')
    known = {i for _, ids in names[1] for i, _ in ids} if names else set()
    infos = {e['tenant_id'] for e in items(get('tenant_info'))}
    for t in tenants:
        if t not in known:
            out.add(os.path.join(cp, 'tenant_name_info'), D + '3.9 (8)', 'lacks tenant %d' % t)
        if get(str(t), 'data', 'tenant_data_backup_info') and t not in infos:
            out.add(os.path.join(cp, 'tenant_info'), D + '3.9 (5)', 'lacks tenant %d' % t)
    if names and names[0] <= 0:
        out.add(os.path.join(cp, 'tenant_name_info'), D + '3.9 (8)', 'schema_version %d' % names[0])
    _cluster_rounds(out, cp, get, items, tenants)
    for e in items(get('cluster_clog_backup_info')):
        mount = os.path.join(cp, '1', 'clog', str(e['round']), 'mount_file')
        if e['is_mount_file_created'] and not e['is_mark_deleted'] and mount not in values:
            out.add(mount, C + '5.5', 'round %d says that its mount file is there' % e['round'])


def _ended_before(get, tenant, entry, at):
    """A dropped tenant's part of a round ends while the others go on: its newest piece is FROZEN, and ends before."""
    value = get(str(tenant), 'clog', 'backup_piece_info')
    mine = [p for p in (value['items'] if value else []) if p['round_id'] == entry['round']]
    return entry['status'] == R.ROUND_STOP and bool(mine) and mine[-1]['status'] == R.PIECE_FROZEN \
        and mine[-1]['max_ts'] < at


def _cluster_rounds(out, cp, get, items, tenants):
    path = os.path.join(cp, 'cluster_clog_backup_info')
    mine = {e['round']: e for e in items(get('cluster_clog_backup_info'))}
    for t in tenants:
        for e in items(get(str(t), 'clog', 'tenant_clog_backup_info')):
            c = mine.get(e['round'])
            if c is None:
                out.add(path, C + '4.6', 'round %d of tenant %d is not listed' % (e['round'], t))
            elif c['status'] in (R.ROUND_DOING, R.ROUND_STOP) and e['status'] in (R.ROUND_DOING, R.ROUND_STOP) \
                    and c['checkpoint_ts'] > e['checkpoint_ts'] and not _ended_before(get, t, e, c['checkpoint_ts']):
                out.add(path, C + '5.3', 'round %d: checkpoint %d is beyond tenant %d at %d' % (
                    e['round'], c['checkpoint_ts'], t, e['checkpoint_ts']))
