"""media.py - files of a data backup: common header, block stream, PG metas and their index, macro data and its index.

Functions raise ObError where stock OceanBase rejects. What OceanBase lets pass but our own trees must not have goes to
note(offset, rule, text) when the caller gives one.
"""
import struct
from typing import NamedTuple

import records as R
from errors import (OB_BUF_NOT_ENOUGH, OB_CHECKSUM_ERROR, OB_DESERIALIZE_ERROR, OB_ERR_SYS, OB_ERR_UNEXPECTED,
                    OB_INVALID_ARGUMENT, OB_INVALID_ERROR, OB_NOT_SUPPORTED, ObError)
from obcodec import crc64, fold32, fold64, get_varint

HEADER = struct.Struct('<HHHHhH4sqqqq')
HEADER_LEN = 48
META_HEADER = struct.Struct('<HHH6siq')
META_HEADER_LEN = 24
ALIGN = 4096
TYPE_META, TYPE_MACRO_DATA, TYPE_META_INDEX, TYPE_MACRO_INDEX = 0, 1, 2, 3
TYPE_CLOG_INFO, TYPE_BACKUP_INFO, TYPE_SET_INFO, TYPE_PG_LIST, TYPE_TENANT_INFO, TYPE_END = 5, 6, 7, 8, 9, 10
TYPE_LOCALITY, TYPE_DIAGNOSE, TYPE_TENANT_NAME, TYPE_PIECES, TYPE_PIECE, TYPE_SET_FILES = 12, 13, 14, 15, 16, 17
TYPE_MAX = 0x414C
PG_META_INFO = 4
BUFFER_MAX = {TYPE_META: 4 << 20, TYPE_MACRO_DATA: 4 << 20, TYPE_META_INDEX: 256 << 10, TYPE_MACRO_INDEX: 256 << 10}


def no_note(offset, rule, text):
    """Restore does not care about what only our own writer must keep."""


class Header(NamedTuple):
    data_type: int
    header_version: int
    data_version: int
    compressor_type: int
    header_length: int
    header_checksum: int
    padding: bytes
    data_length: int
    data_zlength: int
    data_checksum: int
    align_length: int

    def sum(self):
        return (self.header_version ^ self.compressor_type ^ self.data_type ^ self.header_length & 0xFFFF
                ^ fold64(self.data_length) ^ fold64(self.data_zlength) ^ fold64(self.data_checksum)
                ^ fold64(self.align_length))

    def check_valid(self, offset):
        if (self.header_version != 1 or self.compressor_type == 0 or self.header_length != HEADER_LEN
                or self.align_length < 0 or (self.compressor_type == 1 and self.data_length != self.data_zlength)):
            raise ObError(OB_INVALID_ERROR, 'common header is not valid: %s' % (self,), offset=offset)
        if self.sum() != self.header_checksum or self.data_type >= TYPE_MAX:
            raise ObError(OB_CHECKSUM_ERROR, 'common header checksum or type', offset=offset)


def get_header(buf, pos):
    if pos + HEADER_LEN > len(buf):
        raise ObError(OB_BUF_NOT_ENOUGH, 'no room for a common header', offset=pos)
    return Header(*HEADER.unpack_from(buf, pos))


def put_header(data_type, data_version, payload, align=0):
    n, crc = len(payload), crc64(payload)
    h = Header(data_type, 1, data_version, 1, HEADER_LEN, 0, bytes(4), n, n, crc, align)
    return HEADER.pack(*h._replace(header_checksum=h.sum()))


def get_block(buf, pos, want=None):
    """One block with OceanBase's checks -> (header, payload, position of the next block)."""
    h = get_header(buf, pos)
    h.check_valid(pos)
    if want is not None and h.data_type != want and h.data_type != TYPE_END:
        raise ObError(OB_ERR_UNEXPECTED, 'block of type %d, not %d' % (h.data_type, want), offset=pos)
    start = pos + HEADER_LEN
    stop = start + h.data_zlength
    if h.data_zlength < 0 or stop + h.align_length > len(buf):
        raise ObError(OB_BUF_NOT_ENOUGH, 'block of %d + %d bytes runs over the end' % (h.data_zlength, h.align_length),
                      offset=pos)
    payload = memoryview(buf)[start:stop]
    if crc64(payload) != h.data_checksum:
        raise ObError(OB_CHECKSUM_ERROR, 'data checksum of the block', offset=pos)
    return h, payload, stop + h.align_length


