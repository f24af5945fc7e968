"""macroblock.py - a macro block and its stored meta: everything that can be proven without knowing the rows.

Covers observer-store 1.10 (payload, micro records, the fold of their checksums, equality of block, meta and schema) and
opens micro blocks. Column checksums are values of the storage engine and are only compared, never recomputed.
"""
import struct

import lz4.block
import zstandard

from errors import (OB_BUF_NOT_ENOUGH, OB_DESERIALIZE_ERROR, OB_ERR_COMPRESS_DECOMPRESS_DATA, OB_INVALID_DATA,
                    OB_NOT_SUPPORTED, OB_PHYSIC_CHECKSUM_ERROR, ObError)
from obcodec import crc64, crc_chain, fold32, fold64, get_rowkey

COMMON = struct.Struct('<iiiiQiI')
COMMON_LEN = 32
SSTABLE = struct.Struct('<iiiiQq14iq96sqq16sqq')
SSTABLE_LEN = 240
LOB_LEN = 248
RECORD = struct.Struct('<hbbHhqqq')
RECORD_LEN = 32
MAGIC_COMMON, MAGIC_SSTABLE, MAGIC_LOB, MAGIC_MICRO, MAGIC_LOB_MICRO = 1001, 1007, 1009, 1005, 1010
ATTR_DATA, ATTR_LOB, ATTR_LOB_INDEX, ATTR_BLOOM = 1, 9, 10, 13
MAX_MICRO = 64 << 20

_META1 = struct.Struct('<hq hhhh ii q iiii')
_META1_NAMES = ('attr', 'data_version', 'column_number', 'rowkey_column_number', 'column_index_scale',
                'row_store_type', 'row_count', 'occupy_size', 'data_checksum', 'micro_block_count',
                'micro_block_data_offset', 'micro_block_index_offset', 'micro_block_endkey_offset')
_META2 = struct.Struct('<Qqqqhii B i q h q q q 16s B q')
_META2_NAMES = ('table_id', 'data_seq', 'schema_version', 'snapshot_version', 'schema_rowkey_col_cnt',
                'row_count_delta', 'micro_block_mark_deletion_offset', 'macro_block_deletion_flag',
                'micro_block_delta_offset', 'partition_id', 'column_checksum_method', 'progressive_merge_round',
                'encrypt_id', 'master_key_id', 'encrypt_key', 'contain_uncommitted_row', 'max_merged_trans_version')


def _take(fmt, buf, pos, what):
    if pos + fmt.size > len(buf):
        raise ObError(OB_DESERIALIZE_ERROR, '%s runs over the end' % what, offset=pos)
    return fmt.unpack_from(buf, pos), pos + fmt.size


def get_full_meta(buf):
    """ObFullMacroBlockMetaEntry -> (meta dict, schema dict); bytes left over are an error."""
    meta, pos = _get_meta(buf)
    schema, pos = _get_schema(buf, pos)
    if pos != len(buf):
        raise ObError(OB_DESERIALIZE_ERROR, '%d bytes follow the macro meta' % (len(buf) - pos), offset=pos)
    return meta, schema


def _get_meta(buf):
    (size, version), pos = _take(struct.Struct('<ii'), buf, 0, 'macro meta')
    if version != 2:
        raise ObError(OB_NOT_SUPPORTED, 'macro meta version %d' % version, offset=4)
    if not 8 <= size <= len(buf):
        raise ObError(OB_DESERIALIZE_ERROR, 'macro meta of %d bytes' % size, offset=0)
    values, pos = _take(_META1, buf, pos, 'macro meta')
    m = dict(zip(_META1_NAMES, values))
    if m['attr'] not in (ATTR_DATA, ATTR_LOB, ATTR_LOB_INDEX):
        raise ObError(OB_NOT_SUPPORTED, 'macro block attribute %d in a backup' % m['attr'], offset=8)
    n = m['column_number']
    if n <= 0:
        raise ObError(OB_DESERIALIZE_ERROR, '%d columns' % n, offset=18)
    m['column_checksum'], pos = _take(struct.Struct('<%dq' % n), buf, pos, 'column checksums')
    m['endkey'], pos = get_rowkey(buf, pos, size)
    values, pos = _take(_META2, buf, pos, 'macro meta')
    m.update(zip(_META2_NAMES, values))
    if pos != size:
        raise ObError(OB_DESERIALIZE_ERROR, 'macro meta has %d bytes, says %d' % (pos, size), offset=0)
    return m, size


