"""operations - every command that docs/operations.md shows is run, in the page's order, on one site

check(accept, quick, seed) is called by tests/accept/02-right-by-every-rule. Blocks of the page:
    ```sh        run here, as the agents' user, with paths and names of this site
    ```sh root   need root and systemd of their hosts: their syntax and the programs' names are checked
    ```sql       GRANT statements must be those of docs/sql.md
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
from acceptance import Acceptance  # noqa: E402

PAGE = os.path.join(harness.ROOT, "docs", "operations.md")
FENCE = re.compile(r"(?m)^```(\w+)?( root)?\n(.*?)^```$", re.S)
DOC_TIME = "2026-11-25T08:00:00.000001+00:00"
ROOT_PROGRAMS = {"cmake", "install", "systemctl", "systemd-sysusers", "systemd-tmpfiles", "journalctl", "openssl"}


def blocks():
    with open(PAGE) as f:
        return [(m[1] or "", bool(m[2]), m[3]) for m in FENCE.finditer(f.read())]


def fences_are_known():
    """A block that nobody would look at is a defect of the page."""
    found = blocks()
    unknown = [lang for lang, root, _ in found if (lang, root) not in
               {("sh", False), ("sh", True), ("sql", False), ("text", False)}]
    run = sum(lang == "sh" and not root for lang, root, _ in found)
    return not unknown and run >= 8, f"{len(found)} blocks, {run} run here, unknown {unknown}"


def root_blocks():
    commands = 0
    for lang, root, text in blocks():
        if lang != "sh" or not root:
            continue
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
        for line in text.splitlines():
            word = line.split()[0]
            if word not in ROOT_PROGRAMS:
                return False, f"{word} is no program that root would use here: {line}"
            commands += 1
    return commands > 0, f"{commands} commands for root"


def grants():
    with open(os.path.join(harness.ROOT, "docs", "sql.md")) as f:
        sql = f.read()
    here = {line for lang, _, text in blocks() if lang == "sql" for line in text.splitlines() if line.startswith("GRANT")}
    there = set(re.findall(r"(?m)^GRANT .*;$", sql))
    return here == there and len(here) == 4, f"{len(here)} GRANT statements, as in docs/sql.md"


def local(site, text, at):
    """The page's names as those of this site."""
    tls = site.path("tls")
    for old, new in {
            "/etc/obvault/agent.yaml": site.path("conf", "agent1.yaml"),
            "/etc/obvault/coordinator.yaml": site.path("conf", "coordinator.yaml"),
            "/etc/obvault/tls/ca.pem": f"{tls}/ca.pem", "/etc/obvault/tls/dba.pem": f"{tls}/operator.pem",
            "/etc/obvault/tls/dba.key": f"{tls}/operator.key",
            "OBVAULT_COORDINATOR=10.0.0.10:2990": f"OBVAULT_COORDINATOR={site.coordinator_address}",
            "--tenant shop": f"--tenant {site.tenant_name(site.tenants[0])}", "--pool pool1": f"--pool {site.pools[0]}",
            DOC_TIME: at}.items():
        text = text.replace(old, new)
    return text


def run(site, text, env):
    """A block as a script; its exports are there for the next ones."""
    script = text + "\nexport -p >" + site.path("scratch", "exports") + "\n"
    argv = ["bash", "-euo", "pipefail", "-c", script]
    if site.root_user:
        argv = ["setpriv", f"--reuid={harness.UID_OBVAULT}", f"--regid={harness.UID_OBVAULT}",
                f"--groups={harness.UID_OBVAULT},{harness.UID_SOURCE}", *argv]
    done = subprocess.run(argv, cwd=site.path("scratch"), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=240)
    if done.returncode != 0:
        raise harness.Failure(f"exit {done.returncode} of\n{text}\n{done.stdout[-1500:]}")
    with open(site.path("scratch", "exports")) as f:
        for name, value in re.findall(r'(?m)^declare -x (OBVAULT_\w+)="([^"]*)"$', f.read()):
            env[name] = value


def the_page(site):
    site.prepare()
    os.makedirs(site.path("scratch"), exist_ok=True)
    site.own(site.path("scratch"), harness.UID_OBVAULT)
    site.start_source(ilog_freeze_us=500000)
    site.ctl("source", "layout", tenants=list(site.tenants))
    site.ctl("source", "workload", op="start", rate=50, tenants=list(site.tenants), seed=1)
    site.start_target()
    site.ctl("target", "parameter", name="restore_concurrency", value="10")
    site.start_coordinator()
    site.start_agents()
    env = {"PATH": f"{site.build}/coordinator:{site.build}/agent:{os.environ['PATH']}", "HOME": site.path("scratch")}
    ran = commands = 0
    for lang, root, text in blocks():
        if lang != "sh" or root:
            continue
        at = ""
        if DOC_TIME in text:  # as an operator would: a time of the window
            lo, hi = site.window(site.tenants[0])
            at = harness.rfc3339((lo + hi) // 2)
        if "verify" in text and "local" in text:
            site.cli("archive", "stop", "--wait", timeout=120)  # a tree that nobody writes
        run(site, local(site, text, at), env)
        ran += 1
        commands += sum(line.startswith(("obvault", "openssl", "certificate ")) for line in text.splitlines())
    return ran >= 8, f"{ran} blocks, {commands} commands, all ended with 0"


def check(accept, quick, seed):
    accept.check("operations.md: every block is of a known kind", fences_are_known)
    accept.check("operations.md: blocks for root are sound", root_blocks)
    accept.check("operations.md: grants are those of sql.md", grants)
    if quick:
        return
    work = tempfile.mkdtemp(prefix="obv-operations-")
    os.chmod(work, 0o755)
    with harness.site(work, os.path.join(accept.root, "build", "dev"), net=90) as site:
        accept.check("operations.md: every command is run in order", the_page, site)


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--quick", action="store_true")
    args = words.parse_args()
    accept = Acceptance(harness.ROOT)
    began = time.monotonic()
    check(accept, args.quick, 1)
    print(f"{time.monotonic() - began:.1f} s")
    return accept.finish()


if __name__ == "__main__":
    sys.exit(main())