def note_block(buf, pos, h, stop, data_version, aligned, note):
    """What our writer keeps beyond get_block: versions, zero padding, alignment, block size."""
    if h.padding != bytes(4):
        note(pos + 12, 'format-data-backup 3.2', 'bytes 12..15 of the header are not zero')
    if h.data_version != (0 if h.data_type == TYPE_END else data_version):
        note(pos + 4, 'format-data-backup 3.2', 'data_version %d' % h.data_version)
    if h.compressor_type != 1:
        note(pos + 6, 'format-data-backup 3.2', 'compressor_type %d' % h.compressor_type)
    pad = bytes(buf[stop - h.align_length:stop])
    if pad.count(0) != len(pad):
        note(stop - h.align_length, 'format-data-backup 3.4', 'padding is not zero')
    if aligned and (stop % ALIGN or h.align_length >= ALIGN):
        note(pos, 'format-data-backup 3.4', 'block does not end at the next multiple of %d' % ALIGN)
    if h.data_type in BUFFER_MAX and aligned and HEADER_LEN + h.data_length > BUFFER_MAX[h.data_type]:
        note(pos, 'format-data-backup 3.4', 'block of %d bytes is larger than the buffer' % h.data_length)


def stream(buf, data_type, note=no_note, data_version=1, aligned=True):
    """Blocks of an appended file up to its end mark: yields (offset, payload). A torn tail is an error."""
    pos = 0
    while pos < len(buf):
        h, payload, stop = get_block(buf, pos, data_type)
        note_block(buf, pos, h, stop, data_version, aligned, note)
        if h.data_type == TYPE_END:
            if len(payload):
                note(pos, 'format-data-backup 3.4', 'end mark with %d bytes' % len(payload))
            if stop != len(buf):
                note(stop, 'format-data-backup 3.4', '%d bytes after the end mark' % (len(buf) - stop))
            return
        yield pos, payload
        pos = stop
    note(pos, 'format-data-backup 3.4', 'no end mark')


# ---- PG metas ----

class MetaHeader(NamedTuple):
    header_version: int
    meta_type: int
    header_checksum: int
    reserved: bytes
    data_length: int
    data_checksum: int

    def sum(self):
        return self.header_version ^ self.meta_type ^ fold32(self.data_length) ^ fold64(self.data_checksum)


def get_meta_record(record, meta_type, note=no_note):
    """One record of a meta_file (the whole vstr) -> body bytes."""
    n, p = get_varint(record, 0, len(record))
    if p + n + 1 != len(record):
        raise ObError(OB_ERR_UNEXPECTED if p + n + 1 < len(record) else OB_BUF_NOT_ENOUGH,
                      'record says %d bytes, index says %d' % (p + n + 1, len(record)))
    if n < META_HEADER_LEN:
        raise ObError(OB_BUF_NOT_ENOUGH, 'no room for a meta header')
    if record[p + n]:
        note(p + n, 'format-data-backup 3.5', 'record does not end with a zero byte')
    h = MetaHeader(*META_HEADER.unpack_from(record, p))
    if h.header_version != 1:
        raise ObError(OB_INVALID_ERROR, 'meta header version %d' % h.header_version, offset=p)
    if h.sum() != h.header_checksum:
        raise ObError(OB_CHECKSUM_ERROR, 'meta header checksum', offset=p)
    body = bytes(record[p + META_HEADER_LEN:p + n])
    if h.data_length < 0 or h.data_length > len(body):
        raise ObError(OB_BUF_NOT_ENOUGH, 'meta body of %d bytes in %d' % (h.data_length, len(body)), offset=p)
    if crc64(body[:h.data_length]) != h.data_checksum:
        raise ObError(OB_CHECKSUM_ERROR, 'meta body checksum', offset=p)
    if h.data_length != len(body):
        raise ObError(OB_ERR_UNEXPECTED, '%d bytes follow the body' % (len(body) - h.data_length), offset=p)
    if h.meta_type != meta_type:
        raise ObError(OB_ERR_UNEXPECTED, 'meta record of type %d, not %d' % (h.meta_type, meta_type), offset=p)
    if h.reserved != bytes(6):
        note(p + 6, 'format-data-backup 3.5', 'reserved bytes of the meta header are not zero')
    return body


