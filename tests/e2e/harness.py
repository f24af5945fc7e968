"""harness - one obvault site on this machine: a stand-in cluster, agents, a coordinator, a destination, a target cluster.

Everything lives below one work directory and on loopback addresses of its own, so that sites can run side by side.
When started as root the daemons run unprivileged: the OBServers, obvault, and the restore target each as a user of
their own; the target sees only the destination (read-only) and its own directory.
"""
import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CLUSTER = os.path.join(ROOT, "tests", "observer", "cluster")
PYTHON = "/usr/bin/python3"

# Ids of no account on a normal Debian; only used when the caller is root.
UID_OBVAULT, UID_SOURCE, UID_TARGET = 61001, 61002, 61003


class Failure(Exception):
    """Something the story needs did not happen."""


def wait_for(what, seconds, probe, step=0.1):
    """Calls probe() until it gives something true; returns it. Failure after the deadline, naming what."""
    end = time.monotonic() + seconds
    while True:
        got = probe()
        if got:
            return got
        if time.monotonic() > end:
            raise Failure(f"not within {seconds} s: {what}")
        time.sleep(step)


def rfc3339(us):
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(us // 1_000_000))
    return f"{whole}.{us % 1_000_000:06d}+00:00"


def port_open(host, port):
    with contextlib.closing(socket.socket()) as s:
        s.settimeout(0.3)
        return s.connect_ex((host, port)) == 0


def unprivileged(pid, name):
    """The uid of a process none of whose uids, and no effective capability, is root's; Failure otherwise."""
    status = {}
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            key, _, value = line.partition(":")
            status[key] = value.split()
    if "0" in status["Uid"] or int(status["CapEff"][0], 16) != 0:
        raise Failure(f"{name} runs with uids {status['Uid']} and capabilities {status['CapEff'][0]}")
    return int(status["Uid"][0])


class Daemon:
    """A child with a log file and its own process group."""

    def __init__(self, name, argv, log, env=None, uid=None, groups=()):
        self.name, self.argv, self.log, self.env, self.uid, self.groups = name, argv, log, env or {}, uid, groups
        self.proc = None

    def start(self, extra_env=None):
        argv = list(self.argv)
        if self.uid is not None:
            groups = ["--groups", ",".join(map(str, self.groups))] if self.groups else ["--clear-groups"]
            argv = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", *groups, "--no-new-privs", *argv]
        env = dict(os.environ, **self.env, **(extra_env or {}))
        with open(self.log, "ab") as out:
            self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env,
                                         start_new_session=True)
        if os.geteuid() == 0:
            self.check_unprivileged()
        return self

    def alive(self):
        return self.proc is not None and self.proc.poll() is None

    def pid(self):
        return self.proc.pid

    def kill(self, sig=signal.SIGKILL, timeout=20):
        if self.alive():
            os.killpg(self.proc.pid, sig)
            try:
                self.proc.wait(timeout)
            except subprocess.TimeoutExpired:
                os.killpg(self.proc.pid, signal.SIGKILL)
                self.proc.wait()
        return self.proc.returncode if self.proc else None

    def stop(self):
        return self.kill(signal.SIGTERM)

    def check_unprivileged(self):
        """@return its uid; None if it has ended. Until setpriv has become the daemon, this waits for a moment."""
        end = time.monotonic() + 5
        while self.alive():
            try:
                return unprivileged(self.proc.pid, self.name)
            except FileNotFoundError:
                return None
            except Failure:
                if time.monotonic() > end:
                    raise
                time.sleep(0.005)
        return None

    def tail(self, lines=15):
        with contextlib.suppress(OSError):
            with open(self.log, errors="replace") as f:
                return "".join(f.readlines()[-lines:])
        return ""

    def vm_hwm_kib(self):
        with open(f"/proc/{self.proc.pid}/status") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
        raise Failure(f"{self.name}: no VmHWM")


def free_net(wanted):
    """A pair of loopback nets that no other site on this machine holds; (number, lock to keep)."""
    for net in list(range(wanted, 250, 2)) + list(range(10, wanted, 2)):
        lock = open(f"/tmp/obvault-net-{net}.lock", "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        if not any(port_open(f"127.0.{n}.{i}", port) for n in (net, net + 1) for i in (1, 2, 3, 4)
                   for port in (2881, 2882, 7070)):
            return net, lock
        lock.close()
    raise Failure("no free loopback net")


