"""archive.py - log archive media: data blocks, log entries, index records, archive_key, server start files.

The readers raise where OceanBase's restore raises (format-clog-archive 6.2); block data checksums and trailing offsets,
which it does not look at, are verified only when asked (strict=True).
"""
import struct
from typing import NamedTuple

import lz4.block
import zstandard

from errors import (OB_CHECKSUM_ERROR, OB_DESERIALIZE_ERROR, OB_ERR_COMPRESS_DECOMPRESS_DATA, OB_ERR_UNEXPECTED,
                    OB_INVALID_DATA, ObError)
from obcodec import PKey, crc64, pkey_hash

META_LEN, TAIL_LEN, ENTRY_LEN, CHUNK_LEN, INDEX_LEN, KEY_LEN, START_LEN = 104, 4, 105, 16, 144, 168, 24
FILE_MAX, INDEX_FILE_MAX, RAW_MAX, READ_UNIT = 67108864, 65536, 1966080, 1966480
MAGIC_BLOCK, MAGIC_INDEX, MAGIC_KEY, MAGIC_CHUNK, MAGIC_ENTRY = 0x4142, 0x4149, 0x414B, 0x4343, 0x4552
BATCH_BIT = 1 << 63

LOG_MEMBERSHIP, LOG_PREPARED, LOG_NOP, LOG_START_MEMBERSHIP, LOG_RENEW = 101, 102, 103, 104, 106
LOG_STANDBY_PREPARED, LOG_TRUNCATE, LOG_SUBMIT, LOG_AGGRE, LOG_CHECKPOINT, LOG_KICKOFF = 107, 108, 201, 202, 301, 302
LOCAL_ONLY = (LOG_PREPARED, LOG_STANDBY_PREPARED, LOG_RENEW)
TS_MAY_STAY = (LOG_NOP, LOG_TRUNCATE)

_BLOCK = struct.Struct('>hhiqqqQqQqqqqqq')
_BLOCK_IMAGE = struct.Struct('<hhiqqqQqQqqqqq')
_ENTRY = struct.Struct('>hhIQiiQqqqBqqQqqq')
_ENTRY_IMAGE = struct.Struct('<hhIQiiQQqqqiI12xiqQqq')
_CHUNK = struct.Struct('>hhiii')
_INDEX = struct.Struct('>hhhhQqqqqQqQqqqQqqqqq')
_INDEX_IMAGE = struct.Struct('<hhhhQqqqqQqQqqqQqqqq')


class Block(NamedTuple):
    magic: int
    version: int
    total_len: int
    timestamp: int
    clog_epoch_id: int
    accum_checksum: int
    min_log_id_in_file: int
    min_log_ts_in_file: int
    max_log_id: int
    max_checkpoint_ts: int
    max_log_submit_ts: int
    input_bytes: int
    output_bytes: int
    data_checksum: int
    meta_checksum: int

    def sum(self):
        return crc64(_BLOCK_IMAGE.pack(*self[:-1]))

    def pack(self):
        return _BLOCK.pack(*self)


class Entry(NamedTuple):
    magic: int
    version: int
    log_type: int
    table_id: int
    part_id: int
    assist: int
    log_id: int
    data_len: int
    generation_timestamp: int
    epoch_id: int
    proposal_version: int
    proposal_addr: int
    proposal_ts: int
    submit: int
    data_checksum: int
    freeze_version: int
    header_checksum: int
    data: memoryview

    @property
    def type(self):
        return self.log_type & 0x7FFFFFFF

    @property
    def is_trans(self):
        return bool(self.log_type >> 31)

    @property
    def submit_ts(self):
        return self.submit & ~BATCH_BIT

    @property
    def batch(self):
        return bool(self.submit & BATCH_BIT)

    @property
    def pkey(self):
        return PKey(self.table_id, self.part_id, self.assist)

    def sum(self):
        """Over the 120-byte image in memory; the batch-commit bit and the address version are not in it."""
        h = _hash(self.table_id, self.part_id, self.assist)
        addr = self.proposal_addr & 0xFFFFFFFFFFFFFFFF
        return crc64(_ENTRY_IMAGE.pack(
            self.magic, self.version, self.log_type, self.table_id, self.part_id, self.assist, h, self.log_id,
            self.data_len, self.generation_timestamp, self.epoch_id, 4, addr >> 32,
            addr & 0x7FFFFFFF, self.proposal_ts, self.submit_ts, self.data_checksum, self.freeze_version))

    def pack(self):
        return _ENTRY.pack(*self[:-1]) + bytes(self.data)


_hashes = {}


def _hash(*key):
    if key not in _hashes:
        _hashes[key] = pkey_hash(*key)
    return _hashes[key]


