"""obcodec.py - OceanBase serialization: varints, UNIS envelopes, fixed and variable strings, keys, checksums.

A record is described once, as a Struct of (name, kind) members; decoding and encoding follow from it. Decoding is as
tolerant as OceanBase's (missing trailing members, extra bytes, long varints); strict callers compare with the encoding.
"""
import struct

import crcmod

from errors import OB_BUF_NOT_ENOUGH, OB_DESERIALIZE_ERROR, OB_NOT_SUPPORTED, ObError

M64 = (1 << 64) - 1
INT64_MAX = (1 << 63) - 1

_crc = crcmod.mkCrcFun(0x11EDC6F41, initCrc=0, rev=True, xorOut=0)


def crc64(data, init=0):
    """ob_crc64: the raw CRC-32C register, no inversion, zero-extended; an empty buffer returns init."""
    return _crc(data, init & 0xFFFFFFFF) if len(data) else init


def crc_chain(init, value):
    """ob_crc64 over the 8 little-endian bytes of value: the accumulated checksum of logs and of micro blocks."""
    return _crc((value & M64).to_bytes(8, 'little'), init & 0xFFFFFFFF)


def fold64(v):
    v &= M64
    return (v ^ v >> 16 ^ v >> 32 ^ v >> 48) & 0xFFFF


def fold32(v):
    v &= 0xFFFFFFFF
    return (v ^ v >> 16) & 0xFFFF


def murmur64a(data, seed):
    m, r = 0xC6A4A7935BD1E995, 47
    h = seed ^ (len(data) * m & M64)
    whole = len(data) & ~7
    for (k,) in struct.iter_unpack('<Q', data[:whole]):
        k = k * m & M64
        k = (k ^ k >> r) * m & M64
        h = (h ^ k) * m & M64
    tail = data[whole:]
    if tail:
        h = (h ^ int.from_bytes(tail, 'little')) * m & M64
    h = (h ^ h >> r) * m & M64
    return h ^ h >> r


def pkey_hash(table_id, part_id, assist):
    h = murmur64a(struct.pack('<Q', table_id), 0)
    h = murmur64a(struct.pack('<I', part_id & 0xFFFFFFFF), h)
    return murmur64a(struct.pack('<I', assist & 0xFFFFFFFF), h)


def signed(v, bits):
    v &= (1 << bits) - 1
    return v - (1 << bits) if v >> (bits - 1) else v


# ---- primitives: decode(buf, pos, end) -> (value, pos) ----

def get_varint(buf, pos, end):
    v = shift = 0
    while pos < end:
        b = buf[pos]
        pos += 1
        if shift < 64:
            v |= (b & 0x7F) << shift
        if b < 0x80:
            return v & M64, pos
        shift += 7
    raise ObError(OB_DESERIALIZE_ERROR, 'number runs over the end', offset=pos)


def put_varint(v, bits=64):
    v &= (1 << bits) - 1
    out = bytearray()
    while v >= 0x80:
        out.append(v & 0x7F | 0x80)
        v >>= 7
    out.append(v)
    return bytes(out)


def _need(pos, n, end, what):
    if n < 0 or pos + n > end:
        raise ObError(OB_DESERIALIZE_ERROR, '%s runs over the end' % what, offset=pos)


def _get_v64(b, p, e):
    v, p = get_varint(b, p, e)
    return signed(v, 64), p


def _get_v32(b, p, e):
    v, p = get_varint(b, p, e)
    return signed(v, 32), p


def _get_vu32(b, p, e):
    v, p = get_varint(b, p, e)
    return v & 0xFFFFFFFF, p


def _get_i8(b, p, e):
    _need(p, 1, e, 'byte')
    return signed(b[p], 8), p + 1


def _get_bool(b, p, e):
    _need(p, 1, e, 'bool')
    return b[p] != 0, p + 1


def _get_i64be(b, p, e):
    _need(p, 8, e, 'i64')
    return int.from_bytes(b[p:p + 8], 'big', signed=True), p + 8


def get_vstr(buf, pos, end):
    """vstr: length, bytes, one NUL that the length does not count."""
    n, p = get_varint(buf, pos, end)
    _need(p, n + 1, end, 'string of %d bytes' % n)
    return bytes(buf[p:p + n]), p + n + 1