class Site:
    """Addresses: source hosts 127.0.<net>.2-4, target hosts 127.0.<net+1>.2-4, coordinator 127.0.<net>.1."""

    def __init__(self, work, build, net=0, tenants=(1001, 1002), say=lambda text: None):
        self.work, self.build, self.tenants, self.say = os.path.abspath(work), build, tenants, say
        net, self.net_lock = free_net(net)
        self.root_user = os.geteuid() == 0
        self.dest = os.path.join(self.work, "backup")
        self.hosts = [f"127.0.{net}.{i}" for i in (2, 3, 4)]
        self.target_hosts = [f"127.0.{net + 1}.{i}" for i in (2, 3, 4)]
        self.sql_port, self.rpc_port = 2881, 2882
        self.coordinator_address = f"127.0.{net}.1:7070"
        self.cluster_name, self.cluster_id = "obshop", 7
        self.agents, self.coordinator = [], None
        self.clusters = {}
        self.fault_files = {}
        os.makedirs(self.work, exist_ok=True)
        os.chmod(self.work, 0o755)

    # ---- small things
    def path(self, *parts):
        return os.path.join(self.work, *parts)

    def own(self, path, uid):
        if self.root_user:
            for base, dirs, files in os.walk(path):
                for name in [base] + [os.path.join(base, f) for f in files]:
                    os.chown(name, uid, uid)

    def write(self, path, text, mode=0o644):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def uid(self, which):
        return which if self.root_user else None

    # ---- certificates: one authority, one certificate a part; the name in CN is the role
    def make_certificates(self):
        tls = self.path("tls")
        os.makedirs(tls, exist_ok=True)

        def openssl(*argv):
            subprocess.run(["openssl", *argv], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        ca, ca_key = f"{tls}/ca.pem", f"{tls}/ca.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "60",
                "-subj", "/CN=obvault test authority", "-keyout", ca_key, "-out", ca)
        names = {"coordinator": "coordinator", "operator": "operator:dba"}
        names.update({f"agent{i + 1}": f"agent:{h}:{self.rpc_port}" for i, h in enumerate(self.hosts)})
        for file, cn in names.items():
            key, csr, pem, ext = (f"{tls}/{file}.{e}" for e in ("key", "csr", "pem", "ext"))
            self.write(ext, f"subjectAltName=IP:{self.coordinator_address.split(':')[0]},IP:127.0.0.1,DNS:localhost\n"
                            "extendedKeyUsage=serverAuth,clientAuth\n")
            openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={cn}",
                    "-keyout", key, "-out", csr)
            openssl("x509", "-req", "-in", csr, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "60",
                    "-extfile", ext, "-out", pem)
        self.own(tls, UID_OBVAULT)

    # ---- stand-in clusters
    def accounts(self):
        """The accounts a DBA would make: read-only for agents, ALTER SYSTEM for restores on the target."""
        return self.path("accounts.json")

    def cluster(self, name, *argv, timeout=120, check=True):
        cmd = [PYTHON, CLUSTER, argv[0], "--dir", self.clusters[name]["dir"], *map(str, argv[1:])]
        if argv[0] == "ctl":
            cmd.append("--json")
        done = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, text=True)
        if check and done.returncode != 0:
            raise Failure(f"cluster {' '.join(map(str, argv))}: {done.stderr.strip() or done.stdout.strip()}")
        return json.loads(done.stdout) if done.stdout.strip().startswith("{") else {}

    def ctl(self, name, verb, /, timeout=600, **args):
        words = [f"{k}={json.dumps(v)}" for k, v in args.items()]
        answer = self.cluster(name, "ctl", verb, *words, timeout=timeout)
        if not answer.get("ok", False):
            raise Failure(f"{name} {verb}: {answer}")
        return answer

    def ctl_direct(self, name, verb, /, timeout=120, **args):
        """The same without a process between: for many or large requests."""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
            s.settimeout(timeout)
            s.connect(self.clusters[name]["hosts"][0]["ctl"])
            s.sendall(json.dumps(dict(args, verb=verb)).encode() + b"\n")
            text = b""
            while not text.endswith(b"\n"):
                part = s.recv(1 << 20)
                if not part:
                    raise Failure(f"{name} {verb}: the connection ended")
                text += part
        answer = json.loads(text)
        if not answer.get("ok", False):
            raise Failure(f"{name} {verb}: {answer}")
        return answer

    def start_source(self, **knobs):
        return self._start_cluster("source", self.cluster_name, self.cluster_id, self.hosts, UID_SOURCE, knobs)

    def start_target(self, **knobs):
        """An empty cluster with free pools that sees nothing but the destination, read-only, and its own directory."""
        self.pools = [f"pool{i}" for i in range(1, 81)]
        return self._start_cluster("target", "obtarget", 9, self.target_hosts, UID_TARGET, knobs,
                                   "--empty", "--pools", ",".join(self.pools),
                                   *(["--mount-only", self.dest] if self.root_user else []))

    def _start_cluster(self, name, cluster_name, cluster_id, hosts, uid, knobs, *extra):
        folder = self.path(name)
        os.makedirs(folder, exist_ok=True)
        if not os.path.exists(self.accounts()):
            self.write(self.accounts(), json.dumps({"accounts": ACCOUNTS}))
        self.clusters[name] = {"dir": folder}
        words = []
        for key, value in knobs.items():
            words += ["--knob", f"{key}={value}"]
        if self.root_user:
            self.own(folder, uid)
            words += ["--as-user", f"{uid}:{UID_OBVAULT if name == 'target' else uid}"]
        started = self.cluster(name, "start", "--name", cluster_name, "--cluster-id", cluster_id, "--hosts",
                               ",".join(hosts), "--sql-port", self.sql_port, "--rpc-port", self.rpc_port,
                               "--accounts", self.accounts(), "--observer", f"{self.build}/tests/observer/obstandin",
                               *words, *extra)
        self.clusters[name].update(started)
        if self.root_user and len(self.standin_uids(name)) != len(hosts):
            raise Failure(f"{name}: some OBServers run as nobody knows whom")
        return started

    def destroy_cluster(self, name):
        """What a lost cluster leaves: no process, no directory."""
        self.cluster(name, "stop", "--kill", check=False)
        shutil.rmtree(self.clusters[name]["dir"], ignore_errors=True)

    # ---- obvault
    def password_file(self):
        path = self.path("conf", "password")
        if not os.path.exists(path):
            self.write(path, PASSWORD + "\n", 0o600)
            self.own(path, UID_OBVAULT)
            if self.root_user:
                os.chown(path, UID_OBVAULT, UID_OBVAULT)
        return path

    def prepare(self):
        os.makedirs(self.dest, exist_ok=True)
        os.chmod(self.dest, 0o750)
        self.own(self.dest, UID_OBVAULT)
        self.make_certificates()
        self.password_file()
        for name in ("coordinator-state", "log", *(f"agent{i + 1}-state" for i in range(len(self.hosts)))):
            os.makedirs(self.path(name), exist_ok=True)
            self.own(self.path(name), UID_OBVAULT)

    def coordinator_config(self, **over):
        tls = self.path("tls")
        conf = {
            "listen": self.coordinator_address,
            "tls": {"ca": f"{tls}/ca.pem", "cert": f"{tls}/coordinator.pem", "key": f"{tls}/coordinator.key"},
            "state_dir": self.path("coordinator-state"),
            "source": {"name": self.cluster_name, "cluster_id": self.cluster_id,
                       "endpoints": [f"{h}:{self.sql_port}" for h in self.hosts],
                       "user": "obv_coord@sys", "password_file": self.password_file()},
            "targets": [{"name": "standby", "endpoints": [f"{h}:{self.sql_port}" for h in self.target_hosts],
                         "user": "obv_restore@sys", "password_file": self.password_file()}],
            "repository": {"uri": f"file://{self.dest}", "profile": "native"},
            "archive": {"checkpoint_s": 1, "flush_ms": 300, "compressor": "zstd_1.3.8"},
            "backup": {"batch_pgs": 8, "per_agent": 1},
        }
        for key, value in over.items():
            conf[key] = {**conf[key], **value} if isinstance(value, dict) else value
        return self.write(self.path("conf", "coordinator.yaml"), yaml(conf))

    def agent_config(self, i, **over):
        tls, host = self.path("tls"), self.hosts[i]
        conf = {
            "coordinator": self.coordinator_address,
            "tls": {"ca": f"{tls}/ca.pem", "cert": f"{tls}/agent{i + 1}.pem", "key": f"{tls}/agent{i + 1}.key"},
            "state_dir": self.path(f"agent{i + 1}-state"),
            "pool_mib": 256, "workers": 2,
            "observer": {"ip": host, "rpc_port": self.rpc_port, "sql_port": self.sql_port,
                         "store_dir": self.store_dir(i), "user": "obv_agent@sys",
                         "password_file": self.password_file()},
            "cluster": {"name": self.cluster_name, "id": self.cluster_id},
            "repository": {"plugin": f"{self.build}/plugins/obvault-file.so",
                           "options": [{"key": "root", "value": self.dest}]},
        }
        for key, value in over.items():
            conf[key] = {**conf[key], **value} if isinstance(value, dict) else value
        return self.write(self.path("conf", f"agent{i + 1}.yaml"), yaml(conf))

    def store_dir(self, i):
        return self.path("source", f"host{i + 1}", "store")

    def start_coordinator(self, extra_env=None, **over):
        config = self.coordinator_config(**over)
        self.fault_files["coordinator"] = self.path("coordinator-state", "fault")
        self.coordinator = Daemon("coordinator", [f"{self.build}/coordinator/obvault-coordinator", "--config", config],
                                  self.path("log", "coordinator.log"), uid=self.uid(UID_OBVAULT),
                                  env={"OBV_FAULT_FILE": self.fault_files["coordinator"]}).start(extra_env)
        host, port = self.coordinator_address.split(":")
        wait_for("coordinator listens", 15, lambda: self.check_alive(self.coordinator) and port_open(host, int(port)))

    def start_agents(self, extra_env=None, **over):
        self.agents = []
        for i in range(len(self.hosts)):
            fault = self.fault_files[f"agent{i + 1}"] = self.path(f"agent{i + 1}-state", "fault")
            self.agents.append(Daemon(f"agent{i + 1}", [f"{self.build}/agent/obvault-agent", "--config",
                                                        self.agent_config(i, **over)],
                                      self.path("log", f"agent{i + 1}.log"), uid=self.uid(UID_OBVAULT),
                                      groups=(UID_OBVAULT, UID_SOURCE),
                                      env={"OBV_FAULT_FILE": fault}).start(extra_env))
        wait_for("all agents known to the coordinator", 20, lambda: all(map(self.check_alive, self.agents)) and
                 sum(a["state"] == "up" for a in self.cli("agent", "list")["agents"]) == len(self.agents))

    def check_alive(self, daemon):
        """It runs, and not as root."""
        if not daemon.alive():
            raise Failure(f"{daemon.name} ended with {daemon.proc.returncode}:\n{daemon.tail()}")
        daemon.check_unprivileged()
        return True

    def standin_uids(self, cluster):
        uids = {}
        for host in self.clusters[cluster].get("hosts", []):
            with contextlib.suppress(FileNotFoundError):  # killed by the test; its number may be somebody else's now
                with open(f"/proc/{host['pid']}/cmdline", "rb") as f:
                    if b"obstandin" in f.read():
                        uids[f"{cluster}-{host['ip']}"] = unprivileged(host["pid"], cluster)
        return uids

    def daemon_uids(self):
        """{name: real uid} of every process of this site: obvault's and the stand-ins'; Failure if one is root's."""
        uids = {d.name: d.check_unprivileged() for d in [self.coordinator, *self.agents] if d and d.alive()}
        for name in self.clusters:
            uids.update(self.standin_uids(name))
        return uids

    def cli_raw(self, *argv, timeout=900):
        """(exit code, parsed JSON) of one obvault command."""
        tls = self.path("tls")
        env = dict(os.environ, OBVAULT_COORDINATOR=self.coordinator_address, OBVAULT_CA=f"{tls}/ca.pem",
                   OBVAULT_CERT=f"{tls}/operator.pem", OBVAULT_KEY=f"{tls}/operator.key")
        done = subprocess.run([f"{self.build}/coordinator/obvault", *map(str, argv), "--output", "json"], env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("{")]
        try:
            answer = json.loads(done.stdout) if done.stdout.strip() else json.loads(lines[-1] if lines else "{}")
        except ValueError:
            answer = json.loads(lines[-1]) if lines else {}
        answer.setdefault("_stderr", done.stderr)
        return done.returncode, answer

    def cli(self, *argv, timeout=900, expect=0):
        code, answer = self.cli_raw(*argv, timeout=timeout)
        if code != expect:
            raise Failure(f"obvault {' '.join(map(str, argv))}: exit {code}, expected {expect}: {answer}")
        return answer

    # ---- the story's steps
    def windows(self):
        """The tenants of `window` that have one."""
        code, answer = self.cli_raw("window")
        if code != (0 if answer.get("tenants") else 6):  # 6: nothing yet
            raise Failure(f"obvault window: exit {code}: {answer}")
        return answer["tenants"]

    def window(self, tenant):
        """(earliest us, latest us) of the tenant's restorable window; (0, 0) while there is none."""
        spans = [w for t in self.windows() if t["tenant_id"] == tenant for w in t["windows"]]
        return (min(w["from_us"] for w in spans), max(w["to_us"] for w in spans)) if spans else (0, 0)

    def wait_window_past(self, at_us, seconds=60):
        wait_for(f"published checkpoint past {rfc3339(at_us)}", seconds,
                 lambda: all(self.window(t)[1] >= at_us for t in self.tenants), step=0.3)

    def digests(self, cluster, tenant, at=0):
        """{pg name: (kind, rows, sha256)} of a tenant at a time (0: now), as the cluster's own history has it."""
        answer = self.ctl(cluster, "digest", tenant=tenant, at=at)
        return {pg["pg"]: (pg["kind"], pg["rows"], pg["sha256"]) for pg in answer["pgs"]}, answer["sha256"]

    def restored_digests(self, name):
        """The same of a tenant restored on the target under that name."""
        db = sqlite3.connect(f"file:{self.path('target', 'shared', 'cluster.db')}?mode=ro", uri=True, timeout=20)
        with contextlib.closing(db):
            rows = db.execute("SELECT tenant_id FROM __all_tenant WHERE tenant_name = ?", (name,)).fetchall()
        if len(rows) != 1:
            raise Failure(f"the target has {len(rows)} tenants named {name}")
        return self.digests("target", rows[0][0])

    def tenant_name(self, tenant):
        return f"t{tenant}"

    def restore(self, tenant, at, to, timeout=300):
        return self.cli("restore", "start", "--tenant", self.tenant_name(tenant), "--to", to, "--at", rfc3339(at),
                        "--target", "standby", "--pool", self.pools.pop(0), "--wait", timeout=timeout)

    def stop(self):
        for d in [*self.agents, self.coordinator]:
            if d:
                d.stop()
        for name in list(self.clusters):
            with contextlib.suppress(Exception):
                self.cluster(name, "stop", "--kill", check=False)


