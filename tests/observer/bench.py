"""bench.py - a stand-in cluster of three hosts for the tests of this folder, and what they compare with"""
import hashlib
import importlib.machinery
import importlib.util
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
_loader = importlib.machinery.SourceFileLoader("cluster", os.path.join(HERE, "cluster"))
cluster = importlib.util.module_from_spec(importlib.util.spec_from_loader("cluster", _loader))
_loader.exec_module(cluster)

import live  # noqa: E402
from live import PKey, RpcError  # noqa: E402
from sql_client import Connection  # noqa: E402


def key_of(name):
    table, part = (int(x) for x in name.split("/"))
    return PKey(table, part >> 32, part & 0xFFFFFFFF) if part > 0x7FFFFFFF else PKey(table, part, 0)


def low(table_id):
    return table_id & (1 << 40) - 1


def digest(rows):
    sha = hashlib.sha256()
    for (index, key), value in sorted(rows.items()):
        sha.update(struct.pack(">QI", index, len(key)) + key + struct.pack(">I", len(value)) + value)
    return len(rows), sha.hexdigest()


def error_of(fn):
    """OceanBase's number that the call ends with, 0 = none."""
    try:
        fn()
    except RpcError as e:
        return e.code
    return 0


class Bench:
    """`with Bench(observer, '127.0.14') as b`: hosts .2 to .4, removed at the end; on an error the ends of the logs are shown."""

    def __init__(self, observer, net, *knobs):
        self.observer, self.hosts = os.path.realpath(observer), [f"{net}.{i}" for i in (2, 3, 4)]
        self.port = 20000 + os.getpid() % 20000
        self.knobs = knobs

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="standin-", dir="/tmp")
        self.start()
        return self

    def __exit__(self, kind, *_):
        if kind:
            self._show()
        self.tool("destroy", "--dir", self.dir)
        shutil.rmtree(self.dir, ignore_errors=True)

    def _show(self):
        for h in (1, 2, 3):
            path = os.path.join(self.dir, f"host{h}", "log", "observer.log")
            if os.path.exists(path):
                with open(path, errors="replace") as f:
                    print(f"--- host{h}\n" + "".join(f.readlines()[-8:]))

    @staticmethod
    def tool(*args):
        subprocess.run([os.path.join(HERE, "cluster"), *args], check=True, stdout=subprocess.DEVNULL)

    def start(self):
        knobs = [x for k in self.knobs for x in ("--knob", k)]
        self.tool("start", "--dir", self.dir, "--hosts", ",".join(self.hosts), "--sql-port", str(self.port), "--rpc-port",
                  str(self.port + 1), "--observer", self.observer, *knobs)

    def ask(self, verb, host=1, **args):
        return cluster.control(self.dir, host, dict(args, verb=verb), 120)

    def ctl(self, verb, host=1, **args):
        a = self.ask(verb, host, **args)
        assert a.get("ok"), (verb, args, a)
        return a

    def refused(self, code, verb, **args):
        a = self.ask(verb, **args)
        assert not a["ok"] and a["code"] == code, (verb, args, a)

    def rpc(self, host=1):
        return live.Rpc(self.hosts[host - 1], self.port + 1)

    def sql(self, who="coordinator", host=1, tenant="sys"):
        return Connection(self.hosts[host - 1], self.port, f"{who}@{tenant}", f"{who}-pw")

    def now(self):
        return self.ctl("now")["now"]

    def store(self, host):
        return os.path.join(self.dir, f"host{host}", "store")

    def copy(self, host, name, how=live.PgCopy):
        rpc = self.rpc(host)
        try:
            for _ in range(100):
                try:
                    return how(rpc, key_of(name))
                except live.Changed:
                    time.sleep(0.01)
                except RpcError as e:
                    if e.code not in (-4225, -4018, -4284):  # not there yet, or merged meanwhile
                        raise
                    time.sleep(0.01)
        finally:
            rpc.close()
        raise AssertionError(f"{name} never stood still")

    def logs(self, host, name):
        """Committed logs of one PG on a host, once its ilog names all that there are."""
        key = key_of(name)
        last = next(p for p in self.ctl("status", pgs=True)["pgs"] if p["pg"] == name)["last_log_id"]
        for _ in range(200):
            seen = {}
            logs = live.committed(self.store(host), seen)
            if seen.get(key, 0) >= last:
                return logs.get(key, {})
            time.sleep(0.05)
        raise AssertionError(f"ilog of {name} does not follow")

    def wanted(self, name, at):
        """(rows, sha256) of a PG at a time, from the cluster's whole history."""
        (pg,) = self.ctl("digest", pg=name, at=at)["pgs"]
        return pg["rows"], pg["sha256"]
