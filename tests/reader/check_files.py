"""check_files.py - checks of one file by itself: macro data files (every block opened) and the small info files."""
from typing import NamedTuple

import archive as A
import macroblock as B
import media as M
import records as R
from backupset import load
from check_rows import block_keys
from errors import ObError
from findings import Findings
from tree import read


class BlockFact(NamedTuple):
    """What the cross checks need of one macro block in a file."""
    length: int
    attr: int
    data_version: int
    data_seq: int
    table_id: int
    partition_id: int
    row_count: int
    occupy_size: int
    data_checksum: int
    column_ids: tuple
    column_checksums: tuple
    first_key: bytes  # with rows: of the stand-in's row records
    last_key: bytes


def check_macro_file(top, path, rows=False):
    """A whole macro_block file -> (findings, {offset: BlockFact})."""
    out, facts = Findings(top), {}
    note = out.note(path)
    with out.guard(path, 'format-data-backup 3.4'):
        buf = memoryview(read(path))
        for pos, payload in M.stream(buf, M.TYPE_MACRO_DATA, note):
            try:
                facts[pos] = _check_macro_block(payload, pos, note, rows)
            except ObError as e:
                e.offset = pos + (e.offset or 0)
                out.error(path, 'observer-store 1.10', e)
    if len(facts) > 512:
        note(0, 'format-data-backup 5.3', '%d blocks in one file' % len(facts))
    return out, facts


def _check_macro_block(payload, pos, note, rows):
    raw, data = M.unpack_macro_data(payload)
    if R.MACRO_DATA.put({'meta': raw, 'data': bytes(data)}) != bytes(payload):
        note(pos, 'format-data-backup 3.7', 'macro data is not in the form that OceanBase writes')
    meta, schema = B.get_full_meta(raw)
    block = B.check_block(data, meta, schema)
    first, last = block_keys(block, meta['row_count'], meta['endkey']) if rows else (None, None)
    if len(data) != meta['occupy_size']:
        note(pos, 'format-data-backup 3.7', '%d bytes of data, occupy_size %d' % (len(data), meta['occupy_size']))
    length = M.HEADER_LEN + len(payload)
    return BlockFact(length + -length % M.ALIGN, meta['attr'], meta['data_version'], meta['data_seq'],
                     meta['table_id'], meta['partition_id'], meta['row_count'], meta['occupy_size'],
                     meta['data_checksum'], schema['ids'], meta['column_checksum'], first, last)


# kind of file -> (type, struct, data_version)
INFO = {
    'tenant_info': (M.TYPE_TENANT_INFO, R.TENANT_INFOS, 0),
    'backup_info': (M.TYPE_BACKUP_INFO, R.BACKUP_INFOS, 0),
    'set_list': (M.TYPE_SET_FILES, R.SET_FILE_INFOS, 0),
    'set_copy_list': (M.TYPE_SET_FILES, R.SET_FILE_INFOS, 0),
    'single_set': (M.TYPE_SET_FILES, R.SET_FILE_INFOS, 0),
    'set_info': (M.TYPE_SET_INFO, R.BACKUP_SET_INFOS, 0),
    'sys_pg_list': (M.TYPE_PG_LIST, R.PG_LIST, 0),
    'normal_pg_list': (M.TYPE_PG_LIST, R.PG_LIST, 0),
    'locality': (M.TYPE_LOCALITY, R.LOCALITY, 0),
    'clog_info': (M.TYPE_CLOG_INFO, R.ARCHIVE_STATUSES, 1),
    'piece_list': (M.TYPE_PIECES, R.PIECE_INFOS, 1),
    'piece_copy_list': (M.TYPE_PIECES, R.PIECE_INFOS, 1),
    'piece': (M.TYPE_PIECE, R.PIECE_INFO, 1),
}


def check_small_file(out, path, kind):
    """An info file or another small one -> its value (None when it cannot be read)."""
    note = out.note(path)
    with out.guard(path, 'format-data-backup 3.9'):
        if kind in INFO:
            data_type, spec, version = INFO[kind]
            v = load(path, M.get_info, data_type, spec, note, version)
            if v is None:
                note(0, 'format-data-backup 3.9', 'file is empty')
            return v
        if kind == 'tenant_name_info':
            return load(path, M.get_tenant_names, note)
        if kind == 'diagnose':
            return load(path, M.get_info_payload, M.TYPE_DIAGNOSE, 0, note)
        if kind == 'server_start':
            return load(path, A.get_server_start)
        if kind == 'mount_file':
            return read(path)
        if kind in ('meta_index', 'merged_index'):
            return load(path, M.get_meta_index, kind == 'merged_index', note)
        if kind == 'archive_key':
            return load(path, A.get_archive_key)
        if kind == 'archive_index':
            return load(path, A.get_index_records, note)
        if kind == 'meta_file':
            return load(path, check_meta_file, note)
    return None


def check_meta_file(buf, note):
    """A meta_file -> {offset of the record: length of the record}; every record is checked as the restore does."""
    records = {}
    for pos, payload in M.stream(buf, M.TYPE_META, note):
        p, end = 0, len(payload)
        while p < end:
            n, q = M.get_varint(payload, p, end)
            stop = q + n + 1
            off = pos + M.HEADER_LEN + p
            try:
                M.get_pg_meta(payload[p:stop], lambda o, r, t, base=off: note(base + o, r, t))
            except ObError as e:
                e.offset = off + (e.offset or 0)
                raise
            records[off] = stop - p
            p = stop
    return records