class Index(NamedTuple):
    magic: int
    record_len: int
    version: int
    is_effective: int
    data_file_id: int
    input_bytes: int
    output_bytes: int
    clog_epoch_id: int
    accum_checksum: int
    min_log_id: int
    min_log_ts: int
    max_log_id: int
    max_checkpoint_ts: int
    max_log_submit_ts: int
    round_start_ts: int
    round_start_log_id: int
    round_snapshot_version: int
    round_log_submit_ts: int
    round_clog_epoch_id: int
    round_accum_checksum: int
    checksum: int

    def image(self):
        return _INDEX_IMAGE.pack(*self[:-1])

    def sum(self):
        return crc64(self.image())

    @property
    def valid(self):
        return (self.magic == MAGIC_INDEX and self.record_len == INDEX_LEN and self.version == 1
                and self.sum() == self.checksum)

    def pack(self):
        return _INDEX.pack(*self)


class ArchiveKey(NamedTuple):
    magic: int
    version: int
    is_first_piece: int
    reserved: int
    max_index_file_id: int
    index: Index
    checksum: int

    def sum(self):
        """The image holds the index record as it lies in memory, its checksum included."""
        image = struct.pack('<hhhhQ', *self[:5]) + self.index.image() + struct.pack('<q', self.index.checksum)
        return crc64(image)

    def pack(self):
        return struct.pack('>hhhhQ', *self[:5]) + self.index.pack() + struct.pack('>q', self.checksum)


# ---- entries ----

def get_entry(buf, pos):
    """One serialized log entry -> (Entry, next position). Header and data checksums are verified."""
    if pos + ENTRY_LEN > len(buf):
        raise ObError(OB_DESERIALIZE_ERROR, 'log entry header runs over the end', offset=pos)
    f = _ENTRY.unpack_from(buf, pos)
    if f[0] != MAGIC_ENTRY:
        raise ObError(OB_INVALID_DATA, 'log entry magic %04x' % (f[0] & 0xFFFF), offset=pos)
    start = pos + ENTRY_LEN
    stop = start + f[7]
    if f[7] < 0 or stop > len(buf):
        raise ObError(OB_DESERIALIZE_ERROR, 'log entry of %d bytes runs over the end' % f[7], offset=pos)
    e = Entry(*f, buf[start:stop])
    if e.sum() != e.header_checksum:
        raise ObError(OB_INVALID_DATA, 'log entry header checksum', offset=pos)
    if crc64(e.data) != e.data_checksum:
        raise ObError(OB_INVALID_DATA, 'log entry data checksum', offset=pos)
    return e, stop


def get_entries(payload):
    """All entries of an opened block payload."""
    buf = memoryview(payload)
    pos, out = 0, []
    while pos < len(buf):
        e, pos = get_entry(buf, pos)
        out.append(e)
    return out


def open_payload(payload):
    """Stored payload -> (entries as bytes, compressor or 0)."""
    if len(payload) < 2:
        raise ObError(OB_INVALID_DATA, 'payload of %d bytes' % len(payload))
    magic = payload[0] << 8 | payload[1]
    if magic == MAGIC_ENTRY:
        return payload, 0
    if magic != MAGIC_CHUNK:
        raise ObError(OB_ERR_UNEXPECTED, 'payload magic %04x' % magic)
    if len(payload) < CHUNK_LEN:
        raise ObError(OB_DESERIALIZE_ERROR, 'compressed chunk runs over the end')
    _, version, method, orig, size = _CHUNK.unpack_from(payload, 0)
    if method not in (2, 8) or orig <= 0 or size <= 0:
        raise ObError(OB_INVALID_DATA, 'chunk of compressor %d, %d -> %d bytes' % (method, orig, size))
    if CHUNK_LEN + size > len(payload):
        raise ObError(OB_DESERIALIZE_ERROR, 'chunk of %d bytes in %d' % (size, len(payload) - CHUNK_LEN))
    stored = bytes(payload[CHUNK_LEN:CHUNK_LEN + size])
    try:
        if method == 2:
            out = lz4.block.decompress(stored, uncompressed_size=max(orig, RAW_MAX))
        else:
            out = zstandard.ZstdDecompressor().decompress(stored, max_output_size=max(orig, RAW_MAX))
    except (lz4.block.LZ4BlockError, zstandard.ZstdError) as e:
        raise ObError(OB_ERR_COMPRESS_DECOMPRESS_DATA, 'chunk: %s' % e) from e
    return out, method


def note_chunk(payload, opened, method, note):
    """A chunk must say its true lengths, fill the payload and be worth it."""
    if not method:
        return
    _, version, _, orig, size = _CHUNK.unpack_from(payload, 0)
    if version != 1 or orig != len(opened) or CHUNK_LEN + size != len(payload):
        note(0, 'format-clog-archive 4.1', 'chunk header: version %d, %d -> %d, really %d -> %d'
             % (version, orig, size, len(opened), len(payload) - CHUNK_LEN))
    if size >= orig:
        note(0, 'format-clog-archive 4.1', 'chunk of %d bytes compressed to %d' % (orig, size))


# ---- blocks ----

class DataBlock(NamedTuple):
    offset: int
    end: int
    meta: Block
    payload: memoryview