def _get_schema(buf, start):
    (size, version), pos = _take(struct.Struct('<ii'), buf, start, 'macro schema')
    if version != 1:
        raise ObError(OB_NOT_SUPPORTED, 'macro schema version %d' % version, offset=start + 4)
    (n, rowkey, schema_version, schema_rowkey), pos = _take(struct.Struct('<hhqh'), buf, pos, 'macro schema')
    stop = bytes(buf[pos:]).find(0)
    if stop < 0 or n <= 0:
        raise ObError(OB_DESERIALIZE_ERROR, 'macro schema', offset=pos)
    name = bytes(buf[pos:pos + stop])
    pos += stop + 1
    ids, pos = _take(struct.Struct('<%dH' % n), buf, pos, 'column ids')
    types, pos = _take(struct.Struct('<%ds' % (4 * n)), buf, pos, 'column types')
    orders, pos = _take(struct.Struct('<%di' % n), buf, pos, 'column orders')
    if pos != start + size:
        raise ObError(OB_DESERIALIZE_ERROR, 'macro schema has %d bytes, says %d' % (pos - start, size), offset=start)
    return {'column_number': n, 'rowkey_column_number': rowkey, 'schema_version': schema_version,
            'schema_rowkey_col_cnt': schema_rowkey, 'compressor': name, 'ids': ids, 'types': types[0],
            'orders': orders}, pos


class Micro:
    """One micro block: its record header's fields and where the stored bytes lie."""
    __slots__ = ('offset', 'start', 'zlength', 'length', 'checksum', 'row_count')

    def __init__(self, offset, start, zlength, length, checksum, row_count):
        self.offset = offset
        self.start = start
        self.zlength = zlength
        self.length = length
        self.checksum = checksum
        self.row_count = row_count


class MacroBlock:
    """A parsed and checked block; rows of micro block i are bytes of micro(i)."""

    def __init__(self, data, head, compressor, micros):
        self.data = data
        self.head = head
        self.compressor = compressor
        self.micros = micros

    def micro(self, i):
        m = self.micros[i]
        stored = self.data[m.start:m.start + m.zlength]
        return decompress(self.compressor, stored, m.length)


def decompress(name, stored, length):
    """What the record header calls data: stored as it is when both lengths are equal."""
    if length == len(stored):
        return bytes(stored)
    if not 0 <= length <= MAX_MICRO:
        raise ObError(OB_INVALID_DATA, 'micro block of %d bytes' % length)
    try:
        if name == b'lz4_1.0':
            out = lz4.block.decompress(stored, uncompressed_size=length)
        elif name in (b'zstd_1.3.8', b'zstd_1.0'):
            out = zstandard.ZstdDecompressor().decompress(bytes(stored), max_output_size=length)
        else:
            raise ObError(OB_NOT_SUPPORTED, 'compressor %r' % name)
    except (lz4.block.LZ4BlockError, zstandard.ZstdError) as e:
        raise ObError(OB_ERR_COMPRESS_DECOMPRESS_DATA, '%s: %s' % (name.decode(), e)) from e
    if len(out) != length:
        raise ObError(OB_INVALID_DATA, 'micro block opens to %d bytes, header says %d' % (len(out), length))
    return out


def _bad(text, offset):
    return ObError(OB_PHYSIC_CHECKSUM_ERROR, text, offset=offset)


def check_common(data):
    if len(data) < COMMON_LEN:
        raise ObError(OB_BUF_NOT_ENOUGH, 'macro block of %d bytes' % len(data))
    size, version, magic, attr, data_version, payload_size, payload_crc = COMMON.unpack_from(data, 0)
    if version != 1 or magic != MAGIC_COMMON:
        raise ObError(OB_DESERIALIZE_ERROR, 'common header version %d, magic %d' % (version, magic), offset=4)
    if size != COMMON_LEN:
        raise ObError(OB_INVALID_DATA, 'common header size %d' % size, offset=0)
    if attr not in (ATTR_DATA, ATTR_LOB, ATTR_LOB_INDEX):
        raise _bad('attribute %d' % attr, 12)
    if payload_size <= 0 or COMMON_LEN + payload_size > len(data):
        raise _bad('payload of %d bytes in a block of %d' % (payload_size, len(data)), 24)
    if crc64(data[COMMON_LEN:COMMON_LEN + payload_size]) != payload_crc:
        raise _bad('payload checksum', 28)
    return attr, data_version, payload_size