def put_meta_record(meta_type, body):
    h = MetaHeader(1, meta_type, 0, bytes(6), len(body), crc64(body))
    raw = META_HEADER.pack(*h._replace(header_checksum=h.sum())) + body
    return R.MACRO_DATA.members[0][1].put(raw)


def canonical(spec, raw, value, note, offset=0):
    """Our writer must write exactly what OceanBase writes: complete, 5-byte lengths, shortest numbers."""
    gone = spec.missing(value)
    if gone:
        note(offset, 'format-data-backup 2', '%s lacks %s' % (spec.name, ', '.join(gone)))
        return
    try:
        same = spec.put(value) == bytes(raw)
    except KeyError as e:
        note(offset, 'format-data-backup 2', '%s lacks %s inside' % (spec.name, e))
        return
    if not same:
        note(offset, 'format-data-backup 2', '%s is not in the form that OceanBase writes' % spec.name)


def get_pg_meta(record, note=no_note):
    """A type-4 record -> ObBackupPGMetaInfo."""
    body = get_meta_record(record, PG_META_INFO, note)
    if META_HEADER_LEN + len(body) >= 4 << 20 or HEADER_LEN + len(record) > 4 << 20:
        note(0, 'format-data-backup 3.5', 'record is larger than 4 MiB')
    v, p = R.BACKUP_PG_META.get(body, 0, len(body))
    if p != len(body):
        raise ObError(OB_ERR_UNEXPECTED, '%d bytes follow the PG meta' % (len(body) - p), offset=p)
    canonical(R.BACKUP_PG_META, body, v, note)
    if v['pg_meta'].get('is_restore') != 0:
        raise ObError(OB_ERR_UNEXPECTED, 'is_restore %s' % v['pg_meta'].get('is_restore'))
    for part in v['partitions']:
        for s in part['sstables']:
            m, k = s['sstable_meta'], s['table_key']
            if m['index_id'] != k['table_id']:
                raise ObError(OB_ERR_UNEXPECTED, 'index_id %d, table key %d' % (m['index_id'], k['table_id']))
            if m['sstable_format_version'] < 5:
                raise ObError(OB_NOT_SUPPORTED, 'sstable_format_version %d' % m['sstable_format_version'])
    return v


def get_objects(payload, spec, base, note=no_note):
    """A payload that is a plain row of objects of one kind: yields (offset, value)."""
    p, end = 0, len(payload)
    while p < end:
        v, q = spec.get(payload, p, end)
        canonical(spec, payload[p:q], v, note, base + p)
        yield base + p, v
        p = q


def check_meta_index(v, offset):
    if min(v['partition_id'], v['offset'], v['data_length'], v['task_id'], v['meta_type']) < 0 \
            or v['meta_type'] >= TYPE_MAX:
        raise ObError(OB_DESERIALIZE_ERROR, 'meta index entry is not valid: %s' % v, offset=offset)


def get_meta_index(buf, merged, note=no_note):
    """A meta_index_file -> entries in order. Later entries of a key win; that is for the caller."""
    out = []
    for pos, payload in stream(buf, TYPE_META_INDEX, note, 0 if merged else 1, not merged):
        for off, v in get_objects(payload, R.META_INDEX, pos + HEADER_LEN, note):
            check_meta_index(v, off)
            out.append(v)
    return out


# ---- macro blocks ----

class Sstable:
    """One table key of a macro index with its entries, in macro order."""

    def __init__(self, key, total):
        self.key = key
        self.total = total
        self.entries = []