PASSWORD = "obvault-" + "%08x" % random.SystemRandom().getrandbits(32)

# The rights of docs/sql.md: agents and coordinator read, only the target's account may ALTER SYSTEM.
ACCOUNTS = [
    {"user": "obv_agent", "tenant": "sys", "password": PASSWORD, "rights": ["SELECT"]},
    {"user": "obv_coord", "tenant": "sys", "password": PASSWORD, "rights": ["SELECT"]},
    {"user": "obv_restore", "tenant": "sys", "password": PASSWORD, "rights": ["SELECT", "ALTER SYSTEM"]},
]


def yaml(value, indent=0):
    """Plain YAML of dicts, lists and scalars; strings are quoted."""
    pad = "  " * indent
    if isinstance(value, dict):
        out = ""
        for key, item in value.items():
            if isinstance(item, (dict, list)):
                out += f"{pad}{key}:\n{yaml(item, indent + 1)}"
            else:
                out += f"{pad}{key}: {scalar(item)}\n"
        return out
    out = ""
    for item in value:
        if isinstance(item, dict):
            body = yaml(item, indent + 1)
            out += f"{pad}- {body.lstrip()}"
        else:
            out += f"{pad}- {scalar(item)}\n"
    return out


def scalar(item):
    if isinstance(item, bool):
        return "true" if item else "false"
    return str(item) if isinstance(item, (int, float)) else json.dumps(item)


@contextlib.contextmanager
def site(work, build, keep=False, **kw):
    """A site that is stopped and removed whatever happens; keep leaves it for a look."""
    s = Site(work, build, **kw)

    def asked_to_end(signum, _frame):
        raise SystemExit(128 + signum)

    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, asked_to_end)
    try:
        yield s
    except BaseException:
        for d in [*s.agents, s.coordinator]:
            if d:
                sys.stderr.write(f"--- {d.log}\n{d.tail()}")
        raise
    finally:
        if not keep:
            s.stop()
            shutil.rmtree(s.work, ignore_errors=True)