def _get_head(data, attr):
    """The sstable or LOB header with its arrays -> (dict, position behind the arrays)."""
    lob = attr != ATTR_DATA
    fixed = LOB_LEN if lob else SSTABLE_LEN
    if len(data) < COMMON_LEN + fixed:
        raise _bad('no room for the block header', COMMON_LEN)
    f = SSTABLE.unpack_from(data, COMMON_LEN)  # a LOB header is the same and ends with the place of its size array
    names = ('header_size', 'version', 'magic', 'attr', 'table_id', 'data_version', 'column_number',
             'rowkey_column_number', 'column_index_scale', 'row_store_type', 'row_count', 'occupy_size',
             'micro_block_count', 'micro_block_size', 'micro_block_data_offset', 'micro_block_data_size',
             'micro_block_index_offset', 'micro_block_index_size', 'micro_block_endkey_offset',
             'micro_block_endkey_size', 'data_checksum', 'compressor', 'encrypt_id', 'master_key_id', 'encrypt_key',
             'data_seq', 'partition_id')
    h = dict(zip(names, f))
    h['compressor'] = h['compressor'].split(b'\0', 1)[0]
    if h['magic'] != (MAGIC_LOB if lob else MAGIC_SSTABLE):
        raise _bad('block header magic %d' % h['magic'], COMMON_LEN + 8)
    if h['version'] != (2 if lob else 3):
        raise _bad('block header version %d' % h['version'], COMMON_LEN + 4)
    n = h['column_number']
    if not 0 < n <= 4096 or h['header_size'] != fixed + 18 * n:
        raise _bad('%d columns, header of %d bytes' % (n, h['header_size']), COMMON_LEN)
    end = COMMON_LEN + h['header_size']
    if h['micro_block_data_offset'] != end or end > len(data):
        raise _bad('micro blocks begin at %d, header ends at %d' % (h['micro_block_data_offset'], end), COMMON_LEN + 64)
    pos = COMMON_LEN + fixed
    h['ids'] = struct.unpack_from('<%dH' % n, data, pos)
    h['types'] = bytes(data[pos + 2 * n:pos + 6 * n])
    if lob:
        h['column_checksum'] = struct.unpack_from('<%dq' % n, data, pos + 6 * n)
        h['orders'] = struct.unpack_from('<%di' % n, data, pos + 14 * n)
    else:
        h['orders'] = struct.unpack_from('<%di' % n, data, pos + 6 * n)
        h['column_checksum'] = struct.unpack_from('<%dq' % n, data, pos + 10 * n)
    return h


def _get_record(data, pos, magic):
    if pos + RECORD_LEN > len(data):
        raise _bad('no room for a micro record', pos)
    m, hlen, version, hsum, reserved, length, zlength, checksum = RECORD.unpack_from(data, pos)
    if m != magic or version not in (2, 3):
        raise _bad('micro record magic %d, version %d' % (m, version), pos)
    x = m & 0xFFFF ^ hlen & 0xFFFF ^ version ^ reserved & 0xFFFF ^ fold64(length) ^ fold64(zlength) ^ fold64(checksum)
    end, rows = pos + RECORD_LEN, None
    if version == 3:
        if end + 10 > len(data):
            raise _bad('no room for a micro record', pos)
        encoding, rows, columns = struct.unpack_from('<iiH', data, end)
        x ^= fold32(encoding) ^ fold32(rows) ^ columns
        end += 10
        if end + 8 * columns > len(data):
            raise _bad('no room for %d column checksums' % columns, pos)
        for c in struct.unpack_from('<%dQ' % columns, data, end):
            x ^= fold64(c)
        end += 8 * columns
    if x & 0xFFFF != hsum:
        raise _bad('micro record header checksum', pos)
    if zlength < 0 or end + zlength > len(data):
        raise _bad('micro block of %d bytes runs over the end' % zlength, pos)
    if crc64(data[end:end + zlength]) != checksum & 0xFFFFFFFFFFFFFFFF:
        raise _bad('micro block data checksum', pos)
    return Micro(pos, end, zlength, length, checksum, rows)


def _get_micros(data, h, lob):
    k, base = h['micro_block_count'], h['micro_block_data_offset']
    at, size = h['micro_block_index_offset'], h['micro_block_index_size']
    want = 4 * k + 8 if lob else 8 * (k + 1)
    if k <= 0 or size != want or at < base or at + size > len(data):
        raise _bad('micro index of %d bytes at %d for %d micro blocks' % (size, at, k), at)
    if lob:
        offsets = list(struct.unpack_from('<%diq' % k, data, at))
    else:
        flat = struct.unpack_from('<%di' % (2 * k + 2), data, at)
        offsets, keys = list(flat[0::2]), list(flat[1::2])
        if keys[0] != 0 or keys != sorted(keys) or keys[-1] != h['micro_block_endkey_size']:
            raise _bad('end keys of the micro index', at)
        if h['micro_block_endkey_offset'] + keys[-1] > len(data):
            raise _bad('end keys run over the end', at)
    if offsets[0] != 0 or offsets[-1] != h['micro_block_data_size'] or base + offsets[-1] > len(data):
        raise _bad('micro index does not cover the micro blocks', at)
    out, fold = [], 0
    for i in range(k):
        m = _get_record(data, base + offsets[i], MAGIC_LOB_MICRO if lob else MAGIC_MICRO)
        if m.start + m.zlength - base != offsets[i + 1]:
            raise _bad('micro block %d ends at %d, index says %d' % (i, m.start + m.zlength - base, offsets[i + 1]), at)
        fold = crc_chain(fold, m.checksum)
        out.append(m)
    if fold != h['data_checksum']:
        raise _bad('fold of the micro checksums is %x, header says %x' % (fold, h['data_checksum']), 120)
    return out


_SAME = ('column_number', 'rowkey_column_number', 'row_count', 'occupy_size', 'data_checksum', 'micro_block_count',
         'micro_block_data_offset', 'micro_block_index_offset', 'table_id', 'data_version', 'data_seq',
         'column_index_scale', 'row_store_type', 'column_checksum')


def check_block(data, meta=None, schema=None):
    """Checks one block completely and, when its stored meta is given, that both say the same -> MacroBlock."""
    data = memoryview(data)
    attr, data_version, payload_size = check_common(data)
    lob = attr != ATTR_DATA
    h = _get_head(data, attr)
    if h['occupy_size'] != COMMON_LEN + payload_size:
        raise _bad('occupy_size %d, payload %d' % (h['occupy_size'], payload_size), COMMON_LEN + 52)
    if h['data_version'] != data_version:
        raise _bad('data_version %d in the common header, %d in the next' % (data_version, h['data_version']), 16)
    block = MacroBlock(data[:h['occupy_size']], h, h['compressor'], _get_micros(data, h, lob))
    if meta is not None:
        _compare(h, attr, meta, schema, lob, len(data))
    return block


def _compare(h, attr, meta, schema, lob, length):
    if attr != meta['attr']:
        raise _bad('attribute %d, meta %d' % (attr, meta['attr']), 12)
    if length != meta['occupy_size']:
        raise _bad('%d bytes stored, meta says occupy_size %d' % (length, meta['occupy_size']), 0)
    for n in _SAME:
        if h[n] != meta[n]:
            raise _bad('%s is %s, meta says %s' % (n, h[n], meta[n]), COMMON_LEN)
    if not lob and (h['micro_block_endkey_offset'] != meta['micro_block_endkey_offset']
                    or h['partition_id'] != meta['partition_id']):
        raise _bad('end key offset or partition id differs from the meta', COMMON_LEN)
    for n in ('compressor', 'ids', 'types', 'orders'):
        if h[n] != schema[n]:
            raise _bad('%s is %s, schema says %s' % (n, h[n], schema[n]), COMMON_LEN)
    for n in ('column_number', 'rowkey_column_number', 'schema_version', 'schema_rowkey_col_cnt'):
        if meta[n] != schema[n]:
            raise _bad('%s is %s in the meta, %s in the schema' % (n, meta[n], schema[n]), 0)
