"""digest.py - canonical digests of rows (CONTRACT.md 6) and the row files a restore writes (CONTRACT.md 9)."""
import hashlib
import os
import struct

_HEAD = struct.Struct('>QI')
_LEN = struct.Struct('>I')
_ROW = struct.Struct('<QIIq')
MAGIC = b'OBVROWS1'
END = (1 << 64) - 1


class RowWriter:
    """Writes one PG's rows and digests them on the way; rows come sorted by (index low id, key)."""

    def __init__(self, path):
        self.path = path
        self.tmp = path + '.tmp'
        self.file = open(self.tmp, 'wb', buffering=1 << 20)
        self.file.write(MAGIC)
        self.sha = hashlib.sha256()
        self.rows = 0

    def add(self, index_low, key, value, version):
        self.file.write(_ROW.pack(index_low, len(key), len(value), version))
        self.file.write(key)
        self.file.write(value)
        self.sha.update(_HEAD.pack(index_low, len(key)) + key + _LEN.pack(len(value)) + value)
        self.rows += 1

    def close(self):
        """-> (rows, digest); the file appears under its name only now."""
        self.file.write(_ROW.pack(END, 0, 0, self.rows))
        self.file.close()
        os.rename(self.tmp, self.path)
        return self.rows, self.sha.hexdigest()

    def abort(self):
        self.file.close()
        os.unlink(self.tmp)


EMPTY = hashlib.sha256().hexdigest()


def tenant_digest(pgs):
    """pgs: (low id, partition_id, rows, hex) of all non-private PGs of the schema at T."""
    sha = hashlib.sha256()
    for low, part, rows, digest in sorted(pgs):
        sha.update(b'%d/%d %d %s\n' % (low, part, rows, digest.encode()))
    return sha.hexdigest()


def read_rows(path):
    """A row file -> yields (index low id, key, value, version)."""
    with open(path, 'rb') as f:
        buf = f.read()
    if buf[:8] != MAGIC:
        raise ValueError('%s: not a row file' % path)
    p = 8
    count = 0
    while True:
        index, key_len, value_len, version = _ROW.unpack_from(buf, p)
        p += _ROW.size
        if index == END:
            if version != count or p != len(buf):
                raise ValueError('%s: %d rows, end record says %d' % (path, count, version))
            return
        yield index, buf[p:p + key_len], buf[p + key_len:p + key_len + value_len], version
        p += key_len + value_len
        count += 1
