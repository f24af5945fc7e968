#!/usr/bin/python3
"""test_sql - the SQL front of the stand-in OBServer: protocol, schema, numbers of errors, rights, refusals of a restore

Starts its own cluster (addresses 127.0.20.x) unless OBSTANDIN_DIR names a running one. Exit status 77: not built.
"""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from sql_client import LONGLONG, STRING, TIMESTAMP, Closed, Connection, SqlError

HERE = os.path.dirname(os.path.realpath(__file__))
LAUNCHER = os.path.join(HERE, "cluster")
CLUSTER = {}
ACCOUNTS = {
    "coordinator": ("coordinator@sys", "coordinator-pw"),
    "agent": ("agent@sys", "agent-pw"),
    "blank": ("blank@sys", ""),
    "pin": ("pin@t1001", "pin-pw"),
}


def connect(who="coordinator", host=1, **more):
    login, password = ACCOUNTS[who]
    h = CLUSTER["hosts"][host - 1]
    return Connection(h["ip"], h["sql_port"], login, password, **more)


def schema():
    tables = {}
    with open(os.path.join(HERE, "schema.sql")) as f:
        for m in re.finditer(r'-- kind (\w+) id \d+\nCREATE TABLE "(\w+)" \(\n(.*?)\n\);', f.read(), re.S):
            cols = re.findall(r'^  "(\w+)" ([^,\n]+)', m[3], re.M)
            tables[m[2]] = (m[1], cols)
    return tables


class Case(unittest.TestCase):
    def setUp(self):
        self.open = []

    def tearDown(self):
        for c in self.open:
            c.close()

    def connect(self, *a, **k):
        c = connect(*a, **k)
        self.open.append(c)
        return c

    def refused(self, number, conn, sql):
        with self.assertRaises(SqlError, msg=sql) as e:
            conn.query(sql)
        self.assertEqual(e.exception.number, number, f"{sql}: {e.exception}")
        with self.assertRaises(SqlError, msg=sql) as e:
            conn.execute(sql)
        self.assertEqual(e.exception.number, number, f"prepared {sql}: {e.exception}")
        return e.exception


class Login(Case):
    def test_greets_as_oceanbase(self):
        c = self.connect()
        self.assertEqual(c.version, "5.7.25")
        ((comment,),) = c.query("select @@version_comment limit 1")
        self.assertRegex(comment, r"^OceanBase 3\.1\.5 \(r\S+\) \(Built \w+ +\d+ \d+ [\d:]+\)$")
        self.assertEqual(c.columns[0].name, "@@version_comment")
        c.ping()

    def test_accepts_cluster_name_and_other_plugins(self):
        h = CLUSTER["hosts"][0]
        for login in ("agent", "agent@sys", "agent@sys#" + CLUSTER["name"]):
            for plugin in ("mysql_native_password", "caching_sha2_password"):
                c = Connection(h["ip"], h["sql_port"], login, "agent-pw", plugin=plugin)
                self.assertEqual(c.query("SELECT 1"), [(1,)])
                c.close()

    def test_refuses_what_does_not_fit(self):
        h = CLUSTER["hosts"][0]
        cases = [
            ("agent@sys", "wrong", 1045),
            ("agent@sys", "", 1045),
            ("nobody@sys", "agent-pw", 1045),
            ("agent@t1001", "agent-pw", 1045),
            ("agent@nowhere", "agent-pw", 5160),
            ("agent@sys#other", "agent-pw", 4666),
        ]
        for login, password, number in cases:
            with self.assertRaises(SqlError) as e:
                Connection(h["ip"], h["sql_port"], login, password)
            self.assertEqual(e.exception.number, number, login)
        with self.assertRaises(SqlError) as e:
            Connection(h["ip"], h["sql_port"], "agent@sys", "agent-pw", db="test")
        self.assertEqual(e.exception.number, 1049)

    def test_survives_nonsense(self):
        h = CLUSTER["hosts"][0]
        for junk in (b"", b"\0\0\0\1", b"GET / HTTP/1.0\r\n\r\n", b"\xff\xff\xff\1" + b"x" * 100, b"\5\0\0\1abcde"):
            with socket.create_connection((h["ip"], h["sql_port"]), 5) as s:
                s.recv(200)
                try:
                    s.sendall(junk)
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(1000):
                        pass
                except OSError:
                    pass  # it may hang up at once
        c = self.connect()
        for code, body in ((23, b""), (23, b"\1\0\0\0"), (22, b"\xff\xfe"), (25, b"\1"), (99, b"x"), (3, b""), (3, b"'")):
            c.command(code, body)
            if code != 25:
                with self.assertRaises(SqlError):
                    c._raise(c._read())
        ident, _ = c.prepare("SELECT ? + ?")
        for body in (b"", b"\0", b"\0\1", b"\0\1\x08\0\xfd\0", b"\0\1\x08\0\x08\0" + b"1" * 9, b"\0\1\xfd\0\xfd\0\xfe" + b"\xff" * 8):
            c.command(23, ident.to_bytes(4, "little") + b"\0\1\0\0\0" + body)
            with self.assertRaises(SqlError):
                c._raise(c._read())
        self.assertEqual(c.run(ident, (1, 2)), [(3,)])
        c.command(1)
        with self.assertRaises(Closed):
            c._read()

    def test_serves_the_command_line_client(self):
        h = CLUSTER["hosts"][0]
        cmd = ["mariadb", "--no-defaults", "--skip-ssl", "-h", h["ip"], "-P", str(h["sql_port"]), "-u", "agent@sys", "-pagent-pw", "-N", "-B"]
        out = subprocess.run(cmd + ["-e", "use oceanbase; select count(*) from __all_server"], capture_output=True, text=True)
        self.assertEqual((out.returncode, out.stdout.strip()), (0, str(len(CLUSTER["hosts"]))), out.stderr)