class MacroIndex:
    """The macro_block_index files of one directory, read as OceanBase's V2 reader does: retry 0, 1, 2, ..."""

    def __init__(self):
        self.tables = {}  # encoded table key -> Sstable

    def add(self, buf, note=no_note):
        """Adds one file; -> the table keys it names, in order."""
        named = []
        table, left = None, 0
        for pos, payload in stream(buf, TYPE_MACRO_INDEX, note):
            p, end = 0, len(payload)
            while p < end:
                off = pos + HEADER_LEN + p
                if left == 0:
                    v, q = R.TABLE_KEY_INFO.get(payload, p, end)
                    canonical(R.TABLE_KEY_INFO, payload[p:q], v, note, off)
                    table, left = self._begin(v, off, note), v['total_macro_block_count']
                    named.append(table)
                else:
                    v, q = R.MACRO_INDEX.get(payload, p, end)
                    canonical(R.MACRO_INDEX, payload[p:q], v, note, off)
                    self._append(table, v, off, note)
                    if v['sstable_macro_index'] == table.total - 1:
                        left = 0
                p = q
        if left:
            note(len(buf), 'format-data-backup 3.8', 'file ends inside the entries of %d' % table.key['table_id'])
        return named

    def _begin(self, v, off, note):
        total = v['total_macro_block_count']
        if total <= 0:
            raise ObError(OB_ERR_UNEXPECTED, 'table key with %d blocks' % total, offset=off)
        raw = R.TABLE_KEY.put(v['table_key'])
        if raw in self.tables:
            note(off, 'design 7', 'table key %d is listed twice' % v['table_key']['table_id'])
            if self.tables[raw].total != total:
                raise ObError(OB_ERR_UNEXPECTED, 'table key listed again with another total', offset=off)
        return self.tables.setdefault(raw, Sstable(v['table_key'], total))

    @staticmethod
    def _append(table, v, off, note):
        if min(v.values()) < 0 or v['backup_set_id'] <= 0 or v['data_length'] <= 0:
            raise ObError(OB_DESERIALIZE_ERROR, 'macro index entry is not valid: %s' % v, offset=off)
        i = v['sstable_macro_index']
        if i < len(table.entries):
            note(off, 'format-data-backup 3.8', 'macro index %d comes again' % i)
        elif i > len(table.entries) or i >= table.total:
            raise ObError(OB_ERR_UNEXPECTED, 'macro index %d where %d is next' % (i, len(table.entries)), offset=off)
        else:
            table.entries.append(v)
        if v['offset'] % ALIGN or v['data_length'] % ALIGN:
            note(off, 'format-data-backup 3.8', 'entry is not aligned: %d, %d' % (v['offset'], v['data_length']))


def get_macro_data(buf, note=no_note, base=0):
    """One block of a macro_block file (exactly data_length bytes) -> (meta bytes, data view)."""
    h, payload, stop = get_block(buf, 0, TYPE_MACRO_DATA)
    if h.data_type == TYPE_END:
        raise ObError(OB_ERR_UNEXPECTED, 'end mark where a macro block should be', offset=base)
    note_block(buf, 0, h, stop, 1, True, lambda o, r, t: note(base + o, r, t))
    if stop != len(buf):
        note(base, 'format-data-backup 3.8', 'block has %d bytes, index says %d' % (stop, len(buf)))
    return unpack_macro_data(payload)


def unpack_macro_data(payload):
    """ObBackupMacroData -> (meta bytes, data view); done by hand so that the 2 MiB are not copied."""
    end = len(payload)
    version, p = get_varint(payload, 0, end)
    if version != 1:
        raise ObError(OB_NOT_SUPPORTED, 'macro data version %d' % version)
    n, p = get_varint(payload, p, end)
    if n > end - p:
        raise ObError(OB_DESERIALIZE_ERROR, 'macro data of %d bytes runs over the end' % n)
    end = p + n
    n, p = get_varint(payload, p, end)
    if p + n + 1 > end:
        raise ObError(OB_DESERIALIZE_ERROR, 'macro meta runs over the end')
    meta = bytes(payload[p:p + n])
    p += n + 1
    n, p = get_varint(payload, p, end)
    if p + n + 1 > end:
        raise ObError(OB_DESERIALIZE_ERROR, 'macro block runs over the end')
    return meta, payload[p:p + n]


# ---- info files ----

