#!/usr/bin/python3
"""restore.py --job FILE --out DIR - plays stock OceanBase 3.1's restore of one tenant (tests/observer/CONTRACT.md 9).

Reads the tree as strictly as OceanBase, writes the rows of every PG at UNTIL, their digests and result.json. Exit status
0: restored; 1: refused, result.json names OceanBase's error number.
"""
import argparse
import json
import os
import signal
import sys
import traceback

import rows as W
from backupset import key_from_id
from digest import EMPTY, tenant_digest
from errors import OB_EAGAIN, OB_ENTRY_NOT_EXIST, OB_ERR_UNEXPECTED, OB_INVALID_ARGUMENT, OB_NOT_SUPPORTED, ObError
from pgarchive import PgArchive
from pgrestore import Job, PgRestore
from select_sources import check_set_usable, plan, plan_explicit, tenant_of
from tree import uri_path
from workers import pool, size_of

_job = None  # set before the workers are forked


def write_json(path, value):
    tmp = path + '.tmp'
    with open(tmp, 'w') as f:
        json.dump(value, f, indent=1)
        f.write('\n')
    os.rename(tmp, path)


def _restore_one(pg):
    """In a worker: -> (result dict) or an ObError as (rc, text)."""
    low, part, kind, tables = pg
    out = {'table_id': low, 'partition_id': part, 'kind': kind, 'tables': tables, 'restored': False, 'rows': 0,
           'digest': EMPTY, 'file': None, 'partitions': 0, 'blocks': 0, 'logs': 0}
    if kind == 'rebuilt':  # a global index of after the set: nothing is read for it
        return dict(out, kind='standalone')
    try:
        p = PgRestore(_job, low, part)
        if p.exists or kind != 'inner':
            r = p.run()
            out.update(restored=True, rows=r.rows, digest=r.digest, file=os.path.relpath(r.file, _job.out_dir),
                       partitions=r.partitions, blocks=r.blocks, logs=r.logs)
        return out
    except ObError as e:
        return e.rc, str(e)