class Schema(Case):
    def test_has_exactly_the_tables_and_columns_of_the_catalogue(self):
        c = self.connect("agent")
        types = {"bigint": LONGLONG, "tinyint": 1, "double": 5, "timestamp": TIMESTAMP, "longtext": 252, "varchar": STRING}
        for table, (_, cols) in schema().items():
            c.prepare(f"SELECT * FROM oceanbase.{table}")
            self.assertEqual([x.name for x in c.columns], [n for n, _ in cols], table)
            for got, (name, want) in zip(c.columns, cols):
                if not want.startswith("timestamp"): # known only when there is a value
                    self.assertEqual(got.type, types[re.match(r"\w+", want)[0]], f"{table}.{name}")
                    self.assertEqual(got.unsigned, "unsigned" in want, f"{table}.{name}")
            c.query(f"SELECT * FROM {table} LIMIT 3")
            c.query(f"SELECT * FROM `oceanbase`.`{table.upper()}` AS t LIMIT 3")

    def test_refuses_everything_else(self):
        c = self.connect("agent")
        for table in ("__all_freeze_info", "__all_virtual_store_stat", "__all_virtual_table_mgr", "sqlite_master", "store.__all_zone_x",
                      "so_journal", "front_restore_job", "information_schema.tables", "pragma_table_info('__all_server')", "mysql.user"):
            self.refused(1146, c, f"SELECT * FROM {table}")
            self.refused(1146, c, f"SELECT COUNT(*) FROM {table}")
        for sql in ("SELECT last_index_log_id FROM __all_virtual_clog_stat", "SELECT s.nope FROM __all_server s",
                    "SELECT zone FROM __all_tenant", "SELECT 1 FROM __all_server WHERE unit_id = 3"):
            self.refused(1054, c, sql)
        for sql in ("SELEC 1", "SELECT FROM __all_server", "SELECT 1;; SELECT 2", "SELECT 'a", "SELECT @x", "SELECT rowid FROM __all_server",
                    "SELECT 1 FROM __all_server WHERE zone == 'a' GLOB 'b'", "SELECT * FROM __all_server LIMIT", "\x01"):
            self.refused(1064, c, sql)
        self.refused(1305, c, "SELECT load_extension('x')")
        self.refused(1193, c, "SELECT @@no_such_variable")
        self.refused(1065, c, "/* nothing */")

    def test_needs_a_database_for_bare_names(self):
        c = self.connect("agent", db="")
        self.refused(1046, c, "SELECT COUNT(*) FROM __all_server")
        c.query("SELECT COUNT(*) FROM oceanbase.__all_server")
        c.query("USE oceanbase")
        c.query("SELECT COUNT(*) FROM __all_server")
        self.refused(1049, c, "USE mysql")
        c.command(2, b"oceanbase")
        c._raise(c._read())

    def test_local_tables_ask_one_server_or_all(self):
        c = self.connect("agent")
        for h in CLUSTER["hosts"]:
            rows = c.query(f"SELECT svr_ip, svr_port FROM __all_virtual_server_clog_stat WHERE svr_ip = '{h['ip']}' AND svr_port = {h['rpc_port']}")
            self.assertEqual(rows, [(h["ip"], h["rpc_port"])])
            self.assertFalse(last_log(c)["nofilter"])
        rows = c.execute("SELECT COUNT(DISTINCT svr_ip) FROM __all_virtual_server_clog_stat s WHERE s.svr_port = ?", (h["rpc_port"],))
        self.assertEqual(rows, [(len(CLUSTER["hosts"]),)])
        self.assertTrue(last_log(c)["nofilter"])
        self.assertEqual(c.query("SELECT * FROM __all_virtual_clog_stat WHERE svr_ip = '127.9.9.9' AND svr_port = 1"), [])

    def test_speaks_mysql(self):
        c = self.connect("agent")
        c.query("SET time_zone = '+00:00', ob_query_timeout = 20000000")
        cases = [
            ("SELECT 3/2, 7 DIV 2, 7 % 4", (1.5, 3, 3)),
            ("SELECT 'a' || 0, 1 && 0, NOT 1, !0", (0, 0, 0, 1)),
            ("SELECT NULL <=> NULL, IF(1 > 2, 'x', 'y'), IFNULL(NULL, 5)", (1, "y", 5)),
            (r"""SELECT 'it''s', 'a\'b', "x", 'a\\b'""", ("it's", "a'b", "x", "a\\b")),
            ("SELECT CONCAT('a', 1), HEX(255), HEX('ab'), CONCAT('a', NULL)", ("a1", "FF", "6162", None)),
            ("SELECT UNIX_TIMESTAMP('2026-01-01 00:00:00'), TIME_TO_USEC('1970-01-01 00:00:01.5')", (1767225600, 1500000)),
            ("SELECT USEC_TO_TIME(1500000), FROM_UNIXTIME(0)", ("1970-01-01 00:00:01.500000", "1970-01-01 00:00:00")),
            ("SELECT @@session.time_zone, @@global.time_zone, DATABASE()", ("+00:00", "+00:00", "oceanbase")),
            (r"SELECT 'a_b' LIKE 'a\_b', 'axb' LIKE 'a\_b', 'AxB' LIKE 'a_b', 'abc' LIKE '%c'", (1, 0, 1, 1)),
            ("SELECT 1 FROM dual WHERE 1 = 1 # end", (1,)),
            ("SELECT /*+ READ_CONSISTENCY(WEAK) */ 1 -- end", (1,)),
            ("SELECT SUM(x) FROM (SELECT 1 AS x UNION ALL SELECT 2) t", (3,)),
            ("SELECT CAST('12' AS SIGNED), CAST(5 AS CHAR)", (12, "5")),
        ]
        for sql, want in cases:
            self.assertEqual(c.query(sql), [want], sql)
            self.assertEqual(c.execute(sql), [want], sql)
        self.assertEqual(c.execute("SELECT ?, ?, ?, ?", (1, "x", None, 2.5)), [(1, "x", None, 2.5)])
        self.assertEqual(c.execute("SELECT ? AS big", (1 << 62,)), [(1 << 62,)])

    def test_times_follow_the_session(self):
        c = self.connect("agent")
        sql = "SELECT gmt_create FROM __all_zone WHERE gmt_create IS NOT NULL ORDER BY zone, name LIMIT 1"
        seen = {}
        for zone in ("+00:00", "+08:00", "-05:30"):
            c.query(f"SET time_zone = '{zone}'")
            ((text,),) = c.query(sql)
            self.assertEqual(c.columns[0].type, TIMESTAMP)
            self.assertEqual(c.execute(sql), [(text,)])
            ((seen[zone],),) = c.query(f"SELECT TIME_TO_USEC('{text}')")
        self.assertEqual(len(set(seen.values())), 1, seen)
        with self.assertRaises(SqlError) as e:
            c.query("SET time_zone = 'Nowhere/Land'")
        self.assertEqual(e.exception.number, 1298)

    def test_query_timeout_holds(self):
        c = self.connect("agent")
        c.query("SET ob_query_timeout = 200000")
        begin = time.monotonic()
        with self.assertRaises(SqlError) as e:
            c.query("WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT COUNT(*) FROM n")
        self.assertEqual(e.exception.number, 4012)
        self.assertLess(time.monotonic() - begin, 5)


