"""first_whole_path - the checks behind tests/accept/01-first-whole-path"""
import concurrent.futures
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
import time

import faults
import fresh
import harness

MIB = 1 << 20


class Story:
    """One site brought to the point where a full backup is taken and log keeps flowing."""

    def __init__(self, site, mib_per_tenant=12, seed=1, workload=True):
        self.site, self.mib, self.seed, self.workload = site, mib_per_tenant, seed, workload

    def unsettle(self, rounds=2):
        """Freezes while transactions are open: minors get rows that only the transaction-state sstable resolves."""
        for _ in range(rounds):
            time.sleep(1.5)
            self.site.ctl("source", "minor_freeze")

    def begin(self, agent_env=None, bytes_of=None, coordinator=None, **agent_over):
        s = self.site
        s.prepare()
        s.start_source(ilog_freeze_us=500000)
        s.ctl("source", "layout", tenants=list(s.tenants))
        for tenant in s.tenants:
            s.ctl("source", "load", tenant=tenant, bytes=(bytes_of or {}).get(tenant, self.mib * MIB), tables=2,
                  partitions=4, compressor="mix", index=True, seed=self.seed)
        if self.workload:
            s.ctl("source", "workload", op="start", rate=150, tenants=list(s.tenants), seed=self.seed, long_pct=20)
        s.start_coordinator(**(coordinator or {}))
        s.start_agents(extra_env=agent_env, **agent_over)
        s.cli("repo", "init")
        s.cli("archive", "start", "--wait", timeout=120)
        return self

    def backup(self):
        return self.site.cli("backup", "start", "--wait", timeout=600)

    def set_end(self):
        """S of the newest good set, per tenant."""
        return {t: self.site.window(t)[0] - 1 for t in self.site.tenants}

    def times(self, count, rng):
        """count seeded times after S at which digests are taken from the source's own history."""
        lo = max(self.set_end().values()) + 1
        hi = self.site.ctl("source", "now")["now"]
        return sorted(rng.randrange(lo, hi) for _ in range(count))


def build_dir(accept, name="dev"):
    return os.path.join(accept.root, "build", name)


def new_site(accept, net, build="dev", **kw):
    return harness.site(tempfile.mkdtemp(prefix="obvault-accept-"), build_dir(accept, build), net=net, **kw)


def reader_check(accept, site, leftovers=False):
    """(accepted, report, findings); leftovers: what a kill may leave behind is no finding."""
    code, out = accept.command([harness.PYTHON, "tests/reader/check.py", site.dest, "--json", "--rows",
                                *([] if leftovers else ["--no-leftovers"])], 180)
    try:
        report = json.loads(out[out.index("{"):])
    except ValueError:
        report = {}
    findings = [f for f in report.get("findings", []) if not (leftovers and f["leftover"])]
    return code == 0 and report.get("ok") is True and not findings, report, findings


def compare_restore(site, tenant, at, wanted, to):
    """(equal, text): restores and compares every PG."""
    site.restore(tenant, at, to)
    pgs, digest = site.restored_digests(to)
    source_pgs, source_digest = wanted
    wrong = sorted(name for name in set(pgs) | set(source_pgs) if pgs.get(name, ())[1:] != source_pgs.get(name, ())[1:])
    return digest == source_digest and not wrong, f"{len(source_pgs)} PGs, wrong: {wrong[:3] or 'none'}"


def start_target(site):
    site.start_target()
    site.ctl("target", "parameter", name="restore_concurrency", value="10")