def get_block(buf, pos, strict=False):
    """One block at pos -> DataBlock; None when it is not fully present (torn tail)."""
    if pos + META_LEN > len(buf):
        return None
    m = Block(*_BLOCK.unpack_from(buf, pos))
    if m.magic != MAGIC_BLOCK or m.sum() != m.meta_checksum:
        raise ObError(OB_CHECKSUM_ERROR, 'archive block magic or meta checksum', offset=pos)
    if m.total_len < META_LEN:
        raise ObError(OB_INVALID_DATA, 'archive block of %d bytes' % m.total_len, offset=pos)
    end = pos + m.total_len + TAIL_LEN
    if end - TAIL_LEN > len(buf):
        return None
    payload = buf[pos + META_LEN:pos + m.total_len]
    if strict:
        if end > len(buf):
            raise ObError(OB_DESERIALIZE_ERROR, 'trailing offset is cut off', offset=pos)
        if crc64(payload) != m.data_checksum:
            raise ObError(OB_CHECKSUM_ERROR, 'archive block data checksum', offset=pos)
        if int.from_bytes(buf[end - TAIL_LEN:end], 'big') != pos:
            raise ObError(OB_CHECKSUM_ERROR, 'trailing offset is not %d' % pos, offset=end - TAIL_LEN)
    return DataBlock(pos, end, m, payload)


def get_blocks(buf, strict=False):
    """Blocks of a data file in order; a torn tail ends the file silently."""
    buf = memoryview(buf)
    pos = 0
    while pos < len(buf):
        b = get_block(buf, pos, strict)
        if b is None:
            return
        yield b
        pos = b.end


def get_index(buf, pos=0):
    return Index(*_INDEX.unpack_from(buf, pos))


def get_index_records(buf, note=None):
    """Valid records of an index file. OceanBase skips bad ones and stops silently at a short tail."""
    out = []
    for pos in range(0, len(buf) - INDEX_LEN + 1, INDEX_LEN):
        r = get_index(buf, pos)
        if r.valid:
            out.append(r)
        elif note:
            note(pos, 'format-clog-archive 4.3', 'index record with a bad magic or checksum')
    if note and len(buf) % INDEX_LEN:
        note(len(buf) - len(buf) % INDEX_LEN, 'format-clog-archive 4.3', 'short tail in an index file')
    if note and len(buf) > INDEX_FILE_MAX:
        note(INDEX_FILE_MAX, 'format-clog-archive 4.3', 'index file of %d bytes' % len(buf))
    return out


def get_archive_key(buf):
    if len(buf) != KEY_LEN:
        raise ObError(OB_DESERIALIZE_ERROR, 'archive_key of %d bytes' % len(buf), offset=0)
    k = ArchiveKey(*struct.unpack_from('>hhhhQ', buf, 0), get_index(buf, 16), *struct.unpack_from('>q', buf, 160))
    if k.magic != MAGIC_KEY or k.version != 1 or k.sum() != k.checksum:
        raise ObError(OB_CHECKSUM_ERROR, 'archive_key magic or checksum', offset=0)
    if not k.index.valid:
        raise ObError(OB_CHECKSUM_ERROR, 'index record of the archive_key', offset=16)
    return k


def get_server_start(buf):
    """clog_info/<server> -> (round, start_ts)."""
    if len(buf) != START_LEN:
        raise ObError(OB_DESERIALIZE_ERROR, 'server start file of %d bytes' % len(buf), offset=0)
    checksum, round_id, ts = struct.unpack('>qqq', buf)
    if crc64(struct.pack('<qq', round_id, ts)) != checksum:
        raise ObError(OB_CHECKSUM_ERROR, 'server start file checksum', offset=0)
    return round_id, ts


# ---- writing, for the tests of this reader ----

def put_chunk(entries, method):
    if method == 2:
        z = lz4.block.compress(entries, store_size=False)
    else:
        z = zstandard.ZstdCompressor(level=1).compress(entries)
    return _CHUNK.pack(MAGIC_CHUNK, 1, method, len(entries), len(z)) + z


def put_data_block(offset, payload, **fields):
    m = Block(MAGIC_BLOCK, 1, META_LEN + len(payload), fields['timestamp'], fields['clog_epoch_id'],
              fields['accum_checksum'], fields['min_log_id_in_file'], fields['min_log_ts_in_file'],
              fields['max_log_id'], fields['max_checkpoint_ts'], fields['max_log_submit_ts'], 0, 0, crc64(payload), 0)
    m = m._replace(meta_checksum=m.sum())
    return m.pack() + payload + struct.pack('>i', offset)


def put_index(**fields):
    r = Index(magic=MAGIC_INDEX, record_len=INDEX_LEN, version=1, input_bytes=0, output_bytes=0, checksum=0, **fields)
    return r._replace(checksum=r.sum())


def put_archive_key(is_first, max_index_file_id, index):
    k = ArchiveKey(MAGIC_KEY, 1, int(is_first), 0, max_index_file_id, index, 0)
    return k._replace(checksum=k.sum()).pack()


def put_entry(log_type, pkey, log_id, submit_ts, data, epoch_id, gen_ts, addr=0, proposal_ts=-1, freeze=1):
    e = Entry(MAGIC_ENTRY, 1, log_type, *pkey, log_id, len(data), gen_ts, epoch_id, 4, addr, proposal_ts, submit_ts,
              crc64(data), freeze, 0, memoryview(data))
    return e._replace(header_checksum=e.sum())
