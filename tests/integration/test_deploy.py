"""What deploy/ installs: sample configurations that the daemons accept and that name every key, units, users, folders.

test_deploy.py BUILD
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else os.path.join(ROOT, "build", "dev"))
DAEMONS = {"agent": os.path.join(BUILD, "agent", "obvault-agent"),
           "coordinator": os.path.join(BUILD, "coordinator", "obvault-coordinator")}
KEY = re.compile(r"^( *)(- )?([a-z_]+):(?: (.*))?$")


def sample(name):
    return os.path.join(ROOT, "deploy", "config", f"{name}.yaml")


def read(path):
    with open(path) as f:
        return f.read()


def keys(text):
    """{dotted key: first value} of block YAML; items of a list are name[]."""
    out, stack = {}, []  # stack: (indent of the key, dotted)
    for line in text.splitlines():
        m = KEY.match(line)
        if not m:
            continue
        indent, item, key, value = len(m[1]), m[2], m[3], (m[4] or "").split(" #")[0].strip()
        indent += 2 if item else 0
        while stack and stack[-1][0] >= indent:
            stack.pop()
        dotted = f"{stack[-1][1]}{'[]' if stack[-1][2] else ''}.{key}" if stack else key
        if item:  # the list is the key above
            stack[-1] = (stack[-1][0], stack[-1][1], True)
            dotted = f"{stack[-1][1]}[].{key}"
        out.setdefault(dotted, value)
        stack.append((indent, dotted, False))
    return out


def printed(name, text):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        f.write(text)
        f.flush()
        done = subprocess.run([DAEMONS[name], "--print-config", "--config", f.name], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=30)
    return done.returncode, done.stdout, done.stderr


def with_defaults(text):
    """Commented-out keys (#key: value, without a space) made real."""
    return re.sub(r"(?m)^( *)#([a-z_]+:)", r"\1\2", text)


class Samples(unittest.TestCase):
    def each(self):
        return [(name, read(sample(name))) for name in DAEMONS]

    def test_the_daemons_accept_them(self):
        for name, text in self.each():
            code, out, err = printed(name, text)
            self.assertEqual((code, err), (0, ""))
            self.assertIn("state_dir", out)

    def test_every_key_that_a_daemon_knows_is_there(self):
        for name, text in self.each():
            known = keys(printed(name, text)[1])
            there = keys(with_defaults(text))
            self.assertGreater(len(known), 20)
            self.assertEqual(sorted(set(known) - set(there)), [])
            self.assertEqual(sorted(set(there) - set(known)), [])

    def test_commented_out_values_are_the_defaults(self):
        for name, text in self.each():
            self.assertNotEqual(with_defaults(text), text)
            code, out, err = printed(name, with_defaults(text))
            self.assertEqual((code, err), (0, ""))
            self.assertEqual(out, printed(name, text)[1])
        text = read(sample("coordinator"))
        without = text[:text.index("# log archiving; all values are the defaults")]
        self.assertEqual(printed("coordinator", without)[1], printed("coordinator", text)[1])

    def test_every_key_has_a_comment_above_it(self):
        for name, text in self.each():
            lines = with_defaults(text).splitlines()
            option_seen = set()  # a second plugin option needs no second explanation
            for i, line in enumerate(lines):
                m = KEY.match(line)
                if not m or m[3] in option_seen:
                    continue
                option_seen.update({m[3]} & {"key", "value"})
                self.assertRegex(lines[i - 1], r"^ *# \S", f"{name}.yaml line {i + 1}: {line}")

    def test_a_wrong_key_is_refused(self):
        for name, text in self.each():
            code, _, err = printed(name, text + "\nno_such_key: 1\n")
            self.assertEqual(code, 11)
            self.assertIn("no_such_key", err)


class Units(unittest.TestCase):
    NEEDED = {"ProtectSystem": "strict", "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "User": "obvault",
              "PrivateTmp": "yes", "PrivateDevices": "yes", "RestrictNamespaces": "yes", "MemoryDenyWriteExecute": "yes",
              "ProtectKernelTunables": "yes", "ProtectKernelModules": "yes", "ProtectControlGroups": "yes",
              "RestrictSUIDSGID": "yes", "SystemCallArchitectures": "native", "LimitCORE": "0"}

    def unit(self, name):
        return os.path.join(ROOT, "deploy", "systemd", f"obvault-{name}.service")

    def test_directives(self):
        for name in DAEMONS:
            section, have = "", {}
            for line in read(self.unit(name)).splitlines():
                if not line or line.startswith("#"):
                    continue
                if line.startswith("["):
                    self.assertRegex(line, r"^\[(Unit|Service|Install)\]$")
                    section = line
                    continue
                key, sep, value = line.partition("=")
                self.assertTrue(sep and re.match(r"^[A-Z][A-Za-z]+$", key), f"{name}: {line}")
                have.setdefault((section, key), []).append(value)
            for key, value in self.NEEDED.items():
                self.assertIn(value, have.get(("[Service]", key), []), f"{name}: {key}")
            start, = have[("[Service]", "ExecStart")]
            program, option, config = start.split()
            self.assertEqual((os.path.basename(program), option), (f"obvault-{name}", "--config"))
            self.assertEqual(os.path.basename(config), os.path.basename(sample(name)))
            state, = have[("[Service]", "StateDirectory")]
            self.assertEqual(keys(read(sample(name)))["state_dir"], f"/var/lib/{state}")

    def test_systemd_accepts_them_and_finds_them_tight(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("no systemd-analyze here: directives were checked above")
        with tempfile.TemporaryDirectory() as folder:
            for name, program in DAEMONS.items():
                path = os.path.join(folder, f"obvault-{name}.service")
                with open(path, "w") as f:
                    f.write(read(self.unit(name)).replace(f"/usr/bin/obvault-{name}", program))
                for argv in (["verify", "--man=no", path], ["security", "--offline=true", "--threshold=20", path]):
                    done = subprocess.run(["systemd-analyze", *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                          text=True, timeout=60, env=dict(os.environ, SYSTEMD_LOG_LEVEL="warning"))
                    self.assertEqual(done.returncode, 0, done.stdout[-2000:])
                    if argv[0] == "verify":
                        self.assertEqual(done.stdout.strip(), "")

    def test_a_loose_unit_would_be_found(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("no systemd-analyze here")
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "obvault-agent.service")
            loose = re.sub(r"(?m)^(Protect|Restrict|SystemCall|Private|Capability|NoNew).*\n", "", read(self.unit("agent")))
            with open(path, "w") as f:
                f.write(loose.replace("/usr/bin/obvault-agent", DAEMONS["agent"]))
            done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", path],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
            self.assertNotEqual(done.returncode, 0)


class Installed(unittest.TestCase):
    def test_what_the_units_and_samples_name_is_installed(self):
        with tempfile.TemporaryDirectory() as root:
            done = subprocess.run(["cmake", "--install", BUILD, "--prefix", f"{root}/usr"], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=120)
            self.assertEqual(done.returncode, 0, done.stdout[-2000:])
            for path in ("/usr/bin/obvault", "/usr/bin/obvault-agent", "/usr/bin/obvault-coordinator",
                         keys(read(sample("agent")))["repository.plugin"], "/usr/lib/systemd/system/obvault-agent.service",
                         "/usr/lib/systemd/system/obvault-coordinator.service", "/usr/lib/sysusers.d/obvault.conf",
                         "/usr/lib/tmpfiles.d/obvault.conf", "/usr/share/doc/obvault/examples/agent.yaml",
                         "/usr/share/doc/obvault/examples/coordinator.yaml"):
                self.assertTrue(os.path.exists(root + path), path)
            done = subprocess.run([f"{root}/usr/bin/obvault", "version"], stdout=subprocess.PIPE, text=True, timeout=30,
                                  env={"PATH": os.environ["PATH"]})
            self.assertIn("obvault ", done.stdout)


class UsersAndFolders(unittest.TestCase):
    def test_they_are_made(self):
        tools = [shutil.which(f"systemd-{t}") for t in ("sysusers", "tmpfiles")]
        systemd = os.path.join(ROOT, "deploy", "systemd")
        self.assertRegex(read(os.path.join(systemd, "obvault.sysusers.conf")), r"(?m)^u obvault - ")
        self.assertRegex(read(os.path.join(systemd, "obvault.tmpfiles.conf")), r"(?m)^d /etc/obvault 0750 root obvault")
        if not all(tools) or os.geteuid() != 0:
            self.skipTest("needs root, systemd-sysusers and systemd-tmpfiles: the lines were checked")
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.join(root, "etc"))
            for tool, more in zip(tools, ([], ["--create"])):
                conf = os.path.join(systemd, f"obvault.{os.path.basename(tool).split('-')[1]}.conf")
                done = subprocess.run([tool, f"--root={root}", *more, conf], stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True, timeout=60)
                self.assertEqual(done.returncode, 0, done.stdout)
            self.assertRegex(read(os.path.join(root, "etc", "passwd")), r"(?m)^obvault:.*/usr/sbin/nologin$")
            self.assertEqual(os.stat(os.path.join(root, "etc", "obvault", "tls")).st_mode & 0o7777, 0o750)


if __name__ == "__main__":
    unittest.main()
