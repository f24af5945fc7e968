"""check_rows.py - what the stand-in's rows and transactions add to the check (check.py --rows; tests/observer/CONTRACT.md).

The archive's checkpoint C promises that every transaction with commit_version <= C is complete. A missing tail of one PG
cannot be seen by OceanBase; a transaction over several PGs whose COMMIT is archived in only some of them shows it.
"""
import os

import records as R
import rows as W
from errors import OB_INVALID_DATA, ObError
from pgrestore import Job, PgRestore


def block_keys(block, row_count, endkey):
    """Rows of a macro block are in order and are those that the meta promises -> (first key, last key)."""
    first = last = None
    count = 0
    for i in range(len(block.micros)):
        for r in W.micro_rows(block.micro(i)):
            if last is not None and r.key < last:
                raise ObError(OB_INVALID_DATA, 'rows are not in key order')
            first = r.key if first is None else first
            last = r.key
            count += 1
    if count != row_count:
        raise ObError(OB_INVALID_DATA, '%d rows, header says %d' % (count, row_count))
    value = endkey[0][1]
    end = value.to_bytes(8, 'big') if isinstance(value, int) else value
    if end != last:
        raise ObError(OB_INVALID_DATA, 'end key of the meta is %r, last row has %r' % (end, last))
    return first, last


def commits_of(entry):
    """COMMIT items of several PGs in a log entry: [(trans id, version, participants)]; every item must parse."""
    out = []
    for item in W.items(entry):
        if W.is_transaction(item.kind):
            t = W.transaction(item)
            if t.commit_version and len(t.participants) > 1:
                out.append((t.trans_id, t.commit_version, t.participants))
    return out


def check_commits(out, path, pgs, checkpoint):
    """pgs: (table, partition) -> PgSummary of one round of one tenant."""
    for s in pgs.values():
        for trans_id, (version, participants) in s.commits.items():
            if version > checkpoint:
                continue
            for p in participants:
                other = pgs.get((p.table_id, p.partition_id))
                if other is None or other.base_submit_ts >= version or trans_id in other.commits:
                    continue
                out.add(path, 'format-clog-archive 5.3', 'checkpoint %d: transaction %d of version %d is committed in %d/%d, not in %s (archived up to log %d)' % (
                    checkpoint, trans_id, version, s.table_id, s.partition_id, p, other.last_log_id))


def check_lists(out, c, plan):
    """The lists and the copied indexes are those of the schema at S_v, and nothing changed it up to S (A4, A6)."""
    S, S_v = c.info['snapshot_version'], c.info['backup_schema_version']
    job = Job(plan, S + 1, frozenset(c.sys + c.normal), c.set.meta_index(), None, None)
    schema = W.Schema(*[PgRestore(job, low, 0).values() for low in (W.TABLE_HISTORY, W.TABLEGROUP_HISTORY)])
    if schema.version != S_v:
        out.add(c.path, 'restorable-set A4', 'schema at S is of version %d, S_v is %d' % (schema.version, S_v))
    have = {(k.low, k.partition_id) for k in c.sys}
    for low in W.SYS_TABLES:
        if (low, 0) not in have:
            out.add(os.path.join(c.set.inc, 'sys_pg_list'), 'restorable-set A6', 'sys PG %d/0 is not in the list' % low)
    path, have = os.path.join(c.set.inc, 'normal_pg_list'), {(k.low, k.partition_id) for k in c.normal}
    want = schema.pgs(S_v)
    for pg in sorted(set(want) - have):
        out.add(path, 'restorable-set A4', 'PG %d/%d of the schema at S_v is not in the list' % pg)
    for pg in sorted(have - set(want)):
        out.add(path, 'restorable-set A4', 'PG %d/%d is not in the schema at S_v' % pg)
    for key, v in c.pgs.items():
        if not key.is_sys:
            _check_indexes(out, c, key, v, schema, want.get((key.low, key.partition_id), []))


def _check_indexes(out, c, key, v, schema, members):
    S_v = c.info['backup_schema_version']
    majors = {(p['partition_store_meta']['pkey'].low, s['table_key']['table_id'] & (1 << 40) - 1)
              for p in v['partitions'] for s in p['sstables'] if s['table_key']['table_type'] == R.TYPE_MAJOR}
    for m in members:
        for low in [m] + [t['table_id'] for t in schema.indexes(m, S_v)]:
            if (m, low) not in majors:
                out.add(c.path, 'restorable-set A4', 'PG %s: no major of %d, which is AVAILABLE at S_v' % (key, low))
