#!/usr/bin/python3
"""test_restore - ALTER SYSTEM RESTORE into an empty stand-in cluster, from a small tree that tests/reader writes

Every row of the restored tenant is compared by digest with what the tree's own history says. Exit status 77: not built.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "reader")]

import gen_archive  # noqa: E402
import media as M  # noqa: E402
import records as R  # noqa: E402
import treegen  # noqa: E402
from rows import index_row_key  # noqa: E402
from sql_client import Connection, SqlError  # noqa: E402

LAUNCHER = os.path.join(HERE, "cluster")
HOSTS = "127.0.20.5,127.0.20.6,127.0.20.7"
OPTION = f"backup_cluster_name={treegen.CLUSTER}&backup_cluster_id={treegen.CLUSTER_ID}&pool_list="


def rows(tag, keys):
    out = [(treegen.TABLE, b"k%03d" % k, b"%s-%013d" % (tag, k)) for k in keys]
    return out + [(treegen.INDEX, index_row_key(treegen.INDEX, k), b"") for _, k, _ in out]


class Tree:
    """One full set and its archive; `mid` cuts a transaction over two PGs off, `last` holds it."""

    def __init__(self, root):
        self.root = root
        os.mkdir(root)
        w = self.world = treegen.World()
        w.commit({(treegen.TABLE, 0): rows(b"a", range(20)), (treegen.TABLE, 1): rows(b"b", range(20))})
        w.commit({(treegen.GROUP, 0): [(50002, b"a", b"1"), (50003, b"b", b"2")]})
        w.commit({(212, 0): [(212, b"x", b"y")]})
        major = w.tick()
        w.checkpoint()
        w.commit({(treegen.TABLE, 0): [(treegen.TABLE, b"k001", None), (treegen.TABLE, b"k002", b"new")]})
        two = w.begin({(treegen.TABLE, 0): [(treegen.TABLE, b"k003", b"p")], (treegen.TABLE, 1): [(treegen.TABLE, b"k003", b"q")]})
        s = treegen.SetWriter(root, w, 1, major).write()
        treegen.write_names(s.cp)
        self.snapshot = s.snapshot
        self.last = w.end(two)
        self.mid = self.last - 1
        w.checkpoint()
        a = gen_archive.ArchiveWriter(s.cp, w)
        a.piece()
        a.infos()


def damaged_copy(tree, to):
    """The same tree with bytes of the major blocks flipped."""
    shutil.copytree(tree, to)
    for base, _, files in os.walk(to):
        if "macro_block_1.0" in files and "major_data" in base:
            path = os.path.join(base, "macro_block_1.0")
            with open(path, "rb") as f:
                data = bytearray(f.read())
            for at in range(300, len(data), 97):
                data[at] ^= 1
            with open(path, "wb") as f:
                f.write(data)
    return to


def late_schema_copy(tree, to):
    """The same tree, whose set says that its schema is later than anything in the log."""
    shutil.copytree(tree, to)
    for base, _, files in os.walk(to):
        for name in ("tenant_backup_set_file_info", "single_backup_set_info"):
            if name in files:
                path = os.path.join(base, name)
                with open(path, "rb") as f:
                    v = M.get_info(f.read(), M.TYPE_SET_FILES, R.SET_FILE_INFOS)
                for e in v["items"]:
                    e["backup_schema_version"] = 1 << 60
                treegen.put(path, M.put_info(M.TYPE_SET_FILES, R.SET_FILE_INFOS.put(v), 0))
    return to


class Restore(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="rst-")
        cls.addClassCleanup(shutil.rmtree, cls.root)
        os.chmod(cls.root, 0o755)
        dest = os.path.join(cls.root, "dest")
        os.mkdir(dest)
        cls.tree = Tree(os.path.join(dest, "backup"))
        cls.bad = damaged_copy(cls.tree.root, os.path.join(dest, "bad"))
        cls.late = late_schema_copy(cls.tree.root, os.path.join(dest, "late"))
        cls.dir = os.path.join(cls.root, "c")
        start = [LAUNCHER, "start", "--dir", cls.dir, "--hosts", HOSTS, "--empty", "--pools", "free1,free2,free3"]
        if os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0:
            start += ["--as-user", "65534:65534", "--mount-only", dest]  # nothing but the destination is to be seen
        out = subprocess.run(start, capture_output=True, text=True)
        if out.returncode:
            raise unittest.SkipTest("not built") if "not built" in out.stderr else AssertionError(out.stderr)
        cls.addClassCleanup(subprocess.run, [LAUNCHER, "destroy", "--dir", cls.dir])
        h = json.loads(out.stdout)["hosts"][0]
        cls.c = Connection(h["ip"], h["sql_port"], "dba@sys", "dba-pw")
        cls.addClassCleanup(cls.c.close)
        cls.c.query("SET time_zone = '+00:00'")
        cls.c.query("ALTER SYSTEM SET restore_concurrency = 10")

    def ctl(self, *words):
        out = subprocess.run([LAUNCHER, "ctl", "--dir", self.dir, "--json", *words], capture_output=True, text=True)
        answer = json.loads(out.stdout)
        self.assertTrue(answer["ok"], answer)
        return answer

    def restore(self, dest, pool, until, source="t1", at=None):
        ((text,),) = self.c.query(f"SELECT USEC_TO_TIME({until})")
        uri = at or "file://" + self.tree.root
        self.c.query(f"ALTER SYSTEM RESTORE {dest} FROM {source} AT '{uri}' UNTIL '{text}' WITH '{OPTION}{pool}'")
        seen = []
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for (status,) in self.c.query(f"SELECT status FROM __all_restore_progress WHERE tenant_name = '{dest}'"):
                if status not in seen[-1:]:
                    seen.append(status)
            done = self.c.query(f"SELECT job_id, tenant_id, status, info FROM __all_restore_history WHERE tenant_name = '{dest}'")
            if done:
                return done[0], seen
            time.sleep(0.05)
        self.fail(f"no end: {seen}")

    def content(self, dest, until):
        (job, tenant, status, info), seen = self.restore(dest, {"new1": "free1", "new2": "free2"}[dest], until)
        self.assertEqual((status, info), ("RESTORE_SUCCESS", ""))
        self.assertEqual(seen[-1], "RESTORE_SUCCESS", seen)
        with open(os.path.join(self.dir, "shared", "restore", str(job), "result.json")) as f:
            result = json.load(f)
        answer = self.ctl("digest", f"tenant={tenant}")
        self.assertEqual(answer["sha256"], result["tenant_digest"])
        for host in (1, 2, 3):
            own = self.ctl("store_digest", f"tenant={tenant}", f"host={host}")
            self.assertEqual(own["sha256"], result["tenant_digest"], f"host {host}")
        for pg in result["pgs"]:
            want = self.tree.world.expected(pg["table_id"], pg["partition_id"], until)
            self.assertEqual(pg["rows"], len(want))
        return tenant, result

    def test_rows_of_the_target_time(self):
        for dest, until in (("new1", self.tree.mid), ("new2", self.tree.last)):
            tenant, result = self.content(dest, until)
            self.assertEqual(self.c.query(f"SELECT tenant_name, status FROM __all_tenant WHERE tenant_id = {tenant}"),
                             [(dest, "TENANT_STATUS_NORMAL")])
            self.assertEqual(self.c.query(f"SELECT COUNT(*) FROM __all_resource_pool WHERE tenant_id = {tenant}"), [(1,)])
            tables = self.c.query(f"SELECT table_id & 0xffffffffff AS low FROM __all_virtual_table WHERE tenant_id = {tenant} AND table_type = 3 ORDER BY low")
            self.assertEqual(tables, [(50001,), (50002,), (50003,)])
            leaders = self.c.query(f"SELECT COUNT(*) FROM __all_virtual_meta_table WHERE tenant_id = {tenant} AND role = 1")
            self.assertEqual(leaders, [(3,)])

    def test_refusals_of_the_sources(self):
        cases = [{"source": "t9"}, {"at": "file:///nowhere/at/all"}, {"until": self.tree.snapshot - 1}]
        for how in cases:
            with self.assertRaises(SqlError, msg=how):
                self.restore(**{"dest": "never", "pool": "free3", "until": self.tree.last, **how})
        self.assertEqual(self.c.query("SELECT * FROM __all_restore_info"), [])

    def test_a_tenant_dropped_on_the_way_ends_the_job(self):
        """And only that ends a restore whose S_v is later than the schema at T: it is tried for ever."""
        ((text,),) = self.c.query(f"SELECT USEC_TO_TIME({self.tree.last})")
        self.c.query(f"ALTER SYSTEM RESTORE gone FROM t1 AT 'file://{self.late}' UNTIL '{text}' WITH '{OPTION}free3'")
        ask = "SELECT status FROM __all_restore_progress WHERE tenant_name = 'gone'"
        for _ in range(100):
            if self.c.query(ask) == [("CREATE_USER_PARTITIONS",)]:
                break
            time.sleep(0.1)
        time.sleep(1)
        self.assertEqual(self.c.query(ask), [("CREATE_USER_PARTITIONS",)])
        self.c.query("DROP TENANT gone FORCE")
        for _ in range(200):
            done = self.c.query("SELECT status, info, tenant_id FROM __all_restore_history WHERE tenant_name = 'gone'")
            if done:
                break
            time.sleep(0.05)
        self.assertEqual(done[0][:2], ("RESTORE_FAIL", "ret=-5157, tenant was dropped"))
        self.assertEqual(self.c.query(f"SELECT * FROM __all_tenant WHERE tenant_id = {done[0][2]}"), [])
        self.assertEqual(self.c.query("SELECT tenant_id FROM __all_resource_pool WHERE name = 'free3'"), [(-1,)])
        self.assertEqual(self.c.query("SELECT * FROM __all_restore_info"), [])

    def test_damage_found_on_the_way_ends_the_job(self):
        (_, tenant, status, info), _ = self.restore("broken", "free3", self.tree.last, at="file://" + self.bad)
        self.assertEqual(status, "RESTORE_FAIL")
        self.assertRegex(info, "^ret=-4")
        self.assertEqual(self.c.query(f"SELECT * FROM __all_tenant WHERE tenant_id = {tenant}"), [])
        self.assertEqual(self.c.query("SELECT tenant_id FROM __all_resource_pool WHERE name = 'free3'"), [(-1,)])


if __name__ == "__main__":
    program = unittest.main(exit=False)
    skipped = bool(program.result.skipped) and not program.result.testsRun
    sys.exit(77 if skipped else 0 if program.result.wasSuccessful() else 1)