# ---- restores, refused times, strict reader -------------------------------------------------------------------------
def restores(accept, quick, seed):
    count, rng = (4 if quick else 10), random.Random(seed)
    mib = 12 if quick else 144  # of rows; blocks are compressed: about 0.8 of it is read
    with new_site(accept, 40) as site:
        story = Story(site, mib_per_tenant=mib, seed=seed)
        state = {}

        def prepare():
            story.begin()
            story.unsettle()
            job = story.backup()
            site.ctl("source", "minor_freeze")
            time.sleep(3 if quick else 20)
            state["times"] = story.times(count, rng)
            site.ctl("source", "workload", op="stop")
            state["wanted"] = {(t, at): site.digests("source", t, at) for at in state["times"] for t in site.tenants}
            site.wait_window_past(max(state["times"]))
            state["window"] = {t: site.window(t) for t in site.tenants}
            progress = job["progress"]
            enough = quick or (progress["bytes_read"] >= 200 * MIB and progress["pgs_done"] >= 40)
            return enough and job["state"] == "SUCCESS", (
                f"{job['state']}, {progress['pgs_done']} PGs, {progress['bytes_read'] // MIB} MiB read, "
                f"{progress['bytes_written'] // MIB} MiB stored, {len(site.tenants)} tenants")

        if not accept.check("backup of two tenants while they write", prepare):
            return

        def refused():
            seen = []
            for tenant in site.tenants:
                first, last = state["window"][tenant]
                for at in (first - 1, first - 1_000_000, last + 60_000_000):
                    code, answer = site.cli_raw("restore", "start", "--tenant", site.tenant_name(tenant), "--to", "no",
                                                "--at", harness.rfc3339(at), "--target", "standby", "--pool", "pool_no",
                                                "--wait", timeout=120)
                    text = json.dumps(answer)
                    shown = harness.rfc3339(first)[:19] in text and harness.rfc3339(last)[:16] in text
                    seen.append(code == 6 and shown)
            return all(seen), f"{sum(seen)} of {len(seen)} times at or before S or past the checkpoint refused, exit 6, window shown"

        def whitelist():
            bad, lines = [], 0
            for i in range(3):
                with open(site.path("source", f"host{i + 1}", "log", "rpc.log")) as f:
                    for line in f:
                        lines += 1
                        if "VIOLATION" in line:
                            bad.append(line.strip())
            return not bad and lines > 0, f"{lines} storage RPCs logged by the OBServers, {len(bad)} outside the whitelist"

        accept.check("storage RPC only by the five read codes", whitelist)
        site.destroy_cluster("source")
        gone = not os.path.exists(site.path("source"))
        accept.line(gone, "source destroyed before every restore", "directories gone" if gone else "still there")
        accept.check("reader accepts the tree strictly", lambda: strict(accept, site))
        start_target(site)
        accept.check("times outside the window refused", refused)

        def all_restores():
            good, notes = 0, []
            for i, at in enumerate(state["times"]):
                tenant = site.tenants[i % len(site.tenants)] if quick or i % 2 == 0 else None
                for t in ([tenant] if tenant else site.tenants):
                    equal, note = compare_restore(site, t, at, state["wanted"][(t, at)], f"r{i}x{t}")
                    good += equal
                    if not equal:
                        notes.append(f"{t}@{at}: {note}")
            want = sum(1 if quick or i % 2 == 0 else len(site.tenants) for i in range(count))
            return good == want, f"{good} of {want} restores at {count} seeded times equal {notes[:2] or ''}"

        accept.check("restores to seeded times equal the source row for row", all_restores)


def strict(accept, site, leftovers=False):
    ok, report, findings = reader_check(accept, site, leftovers)
    files = sum(len(names) for _, _, names in os.walk(site.dest))
    return ok, f"{files} files, {len(findings)} findings {findings[:2] or ''}"


# ---- formats --------------------------------------------------------------------------------------------------------
def golden(accept):
    code, out = accept.command(["ctest", "--test-dir", "build/dev", "-R", "unit.format", "--output-on-failure"], 300)
    found = re.search(r"tests failed out of (\d+)", out)
    golden_dir = os.path.join(accept.root, "..", "shared", "golden")
    skipped = len(re.findall(r"Not Run|Skipped", out))
    source = "all golden files" if os.path.isdir(golden_dir) else "vectors of tests/vectors (no golden folder here)"
    return code == 0 and bool(found), f"{found.group(1) if found else 0} format test programs pass over {source}, {skipped} skipped"


# ---- warnings, sanitizers -------------------------------------------------------------------------------------------
def stages(accept, *wanted):
    """The named stages of the tests/run above passed: builds are -Werror, test stages tell how many tests."""
    def run():
        found = [re.search(rf"^ok +{name}(: \d+ tests)? \(\d+ s\)$", accept.tests_run_output, re.M) for name in wanted]
        return all(found), ", ".join(f.group(0)[2:].strip() if f else f"{name} did not pass" for f, name in zip(found, wanted))
    return run


# ---- memory ---------------------------------------------------------------------------------------------------------
def memory(accept, quick):
    gib = 2 << 30
    limit_mib = 256 + 128
    with new_site(accept, 44, build="release" if not quick else "dev", tenants=(1001,)) as site:
        story = Story(site, workload=False).begin(bytes_of={1001: gib * 4 // 3})  # rows; blocks are compressed
        job = story.backup()
        peaks = [a.vm_hwm_kib() // 1024 for a in site.agents]
        read = job["progress"]["bytes_read"]
        ok = job["state"] == "SUCCESS" and read >= gib and max(peaks) < limit_mib
        return ok, f"{read / (1 << 30):.2f} GiB backed up, VmHWM {peaks} MiB of {limit_mib} allowed"


# ---- seeded bugs ----------------------------------------------------------------------------------------------------
def seeded_bug(accept, bug, net, seed):
    """The end-to-end story must turn red with the bug on: refused on the way, or rows that differ at the end."""
    with new_site(accept, net) as site:
        try:
            red = bug_story(site, bug, seed)
        except harness.Failure as e:
            red = f"refused: {str(e)[:110]}"
        fired = 0
        for agent in site.agents:
            with open(agent.log, errors="replace") as f:
                fired += f.read().count(f"seeded bug {bug}")
        return bool(red) and fired > 0, f"fired {fired} times, end to end: {red or 'still green'}"


def bug_line(bug):
    return f"seeded {bug} turns the end-to-end test red"


def bug_story(site, bug, seed):
    """Backup, loss, restore of every tenant; the text of what went wrong, "" when all is equal."""
    story = Story(site, mib_per_tenant=6, seed=seed).begin(agent_env={"OBV_BUG": bug})
    story.unsettle(3)
    story.backup()
    time.sleep(2)
    at = site.ctl("source", "now")["now"]
    site.ctl("source", "workload", op="stop")
    wanted = {t: site.digests("source", t, at) for t in site.tenants}
    site.wait_window_past(at)
    site.destroy_cluster("source")
    start_target(site)
    for tenant in site.tenants:
        equal, note = compare_restore(site, tenant, at, wanted[tenant], f"b{tenant}")
        if not equal:
            return f"rows differ: {note}"
    return ""


# ---- the list -------------------------------------------------------------------------------------------------------
def run(accept, quick, seed):
    if not quick:
        accept.check("deploy/quickstart on a fresh Debian 12", fresh.quickstart, accept)
        accept.check("tests/run --no-accept", fresh.tests_run, accept)
    restores(accept, quick, seed)
    accept.check("golden files of the formats used", golden, accept)
    if not quick:
        accept.check("no gcc or clang warning", stages(accept, "build-dev", "build-release", "build-clang"))
        accept.check("unit tests clean under ASan and UBSan", stages(accept, "build-asan", "asan"))
        accept.check("unit tests clean under TSan", stages(accept, "build-tsan", "tsan"))
        accept.check("2 GiB backed up in bounded memory", memory, accept, quick)
    faults.kills(accept, quick, seed)
    bugs = ("bug.drop_block", "bug.wrong_log_range", "bug.wrong_trans_sstable")
    # each is a site of its own that mostly waits: in processes of their own, since a site catches signals
    with concurrent.futures.ProcessPoolExecutor(max_workers=len(bugs)) as pool:
        runs = [pool.submit(seeded_bug, accept, bug, 50 + 4 * i, seed) for i, bug in enumerate(bugs)
                if accept.wants(bug_line(bug))]
        for bug, done in zip([b for b in bugs if accept.wants(bug_line(b))], runs):
            accept.check(bug_line(bug), done.result)