def last_log(conn):
    ((ident,),) = conn.query("SELECT CONNECTION_ID()")
    lines = []
    for h in CLUSTER["hosts"]:
        with open(os.path.join(h["log"], "sql.log")) as f:
            lines += [json.loads(x) for x in f]
    mine = [x for x in lines if x["conn"] == ident]
    return mine[-2]


class Rights(Case):
    def test_select_only_accounts_cannot_alter(self):
        c = self.connect("agent")
        for sql in ("ALTER SYSTEM MINOR FREEZE", "ALTER SYSTEM SET restore_concurrency = 1", "ALTER SYSTEM CLEAR RESTORE SOURCE",
                    "ALTER SYSTEM ADD RESTORE SOURCE 'file:///x'", "SET GLOBAL undo_retention = 10", "KILL 1",
                    "ALTER SYSTEM RESTORE a FROM b AT 'file:///x' UNTIL '2020-01-01' WITH 'pool_list=p'"):
            self.refused(1227, c, sql)

    def test_nobody_may_write_tables(self):
        for who in ("agent", "coordinator"):
            c = self.connect(who)
            for sql in ("INSERT INTO __all_server (id) VALUES (1)", "DELETE FROM __all_tenant", "UPDATE __all_zone SET value = 1",
                        "DROP TABLE __all_zone", "CREATE TABLE x (a int)", "TRUNCATE TABLE __all_zone", "ALTER TABLE __all_zone ADD c INT"):
                self.refused(1142, c, sql)
            for sql in ("BEGIN", "EXPLAIN SELECT 1", "SHOW TABLES"):
                self.refused(4007, c, sql)

    def test_no_rights_at_all(self):
        c = self.connect("blank")
        self.assertEqual(c.query("SELECT 1"), [(1,)])
        self.refused(1142, c, "SELECT * FROM __all_server")

    def test_user_tenant_sees_no_sys_tables(self):
        c = self.connect("pin")
        ((tenant,),) = c.query("SELECT EFFECTIVE_TENANT_ID()")
        self.assertGreater(tenant, 1000)
        self.refused(1146, c, "SELECT * FROM oceanbase.__all_virtual_table")
        self.refused(1227, c, "ALTER SYSTEM MINOR FREEZE")

    def test_restore_points_belong_to_user_tenants(self):
        sys_conn = self.connect()
        self.refused(4179, sys_conn, "CREATE RESTORE POINT p1")
        c = self.connect("pin")
        c.query("CREATE RESTORE POINT test_sql_point")
        c.query("DROP RESTORE POINT test_sql_point")
        with self.assertRaises(SqlError):
            c.query("DROP RESTORE POINT test_sql_point")

    def test_every_statement_is_logged(self):
        c = self.connect("agent")
        with self.assertRaises(SqlError):
            c.query("SELECT nope FROM __all_server")
        line = last_log(c)
        self.assertEqual((line["account"], line["tenant"], line["error"], line["host"]), ("agent@sys", "sys", 1054, CLUSTER["hosts"][0]["ip"]))
        self.assertRegex(line["client"], r"^127\.[\d.]+:\d+$")
        c.execute("SELECT svr_ip FROM __all_server WHERE zone <> ?", ("x",))
        line = last_log(c)
        self.assertEqual((line["tables"], line["rows"], line["error"]), (["__all_server"], len(CLUSTER["hosts"]), 0))