def get_info_payload(buf, data_type, data_version, note=no_note):
    """A single-shot *_info file -> payload; None for an empty file (reads as an empty list)."""
    if not buf:
        return None
    if len(buf) < HEADER_LEN:
        raise ObError(OB_INVALID_ARGUMENT, 'no room for a common header', offset=0)
    h = get_header(buf, 0)
    if h.sum() != h.header_checksum:
        raise ObError(OB_CHECKSUM_ERROR, 'header checksum', offset=0)
    if h.data_zlength < 0 or HEADER_LEN + h.data_zlength > len(buf):
        raise ObError(OB_ERR_SYS, 'payload of %d bytes runs over the end' % h.data_zlength, offset=0)
    payload = bytes(buf[HEADER_LEN:HEADER_LEN + h.data_zlength])
    if crc64(payload) != h.data_checksum:
        raise ObError(OB_CHECKSUM_ERROR, 'data checksum', offset=HEADER_LEN)
    if h.data_type != data_type:
        raise ObError(OB_ERR_UNEXPECTED, 'file of type %d, not %d' % (h.data_type, data_type), offset=0)
    if data_type == TYPE_TENANT_NAME and (h.data_version != 1 or h.data_length != h.data_zlength):
        raise ObError(OB_ERR_SYS, 'data_version %d' % h.data_version, offset=4)
    try:
        h.check_valid(0)
    except ObError as e:
        note(0, 'format-data-backup 3.2', e.text)
    note_block(buf, 0, h, HEADER_LEN + h.data_zlength, data_version, False, note)
    if h.align_length:
        note(40, 'format-data-backup 3.9', 'align_length %d' % h.align_length)
    if len(buf) != HEADER_LEN + h.data_zlength:
        note(HEADER_LEN + h.data_zlength, 'format-data-backup 3.9', 'bytes follow the payload')
    return payload


def get_info(buf, data_type, spec, note=no_note, data_version=0):
    """A single-shot info file with one object -> value; None for an empty file."""
    payload = get_info_payload(buf, data_type, data_version, note)
    if payload is None:
        return None
    v, p = spec.get(payload, 0, len(payload))
    canonical(spec, payload[:p], v, note, HEADER_LEN)
    if p != len(payload):
        note(HEADER_LEN + p, 'format-data-backup 3.9', '%d bytes follow %s' % (len(payload) - p, spec.name))
    return v


def get_tenant_names(buf, note=no_note):
    """tenant_name_info -> (schema_version, [(name bytes, [(tenant_id, timestamp), ...]), ...])."""
    payload = get_info_payload(buf, TYPE_TENANT_NAME, 1, note)
    if payload is None:
        raise ObError(OB_ERR_UNEXPECTED, 'empty tenant_name_info')
    end = len(payload)
    meta, p = R.TENANT_NAME_META.get(payload, 0, end)
    names = []
    for _ in range(meta['tenant_count']):
        v, q = R.TENANT_NAME_INFO.get(payload, p, end)
        canonical(R.TENANT_NAME_INFO, payload[p:q], v, note, HEADER_LEN + p)
        if not v['is_complete']:
            raise ObError(OB_ERR_UNEXPECTED, 'tenant name %r is not complete' % v['tenant_name'])
        ids = [(i['tenant_id'], i['timestamp']) for i in v['ids']]
        if ids != sorted(ids, key=lambda i: i[1]):
            note(HEADER_LEN + p, 'format-data-backup 3.9', 'ids of %r do not ascend' % v['tenant_name'])
        names.append((v['tenant_name'], ids))
        p = q
    if p != end:
        note(HEADER_LEN + p, 'format-data-backup 3.9', 'bytes follow the last name')
    if [n for n, _ in names] != sorted({n for n, _ in names}):
        note(HEADER_LEN, 'format-data-backup 3.9', 'names do not ascend')
    return meta['schema_version'], names


def put_info(data_type, payload, data_version=0):
    return put_header(data_type, data_version, payload) + payload


def put_block(data_type, payload):
    """One 4096-aligned block of an appended file; for end marks give no payload."""
    align = -(HEADER_LEN + len(payload)) % ALIGN
    return put_header(data_type, 0 if data_type == TYPE_END else 1, payload, align) + payload + bytes(align)
