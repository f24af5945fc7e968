"""hostshim - what a host does to a daemon that cannot be had on demand: errors of single calls, short writes, a clock that jumps

Drives tests/faults/hostshim.c, which a daemon loads when its environment comes from Shim.env().
"""
import errno
import mmap
import os
import struct

FSYNC, WRITE, CLOSE, CREATE = 1, 2, 4, 8
LAYOUT = struct.Struct("<iiiiq1000s")  # struct control of hostshim.c
ALL = -1


class Shim:
    """The switch of one daemon."""

    def __init__(self, build, path, root, uid=None):
        self.build, self.path, self.root = build, path, root
        with open(path, "wb") as f:
            f.write(LAYOUT.pack(0, 0, 0, 0, 0, root.encode()))
        if uid is not None:
            os.chown(path, uid, uid)
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), LAYOUT.size)

    def env(self):
        return {"LD_PRELOAD": f"{self.build}/tests/faults/hostshim.so", "OBV_HOSTSHIM": self.path}

    def arm(self, calls, error, count=ALL, below=""):
        """error 0 with WRITE: short writes; below: only files in that folder of the root."""
        struct.pack_into("<1000s", self.map, 24, os.path.join(self.root, below).encode())
        struct.pack_into("<iiii", self.map, 0, calls, error, count, 0)

    def disarm(self):
        """Returns how many calls were disturbed."""
        fired = self.fired()
        struct.pack_into("<iiii", self.map, 0, 0, 0, 0, 0)
        return fired

    def fired(self):
        return struct.unpack_from("<i", self.map, 12)[0]

    def clock(self, seconds):
        """Shifts CLOCK_REALTIME from the true one."""
        struct.pack_into("<q", self.map, 16, int(seconds * 1_000_000))


EDQUOT, EIO, EROFS, ENOSPC = errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOSPC
