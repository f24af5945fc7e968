"""log_truth - what the stand-in has logged against what the destination holds (tests/accept/03-log-archive)

The stand-in keeps every log that it ever made on its bus (tests/observer/cluster.h): one ordered stream of records. The
destination is read with tests/reader. Nothing of the product is asked: a log that counts into a published checkpoint
must be there, byte for byte as its data checksum says.
"""
import os
import re
import struct
import sys

import harness

sys.path.insert(0, os.path.join(harness.ROOT, "tests", "reader"))
import archive as A  # noqa: E402
import media as M  # noqa: E402
import records as R  # noqa: E402
from errors import ObError  # noqa: E402
from obcodec import PKey  # noqa: E402
from rows import PRIVATE_TABLES  # noqa: E402
from tree import numbered, read  # noqa: E402

SEGMENT = 64 << 20
BUS_LOG, BUS_PAD = 1, 2
_RECORD = struct.Struct("<IIIIqqQIIII")
_ENTRY = struct.Struct(">hhIQiiQqqqBqqQqqq")
LOW = (1 << 40) - 1
OFFLINE = (20001, 20002)
ROUND = re.compile(r"(\d+)(?:_(\d+)_\d{8})?\Z")


class Bus:
    """{(table id, partition id): {log id: (submit_ts, data checksum, repeats the time before it?)}}, grown by each read()."""

    def __init__(self, shared):
        self.dir, self.pos, self.logs, self.offline, self.count = os.path.join(shared, "bus"), 0, {}, {}, 0

    def read(self):
        while self._segment(self.pos // SEGMENT):
            pass
        return self

    def _segment(self, number):
        """Whether the next segment may have begun."""
        try:
            f = open(os.path.join(self.dir, str(number)), "rb")
        except FileNotFoundError:
            return False
        with f:
            f.seek(self.pos % SEGMENT)
            buf = f.read()
        at, base = 0, self.pos
        while at + _RECORD.size <= len(buf):
            length, kind, _, size, _, submit, log_id, _, kind_of_log, _, _ = _RECORD.unpack_from(buf, at)
            if length == 0 or at + length > len(buf):
                break  # the writers have come up to here
            if kind == BUS_LOG:
                self._log(buf, at + _RECORD.size, size, submit, log_id, kind_of_log & 0x7FFFFFFF)
            at += length
            if kind == BUS_PAD:
                break
        self.pos = base + at
        return at > 0 and self.pos % SEGMENT == 0

    def _log(self, buf, at, size, submit, log_id, kind):
        if kind in A.LOCAL_ONLY or kind == A.LOG_CHECKPOINT:
            return
        e = _ENTRY.unpack_from(buf, at)
        key = (e[3], PKey(e[3], e[4], e[5]).partition_id)
        self.logs.setdefault(key, {})[log_id] = (submit, e[14], kind in A.TS_MAY_STAY)
        self.count += 1
        if kind == A.LOG_SUBMIT and size >= _ENTRY.size + 8 and struct.unpack_from(">q", buf, at + _ENTRY.size)[0] in OFFLINE:
            self.offline[key] = log_id


class Stored:
    """The same of the destination: {round: {PG: {log id: data checksum}}}, grown by each read()."""

    def __init__(self, dest, tenants):
        self.dest, self.tenants = dest, tenants
        self.at, self.logs, self.starts = {}, {}, {}

    def clog_dir(self, tenant):
        for name in sorted(os.listdir(self.dest)):
            top = os.path.join(self.dest, name)
            for cluster in sorted(os.listdir(top)) if os.path.isdir(top) and not name.startswith(".") else []:
                path = os.path.join(top, cluster, "incarnation_1", str(tenant), "clog")
                if os.path.isdir(path):
                    return path
        return None

    def published(self, tenant):
        """[(round, status, start_ts, checkpoint_ts)]: of tenant_clog_backup_info, or single_piece_info where that is further."""
        top = self.clog_dir(tenant) or ""
        path = os.path.join(top, "tenant_clog_backup_info")
        if not os.path.exists(path):
            return []
        v = M.get_info(read(path), M.TYPE_CLOG_INFO, R.ARCHIVE_STATUSES)
        out = []
        for e in v["items"] if v else []:
            checkpoint = e["checkpoint_ts"]
            for name in os.listdir(top):
                m, single = ROUND.match(name), os.path.join(top, name, "single_piece_info")
                if m and int(m[1]) == e["round"] and os.path.exists(single):
                    piece = M.get_info(read(single), M.TYPE_PIECE, R.PIECE_INFO)
                    checkpoint = max(checkpoint, piece["checkpoint_ts"] if piece else 0)
            out.append((e["round"], e["status"], e["start_ts"], checkpoint))
        return out

    def pieces(self, tenant, round_id):
        """Names of a round's directories: one in round mode."""
        top = self.clog_dir(tenant)
        return [n for n in os.listdir(top) if (m := ROUND.match(n)) and int(m[1]) == round_id] if top else []

    def read(self):
        for tenant in self.tenants:
            top = self.clog_dir(tenant)
            for name in sorted(os.listdir(top)) if top else []:
                m = ROUND.match(name)
                if m:
                    self._directory(os.path.join(top, name), int(m[1]))
        return self

    def _directory(self, top, round_id):
        logs, starts = self.logs.setdefault(round_id, {}), self.starts.setdefault(round_id, {})
        keys = os.path.join(top, "archive_key")
        for name in os.listdir(keys) if os.path.isdir(keys) else []:
            table, _, part = name.partition("_")
            if table.isdigit() and part.isdigit() and (int(table), int(part)) not in starts:
                starts[int(table), int(part)] = A.get_archive_key(read(os.path.join(keys, name))).index.round_start_log_id
        data = os.path.join(top, "data")
        for table in os.listdir(data) if os.path.isdir(data) else []:
            for part in os.listdir(os.path.join(data, table)):
                if table.isdigit() and part.isdigit():
                    self._pg(os.path.join(data, table, part), logs.setdefault((int(table), int(part)), {}))

    def _pg(self, folder, logs):
        for n in numbered(folder):
            path = os.path.join(folder, str(n))
            done = self.at.get(path, 0)
            if os.path.getsize(path) <= done:
                continue
            with open(path, "rb") as f:
                f.seek(done)
                buf = memoryview(f.read())
            pos = 0
            while pos < len(buf):
                try:
                    block = A.get_block(buf, pos)
                    entries = A.get_entries(A.open_payload(block.payload)[0]) if block else None
                except ObError:
                    break  # a torn tail that happens to be long enough
                if block is None or block.end > len(buf):
                    break
                for e in entries:
                    if e.type != A.LOG_KICKOFF:
                        logs.setdefault(e.log_id, e.data_checksum)
                pos = block.end
            self.at[path] = done + pos


def private(table_id):
    return table_id & LOW in PRIVATE_TABLES


class Missing:
    """Compares bus and destination for what is published; findings are texts."""

    def __init__(self, site, tenants=None):
        self.tenants = tuple(tenants or site.tenants)
        self.bus = Bus(site.path("source", "shared"))
        self.stored = Stored(site.dest, self.tenants)
        self.checked, self.checks, self.findings, self.highest = 0, 0, [], {}

    def check(self, again=False):
        """One look: published checkpoints first, then what is stored, then what was logged. again: all times once more."""
        said = {t: self.stored.published(t) for t in self.tenants}
        self.stored.read()
        self.bus.read()
        self.checks += 1
        for tenant, rounds in said.items():
            for round_id, _, start_ts, checkpoint in rounds:
                before = self.highest.get((tenant, round_id), 0)
                if 0 < checkpoint < before:
                    self.findings.append(f"tenant {tenant}: checkpoint went back from {before} to {checkpoint}")
                self.highest[tenant, round_id] = max(before, checkpoint)
                if checkpoint > before or again:
                    self._round(tenant, round_id, start_ts if again or not before else before, checkpoint)
        return self

    def _round(self, tenant, round_id, after, checkpoint):
        have = self.stored.logs.get(round_id, {})
        starts = self.stored.starts.get(round_id, {})
        for key, logs in self.bus.logs.items():
            if key[0] >> 40 != tenant or private(key[0]):
                continue
            mine, start = have.get(key, {}), starts.get(key)
            last, newest = self.bus.offline.get(key, 1 << 62), max(mine, default=0)
            for log_id, (submit, checksum, repeats) in logs.items():
                if not after < submit <= checkpoint or log_id > last:
                    continue
                if repeats and log_id > newest:
                    continue  # a new leader's: it bears an old time, and may have been made just now
                self.checked += 1
                if start is not None and log_id < start:
                    text = f"is before the archive's first log {start}"
                elif log_id not in mine:
                    text = "is not stored"
                elif mine[log_id] != checksum:
                    text = "has another content"
                else:
                    continue
                self.findings.append(f"round {round_id}, PG {key[0]}/{key[1]}: log {log_id} {text}, submitted at {submit}, "
                                     f"checkpoint {checkpoint}")

    def figure(self):
        return f"{self.checked} logs of published times compared in {self.checks} looks, {len(self.findings)} missing {self.findings[:2] or ''}"
