"""gen_block.py - writes macro blocks with the rows of CONTRACT.md; only the tests of this reader use it."""
import struct

import lz4.block
import zstandard

import macroblock as B
import media as M
import records as R
import rows as W
from obcodec import crc64, crc_chain, fold64, put_obj, put_varint

OBJ_META = {'int': bytes.fromhex('05053fff'), 'text': bytes.fromhex('16022dff')}
TYPES = bytes.fromhex('16022dff16022dff')
IDS = (16, 17)


def _record(stored, length):
    f = (B.MAGIC_MICRO, 32, 2, 0, 0, length, len(stored), crc64(stored))
    x = f[0] ^ f[1] ^ f[2] ^ fold64(length) ^ fold64(len(stored)) ^ fold64(f[7])
    return B.RECORD.pack(*f[:3], x & 0xFFFF, *f[4:]) + stored, f[7]


def _micro(rows, compressor):
    area, offsets = b'', [0]
    for r in rows:
        area += W.ROW.pack(r.op, r.state, len(r.key), len(r.value), r.version, r.trans_id, r.redo_ts) + r.key + r.value
        offsets.append(len(area))
    head = W.MICRO.pack(28, 1, 1005, 0, 2, 28 + len(area), len(rows))
    raw = head + area + struct.pack('<%di' % len(offsets), *offsets)
    if compressor == b'lz4_1.0':
        stored = lz4.block.compress(raw, store_size=False)
    elif compressor == b'zstd_1.3.8':
        stored = zstandard.ZstdCompressor().compress(raw)
    else:
        stored = raw
    return _record(stored if len(stored) < len(raw) else raw, len(raw))


def macro_block(rows, key, data_version, data_seq, compressor=b'lz4_1.0', micro_rows=8, schema_version=1):
    """-> (full meta bytes, block bytes, facts) of the rows; key is the table key they belong to."""
    micros = [_micro(rows[i:i + micro_rows], compressor) for i in range(0, len(rows), micro_rows)]
    ends = [rows[min(i + micro_rows, len(rows)) - 1].key for i in range(0, len(rows), micro_rows)]
    n, k = len(IDS), len(micros)
    header_size = B.SSTABLE_LEN + 18 * n
    base = B.COMMON_LEN + header_size
    area = b''.join(m for m, _ in micros)
    index, at, key_at = [], 0, 0
    for (m, _), e in zip(micros, ends):
        index += [at, key_at]
        at, key_at = at + len(m), key_at + len(e)
    index = struct.pack('<%di' % (2 * k + 2), *index, at, key_at)
    tail = index + b''.join(ends)
    fold = 0
    for _, c in micros:
        fold = crc_chain(fold, c)
    sums = tuple(crc64(b''.join(getattr(r, f) for r in rows)) for f in ('key', 'value'))
    partition = key['pkey'].partition_id
    index_at = base + len(area)
    head = B.SSTABLE.pack(header_size, 3, B.MAGIC_SSTABLE, 0, key['table_id'], data_version, n, 1, 1, 0, len(rows),
                          base + len(area) + len(tail), k, 16384, base, len(area), index_at, len(index),
                          index_at + len(index), key_at, fold, compressor, 0, 0, bytes(16), data_seq, partition)
    body = head + struct.pack('<%dH' % n, *IDS) + TYPES + bytes(4 * n) + struct.pack('<%dq' % n, *sums) + area + tail
    common = B.COMMON.pack(32, 1, B.MAGIC_COMMON, 1, data_version, len(body), crc64(body))
    block = common + body
    last = rows[-1].key
    obj = (OBJ_META['int'], int.from_bytes(last, 'big')) if len(last) == 8 else (OBJ_META['text'], last)
    meta = B._META1.pack(1, data_version, n, 1, 1, 0, len(rows), len(block), fold, k, base, index_at,
                         index_at + len(index)) + struct.pack('<%dq' % n, *sums) + put_varint(1) + put_obj(obj)
    meta += B._META2.pack(key['table_id'], data_seq, schema_version, 1, 1, 0, 0, 0, 0, partition, 2, 0, 0, 0, bytes(16),
                          0, max(r.version for r in rows))
    meta = struct.pack('<ii', len(meta) + 8, 2) + meta
    schema = struct.pack('<hhqh', n, 1, schema_version, 1) + compressor + b'\0' + struct.pack('<%dH' % n, *IDS) + TYPES
    schema += bytes(4 * n)
    meta += struct.pack('<ii', len(schema) + 8, 1) + schema
    return meta, block, {'rows': len(rows), 'size': len(block), 'fold': fold, 'sums': sums, 'data_version': data_version,
                         'data_seq': data_seq}


def macro_media(meta, block):
    """The block as it lies in a macro_block file."""
    return M.put_block(M.TYPE_MACRO_DATA, R.MACRO_DATA.put({'meta': meta, 'data': block}))


def sstable_meta(key, facts, schema_version, upper):
    """ObSSTableBaseMeta that fits the blocks."""
    fold, sums = 0, [0] * len(IDS)
    for f in facts:
        fold = crc_chain(fold, f['fold'])
        sums = [a + b for a, b in zip(sums, f['sums'])]
    m = {n: 0 for n, _ in R.SSTABLE_META.members}
    columns = [{'column_id': i, 'column_default_checksum': 0, 'column_checksum': s} for i, s in zip(IDS, sums)]
    m.update(index_id=key['table_id'], row_count=sum(f['rows'] for f in facts), data_checksum=fold, schema_version=schema_version,
             occupy_size=sum(f['size'] for f in facts), data_version=1, rowkey_column_count=1, table_type=3,
             macro_block_count=len(facts), column_cnt=len(IDS), column_metas=columns, total_sstable_count=1,
             sstable_format_version=6, max_logic_block_index=len(facts) - 1, build_on_snapshot=False,
             checksum_method=2, new_column_metas=columns, logical_data_version=1, has_compact_row=True,
             pg_key=key['pkey'], contain_uncommitted_row=False, upper_trans_version=upper)
    return m