class Restore:
    def __init__(self, job, out_dir):
        self.job, self.out_dir = job, out_dir
        self.state = 'CREATE_TENANT'
        self.result = {'rc': 0, 'message': '', 'state': self.state, 'backup_tenant_id': 0, 'until_us': job['until_us'],
                       'snapshot_version': 0, 'schema_version': 0, 'backup_data_version': 0, 'locality': '',
                       'primary_zone': '', 'compat_mode': 0, 'backup_set_list': [], 'backup_piece_list': [],
                       'partition_count': 0, 'macro_block_count': 0, 'pgs': []}
        self.count = {n: 0 for n in ('pg_count', 'finish_pg_count', 'partition_count', 'finish_partition_count',
                                     'macro_block_count', 'finish_macro_block_count')}

    def progress(self, state=None):
        if state:
            self.state = state
        write_json(os.path.join(self.out_dir, 'progress.json'), dict(self.count, status=self.state))

    def run(self):
        os.makedirs(os.path.join(self.out_dir, 'pg'), exist_ok=True)
        try:
            self.progress()
            p = self._plan()
            self._describe(p)
            if not self.job.get('preview'):
                self._data(p)
                self.state = 'RESTORE_SUCCESS'
        except ObError as e:
            self.result.update(rc=e.rc, message=str(e))
        except Exception:  # a tree that breaks the reader is refused, never half restored
            self.result.update(rc=OB_ERR_UNEXPECTED, message=traceback.format_exc())
        self.result['state'] = self.state
        self.progress()
        write_json(os.path.join(self.out_dir, 'result.json'), self.result)
        return 0 if self.result['rc'] == 0 else 1

    # ---- choosing ----

    def _plan(self):
        j = self.job
        if j.get('table_list'):
            raise ObError(OB_NOT_SUPPORTED, 'list of tables')
        if j.get('at') and j.get('sources'):
            raise ObError(OB_NOT_SUPPORTED, 'AT and added sources exclude each other')
        sources = j.get('sources') or ([j['at']] if j.get('at') else [])
        if not sources:
            raise ObError(OB_INVALID_ARGUMENT, 'no source')
        first = uri_path(sources[0])
        if first is None:
            raise ObError(OB_NOT_SUPPORTED, 'source %s is no file URI' % sources[0])
        single = any(os.path.exists(os.path.join(first, n)) for n in ('single_backup_set_info', 'single_piece_info'))
        if len(sources) == 1 and not single:
            cp = os.path.join(first, j['backup_cluster_name'], str(j['backup_cluster_id']), 'incarnation_1')
            if not os.path.isdir(cp):
                raise ObError(OB_ENTRY_NOT_EXIST, 'no such cluster', cp)
            p = plan(cp, tenant_of(cp, j['backup_tenant_name'], j['until_us']), j['until_us'])
        else:
            p = plan_explicit(sources, j['until_us'])
        self._identity(p)
        return p

    def _identity(self, p):
        """The sets must be of the cluster and tenant that the statement names."""
        info = p.largest.info
        if info['cluster_id'] != self.job['backup_cluster_id']:
            raise ObError(OB_INVALID_ARGUMENT, 'set is of cluster %d' % info['cluster_id'], p.largest.path)
        self.locality = check_set_usable(p, self.job.get('cluster_version', 0), self.job.get('passwords', ''))
        if self.locality['tenant_id'] != p.tenant_id:
            raise ObError(OB_ERR_UNEXPECTED, 'locality info is of tenant %d' % self.locality['tenant_id'], p.largest.inc)

    def _describe(self, p):
        info = p.largest.info
        self.result.update(
            backup_tenant_id=p.tenant_id, snapshot_version=info['snapshot_version'],
            schema_version=info['backup_schema_version'], backup_data_version=info['backup_data_version'],
            locality=self.locality['locality'].decode(), primary_zone=self.locality['primary_zone'].decode(),
            compat_mode=self.locality['compat_mode'],
            backup_set_list=['file://' + p.sets[i].path for i in sorted(p.sets)],
            backup_piece_list=[] if p.no_log else ['file://' + x.path for x in p.pieces], no_log=p.no_log)

    # ---- data ----

    def _data(self, p):
        global _job
        keys = frozenset(p.largest.pg_list('sys_pg_list') + p.largest.pg_list('normal_pg_list'))
        job = Job(p, self.job['until_us'], keys, p.largest.meta_index(), None, self.out_dir)
        self.progress('RESTORE_SYS_REPLICA')
        schema = self._schema(job)
        self._schema_new_enough(schema, p)
        _job = job._replace(schema=schema)
        inner = [(low, 0, 'inner', [low]) for low in W.SYS_TABLES]
        user = []
        anew = schema.rebuilt_globals(p.largest.info['backup_schema_version'])
        for (low, part), tables in sorted(schema.pgs(schema.version).items()):
            kind = 'rebuilt' if low in anew else 'tablegroup' if low & W.TABLEGROUP_BIT else 'standalone'
            user.append((low, part, kind, sorted(tables)))
        self.count['pg_count'] = len(inner) + len(user)
        total = size_of(*[s.path for s in p.sets.values()], *[x.path for x in p.pieces])
        with pool(total) as workers:
            self._pgs(workers, inner)
            self.progress('CREATE_USER_PARTITIONS')
            self._user_keys(user, keys, p)
            self.progress('RESTORE_USER_REPLICA')
            self._pgs(workers, user)
        pgs = self.result['pgs']
        self.result['tenant_digest'] = tenant_digest(
            [(x['table_id'], x['partition_id'], x['rows'], x['digest']) for x in pgs])
        self.progress('POST_CHECK')

    @staticmethod
    def _schema(job):
        rows = [PgRestore(job, low, 0).values() for low in (W.TABLE_HISTORY, W.TABLEGROUP_HISTORY)]
        return W.Schema(*rows)

    @staticmethod
    def _schema_new_enough(schema, p):
        want = p.largest.info['backup_schema_version']
        if schema.version < want:
            raise ObError(OB_EAGAIN, 'local schema is old: %d at the target time, set has %d' % (schema.version, want),
                          p.largest.path)

    @staticmethod
    def _user_keys(user, keys, p):
        """A user PG that is neither in the list nor in the archive breaks the restore."""
        for low, part, kind, _ in user:
            if kind == 'rebuilt':
                continue
            key = key_from_id(p.tenant_id << 40 | low, part)
            if key not in keys and (not p.pieces or not PgArchive(p.pieces, key.table_id, part).exists):
                raise ObError(OB_ERR_UNEXPECTED, 'may lost data: PG %s is neither in the set nor archived' % (key,),
                              p.largest.path)

    def _pgs(self, workers, pgs):
        for r in workers.imap(_restore_one, pgs):
            if isinstance(r, tuple):
                workers.terminate()
                raise ObError(*r)
            self.count['finish_pg_count'] += 1
            for name, key in (('partition_count', 'partitions'), ('macro_block_count', 'blocks')):
                n = r.pop(key)
                self.count[name] += n
                self.count['finish_' + name] += n
                self.result[name] += n
            self.result['pgs'].append(r)
            if self.count['finish_pg_count'] % 32 == 0:
                self.progress()


def main(argv):
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--job', required=True)
    ap.add_argument('--out', required=True)
    args = ap.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with open(args.job) as f:
        job = json.load(f)
    return Restore(job, args.out).run()


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
