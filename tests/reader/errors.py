"""errors.py - OceanBase 3.1 error numbers and the one exception that carries them.

A rejection is what stock OceanBase would answer; it always has a number. A finding (findings.py) is what our own
trees must not have even where OceanBase would let it pass.
"""

OB_INVALID_ARGUMENT = -4002
OB_NOT_SUPPORTED = -4007
OB_ITER_END = -4008
OB_IO_ERROR = -4009
OB_ERR_SYS = -4015
OB_ERR_UNEXPECTED = -4016
OB_ENTRY_NOT_EXIST = -4018
OB_SIZE_OVERFLOW = -4019
OB_EAGAIN = -4023
OB_BUF_NOT_ENOUGH = -4024
OB_DESERIALIZE_ERROR = -4034
OB_INVALID_ERROR = -4055
OB_INVALID_DATA = -4070
OB_CHECKSUM_ERROR = -4103
OB_PHYSIC_CHECKSUM_ERROR = -4108
OB_SNAPSHOT_DISCARDED = -4138
OB_OP_NOT_ALLOW = -4179
OB_ERR_COMPRESS_DECOMPRESS_DATA = -4257
OB_ISOLATED_BACKUP_SET = -9048
OB_ARCHIVE_LOG_NOT_CONTINUES_WITH_DATA = -9064

NAMES = {v: k for k, v in list(globals().items()) if k.startswith('OB_') and isinstance(v, int)}


class ObError(Exception):
    """A rejection with OceanBase's number; path and offset say where the bad bytes are."""

    def __init__(self, rc, text, path=None, offset=None):
        super().__init__(text)
        self.rc = rc
        self.text = text
        self.path = path
        self.offset = offset

    def __reduce__(self):  # an error of a worker reaches its parent whole
        return ObError, (self.rc, self.text, self.path, self.offset)

    @property
    def name(self):
        return NAMES.get(self.rc, 'OB_%d' % self.rc)

    def at(self, path=None, offset=None):
        """Fills in the place where it is still unknown; returns itself for 'raise e.at(...)'."""
        if self.path is None:
            self.path = path
        if self.offset is None:
            self.offset = offset
        return self

    def __str__(self):
        where = '' if self.path is None else ' in %s' % self.path
        if self.offset is not None:
            where += ' at %d' % self.offset
        return '%s (%d): %s%s' % (self.name, self.rc, self.text, where)