def _get_carr(b, p, e):
    """char[N]: length with the NUL, then the string and its NUL."""
    n, p = get_varint(b, p, e)
    _need(p, n, e, 'char array of %d bytes' % n)
    return bytes(b[p:p + n]).split(b'\0', 1)[0], p + n


class PKey(tuple):
    """Partition or PG key: (table_id, part_id, assist), 16 bytes without an envelope."""
    __slots__ = ()

    def __new__(cls, table_id, part_id, assist=0):
        return tuple.__new__(cls, (table_id, part_id, assist))

    def __getnewargs__(self):  # travels between processes word by word
        return tuple(self)

    table_id = property(lambda s: s[0])
    part_id = property(lambda s: s[1])
    assist = property(lambda s: s[2])

    @property
    def partition_id(self):
        """The 64-bit id of SQL and file names: one-level keys have it in part_id, two-level ones in both words."""
        if self[1] & 0xF0000000 and self[2] & 0xF0000000:
            return self[1] << 32 | self[2]
        return self[1]

    @property
    def low(self):
        return self[0] & (1 << 40) - 1

    @property
    def tenant_id(self):
        return self[0] >> 40

    @property
    def is_trans(self):
        return self.low >> 38 == 3

    @property
    def is_tablegroup(self):
        return self.low >> 38 == 2

    @property
    def is_sys(self):
        return 1 <= self.low <= 10000

    @property
    def is_inner(self):
        return self.low <= 50000

    def trans_key(self):
        return PKey(self[0] | 0xC000000000, self[1], self[2])

    def __str__(self):
        return '%d/%d' % (self[0], self.partition_id) + ('' if not self[2] or self[1] & 0xF0000000 else '+%d' % self[2])


def _get_pkey(b, p, e):
    _need(p, 16, e, 'partition key')
    return PKey(*struct.unpack_from('>Qii', b, p)), p + 16


def _get_proposal(b, p, e):
    _need(p, 17, e, 'proposal id')
    version, addr, ts = struct.unpack_from('>BQq', b, p)
    return {'version': version, 'ip': addr >> 32, 'port': addr & 0xFFFFFFFF, 'ts': ts}, p + 17


def _put_proposal(v):
    return struct.pack('>BQq', v['version'], v['ip'] << 32 | v['port'], v['ts'])


KINDS = {
    'v64': (_get_v64, put_varint),
    'vu64': (get_varint, put_varint),
    'v32': (_get_v32, lambda v: put_varint(v, 32)),
    'vu32': (_get_vu32, lambda v: put_varint(v, 32)),
    'i8': (_get_i8, lambda v: bytes([v & 0xFF])),
    'bool': (_get_bool, lambda v: b'\1' if v else b'\0'),
    'i64be': (_get_i64be, lambda v: struct.pack('>q', v)),
    'vstr': (get_vstr, lambda v: put_varint(len(v)) + v + b'\0'),
    'carr': (_get_carr, lambda v: put_varint(len(v) + 1) + v + b'\0'),
    'pkey': (_get_pkey, lambda v: struct.pack('>Qii', *v)),
    'proposal': (_get_proposal, _put_proposal),
}


class _Plain:
    def __init__(self, get, put):
        self.get = get
        self.put = put


def kind(k):
    return _Plain(*KINDS[k]) if isinstance(k, str) else k


class Array:
    """ob arrays: vi64 count, then the items."""

    def __init__(self, item, fixed=None):
        self.item = kind(item)
        self.fixed = fixed  # a native array of that many items has no count

    def get(self, b, p, e):
        n = self.fixed
        if n is None:
            n, p = get_varint(b, p, e)
            if n > e - p:
                raise ObError(OB_DESERIALIZE_ERROR, 'array of %d items runs over the end' % n, offset=p)
        out = []
        get = self.item.get
        for _ in range(n):
            v, p = get(b, p, e)
            out.append(v)
        return out, p

    def put(self, v):
        return (b'' if self.fixed is not None else put_varint(len(v))) + b''.join(self.item.put(x) for x in v)