class Statements(Case):
    def test_what_clients_send_on_connect(self):
        c = self.connect("agent")
        for sql in ("SET NAMES utf8mb4", "SET NAMES 'utf8' COLLATE 'utf8_general_ci'", "SET autocommit=1", "SET SESSION ob_query_timeout = 5000000;",
                    "SET @@session.ob_trx_timeout = 1, time_zone = '+00:00'", "SET character_set_results = NULL", "SET sql_mode = ''"):
            self.assertEqual(c.query(sql), [], sql)
            self.assertEqual(c.execute(sql), [], sql)
        c.command(31)
        c._raise(c._read())
        self.assertEqual(c.query("SELECT @@ob_query_timeout"), [(10000000,)])
        self.refused(1064, c, "SET time_zone")
        with self.assertRaises(SqlError) as e:
            c.query("SET no_such = 1")
        self.assertEqual(e.exception.number, 1193)

    def test_show_parameters(self):
        c = self.connect("agent")
        rows = c.query("SHOW PARAMETERS LIKE 'restore\\_concurrency'")
        self.assertEqual({r[2] for r in rows}, {h["ip"] for h in CLUSTER["hosts"]})
        self.assertEqual([x.name for x in c.columns][2:], ["svr_ip", "svr_port", "name", "value"])
        self.assertGreater(len(c.query("SHOW PARAMETERS")), len(rows))

    def test_minor_freeze(self):
        c = self.connect()
        c.query("ALTER SYSTEM MINOR FREEZE")
        c.query("ALTER SYSTEM MINOR FREEZE TENANT = (t1001, sys)")
        c.query("ALTER SYSTEM MINOR FREEZE TENANT t1001")
        self.refused(1064, c, "ALTER SYSTEM MINOR FREEZE TENANT = (t1001")
        with self.assertRaises(SqlError) as e:
            c.query("ALTER SYSTEM MINOR FREEZE TENANT = nowhere")
        self.assertEqual(e.exception.number, 5157)


class Restore(Case):
    OPTION = "backup_cluster_name=obstandin&backup_cluster_id=1&pool_list=%s"

    def setUp(self):
        super().setUp()
        self.c = self.connect()
        self.c.query("SET time_zone = '+00:00'")
        self.c.query("ALTER SYSTEM SET restore_concurrency = 10")
        self.c.query("ALTER SYSTEM CLEAR RESTORE SOURCE")

    def restore(self, number, dest="new1", src="t1001", at=" AT 'file:///nowhere'", until="2026-01-01 00:00:00", pool="test_free", option=None):
        sql = f"ALTER SYSTEM RESTORE {dest} FROM {src}{at} UNTIL '{until}' WITH '{option or self.OPTION % pool}'"
        with self.assertRaises(SqlError) as e:
            self.c.query(sql)
        self.assertEqual(e.exception.number, number, f"{sql}: {e.exception}")

    def at(self, seconds):
        ((text,),) = self.c.query(f"SELECT USEC_TO_TIME({int((time.time() + seconds) * 1e6)})")
        return text

    def test_restore_concurrency_must_be_set(self):
        self.c.query("ALTER SYSTEM SET restore_concurrency = 0")
        self.restore(4179)

    def ctl(self, *words):
        subprocess.run([LAUNCHER, "ctl", "--dir", CLUSTER["dir"], *words], check=True, stdout=subprocess.DEVNULL)

    def test_neither_standby_nor_upgrade(self):
        for change, back, text in ((["cluster_role", "value=PHYSICAL STANDBY"], ["cluster_role", "value=PRIMARY"], "standby"),
                                   (["parameter", "name=enable_upgrade_mode", "value=True"], ["parameter", "name=enable_upgrade_mode", "value=False"], "upgrade")):
            self.ctl(*change)
            try:
                with self.assertRaises(SqlError) as e:
                    self.c.query(f"ALTER SYSTEM RESTORE new1 FROM t1001 AT 'file:///nowhere' UNTIL '2026-01-01 00:00:00' WITH '{self.OPTION % 'test_free'}'")
                self.assertEqual(e.exception.number, 4179)
                self.assertIn(text, e.exception.text)
            finally:
                self.ctl(*back)

    def test_until_must_be_past(self):
        self.restore(4179, until=self.at(+5))
        self.restore(4179, until=self.at(-5))
        self.c.query("SET time_zone = '-05:00'")  # the same text means a later time here
        ((now,),) = self.c.query("SELECT NOW()")
        self.c.query("SET time_zone = '-06:00'")
        self.restore(4179, until=now)

    def test_pools_must_exist_and_be_free(self):
        self.restore(4650, pool="nowhere")
        rows = self.c.query("SELECT name FROM __all_resource_pool WHERE tenant_id <> -1 LIMIT 1")
        if rows:
            self.restore(4626, pool=rows[0][0])

    def test_tenant_must_be_new(self):
        self.restore(5156, dest="t1001")

    def test_option_must_be_whole(self):
        for option in ("backup_cluster_name=a&pool_list=p", "backup_cluster_id=1&pool_list=p", "backup_cluster_name=a&backup_cluster_id=1",
                       "backup_cluster_name=a&backup_cluster_id=x&pool_list=p", "nonsense"):
            self.restore(4002, option=option)

    def test_at_and_sources_exclude_each_other(self):
        self.restore(4002, at="")
        self.c.query("ALTER SYSTEM ADD RESTORE SOURCE 'file:///nowhere/backup_set_1_full_20260101'")
        self.restore(4007)
        self.c.query("ALTER SYSTEM CLEAR RESTORE SOURCE")
        self.restore(4002, at="")
        with self.assertRaises(SqlError) as e:
            self.c.query("ALTER SYSTEM ADD RESTORE SOURCE '/no/scheme'")
        self.assertEqual(e.exception.number, 4002)

    def test_sources_belong_to_the_session(self):
        self.connect().query("ALTER SYSTEM ADD RESTORE SOURCE 'file:///nowhere/backup_set_1_full_20260101'")
        self.restore(4002, at="")
        self.c.query("ALTER SYSTEM ADD RESTORE SOURCE 'file:///nowhere/backup_set_1_full_20260101'")
        for _ in range(2):  # not used up by a RESTORE
            self.restore(4007)
        self.c.command(31)
        self.c._raise(self.c._read())
        self.c.query("SET time_zone = '+00:00'")
        self.restore(4002, at="")

    def test_drop_tenant(self):
        self.refused(1227, self.connect("agent"), "DROP TENANT t9 FORCE")
        self.refused(1064, self.c, "DROP TENANT t9 NOW")
        self.c.query("DROP TENANT IF EXISTS t9 FORCE")
        for number, name in ((5157, "t9"), (4179, "sys")):
            with self.assertRaises(SqlError) as e:
                self.c.query(f"DROP TENANT {name} FORCE")
            self.assertEqual(e.exception.number, number)

    def test_grammar(self):
        for sql in ("ALTER SYSTEM RESTORE TENANT a FROM b AT 'file:///x' UNTIL '2020-01-01' WITH 'pool_list=p'",
                    "ALTER SYSTEM RESTORE a FROM b AT file UNTIL '2020-01-01' WITH 'x'", "ALTER SYSTEM RESTORE a FROM b UNTIL '2020-01-01'",
                    "ALTER SYSTEM RESTORE a FROM b AT 'file:///x' WITH 'x' UNTIL '2020-01-01'",
                    "ALTER SYSTEM RESTORE t FOR a FROM b UNTIL '2020-01-01' WITH 'x'",
                    "ALTER SYSTEM RESTORE a FROM b AT 'file:///x' UNTIL '2020-01-01' WITH 'x' NOW"):
            self.refused(1064, self.c, sql)
        self.restore(1292, until="2026-13-01 00:00:00")
        self.restore(1292, until="yesterday")

    def test_no_backup_there(self):
        with self.assertRaises(SqlError):
            self.c.query(f"ALTER SYSTEM RESTORE new1 FROM t1001 AT 'file:///nowhere' UNTIL '2026-01-01' WITH '{self.OPTION % 'test_free'}'")
        self.assertEqual(self.c.query("SELECT * FROM __all_restore_info"), [])