class Struct:
    """A UNIS object: version, body length as a 5-byte varint, members in order."""

    def __init__(self, name, version, members):
        self.name = name
        self.version = version
        self.members = [(n, kind(k)) for n, k in members]

    def get(self, b, p, e):
        start = p
        version, p = get_varint(b, p, e)
        if version != self.version:
            raise ObError(OB_NOT_SUPPORTED, '%s has version %d, not %d' % (self.name, version, self.version), offset=start)
        n, p = get_varint(b, p, e)
        if n > e - p:
            raise ObError(OB_DESERIALIZE_ERROR, '%s of %d bytes runs over the end' % (self.name, n), offset=start)
        stop = p + n
        out = {}
        for name, k in self.members:
            if p >= stop:
                break
            out[name], p = k.get(b, p, stop)
        return out, stop

    def put(self, v):
        return envelope(self.version, b''.join(k.put(v[n]) for n, k in self.members))

    def decode(self, buf, pos=0):
        """A whole buffer as one object -> dict; bytes left over are an error."""
        v, p = self.get(buf, pos, len(buf))
        if p != len(buf):
            raise ObError(OB_DESERIALIZE_ERROR, '%d bytes follow %s' % (len(buf) - p, self.name), offset=p)
        return v

    def missing(self, v):
        return [n for n, _ in self.members if n not in v]


def envelope(version, body):
    n = len(body)
    return put_varint(version) + bytes([n >> 7 * i & 0x7F | 0x80 for i in range(4)]) + bytes([n >> 28 & 0x7F]) + body


FIXED_STRING = Struct('ObFixedLengthString', 1, [('s', 'carr')])


def _get_fix(b, p, e):
    v, p = FIXED_STRING.get(b, p, e)
    return v.get('s', b''), p


KINDS['fix'] = (_get_fix, lambda v: FIXED_STRING.put({'s': v}))


# ---- ObObj and row keys, as in the end key of a macro block's meta ----

# type number -> kind of the value; 0 null has none
_OBJ = {1: 'i8', 2: 'v32', 3: 'v32', 4: 'v32', 5: 'v64', 6: 'i8', 7: 'vu32', 8: 'vu32', 9: 'vu32', 10: 'vu64',
        11: 'vu32', 12: 'vu64', 13: 'vu32', 14: 'vu64', 17: 'v64', 18: 'v64', 19: 'v32', 20: 'v64', 21: 'i8',
        22: 'vstr', 23: 'vstr', 24: 'vstr', 27: 'vstr', 28: 'vstr', 29: 'vstr', 30: 'vstr', 31: 'vu64', 32: 'vu64',
        33: 'vu64'}
OBJ_NULL, OBJ_NUMBERS, OBJ_INT, OBJ_VARCHAR = 0, (15, 16), 5, 22


def get_obj(b, p, e):
    """One ObObj -> ((meta bytes, value), pos)."""
    _need(p, 4, e, 'object meta')
    meta = bytes(b[p:p + 4])
    p += 4
    t = meta[0]
    if t == OBJ_NULL:
        return (meta, None), p
    if t in OBJ_NUMBERS:
        _need(p, 4, e, 'number')
        desc = int.from_bytes(b[p:p + 4], 'big')
        n = desc & 0xFF
        _need(p + 4, 4 * n, e, 'number digits')
        return (meta, (desc, struct.unpack_from('<%dI' % n, b, p + 4))), p + 4 + 4 * n
    if t not in _OBJ:
        raise ObError(OB_NOT_SUPPORTED, 'object type %d' % t, offset=p - 4)
    v, p = KINDS[_OBJ[t]][0](b, p, e)
    return (meta, v), p


def put_obj(obj):
    meta, v = obj
    t = meta[0]
    if t == OBJ_NULL:
        return meta
    if t in OBJ_NUMBERS:
        return meta + struct.pack('>I', v[0]) + struct.pack('<%dI' % len(v[1]), *v[1])
    return meta + KINDS[_OBJ[t]][1](v)


def get_rowkey(b, p, e):
    n, p = get_varint(b, p, e)
    if n > (e - p) // 4:
        raise ObError(OB_BUF_NOT_ENOUGH, 'row key of %d columns' % n, offset=p)
    out = []
    for _ in range(n):
        o, p = get_obj(b, p, e)
        out.append(o)
    return out, p