def main():
    own = None
    if "OBSTANDIN_DIR" in os.environ:
        status = subprocess.run([LAUNCHER, "status"], capture_output=True, text=True, check=True)
        CLUSTER.update(json.loads(status.stdout))
    else:
        own = tempfile.mkdtemp(prefix="sqlt-")
        accounts = os.path.join(own, "accounts.json")
        rights = {"coordinator": ["SELECT", "ALTER SYSTEM"], "agent": ["SELECT"], "blank": [], "pin": ["SELECT"]}
        entries = []
        for who, (login, password) in ACCOUNTS.items():
            user, tenant = login.split("@")
            entries.append({"user": user, "tenant": tenant, "password": password, "rights": rights[who]})
        with open(accounts, "w") as f:
            json.dump({"accounts": entries}, f)
        profile = os.path.join(own, "profile.json")
        with open(profile, "w") as f:
            json.dump({"ctl": [{"verb": "layout", "tenants": [1001], "small": True}]}, f)
        d = os.path.join(own, "c")
        os.environ["OBSTANDIN_DIR"] = d
        start = [LAUNCHER, "start", "--hosts", "127.0.20.2,127.0.20.3,127.0.20.4", "--accounts", accounts, "--profile", profile,
                 "--empty", "--pools", "test_free"]
        out = subprocess.run(start, capture_output=True, text=True)
        if out.returncode:
            print(out.stderr, file=sys.stderr)
            shutil.rmtree(own)
            return 77 if "not built" in out.stderr else 1
        CLUSTER.update(json.loads(out.stdout))
    try:
        return 0 if unittest.main(exit=False).result.wasSuccessful() else 1
    finally:
        if own:
            subprocess.run([LAUNCHER, "destroy"])
            shutil.rmtree(own)


if __name__ == "__main__":
    sys.exit(main())
