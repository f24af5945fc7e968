"""story - the main job, told as it happens: archive, full backup, loss of the cluster, restore to a microsecond."""
import argparse
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402


def human(count):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.1f} {unit}" if unit != "B" else f"{count} B"
        count /= 1024
    return ""


class Teller:
    def __init__(self):
        self.began = time.monotonic()

    def __call__(self, text):
        print(f"[{time.monotonic() - self.began:6.1f} s] {text}", flush=True)


def tree_bytes(path):
    return sum(os.path.getsize(os.path.join(base, f)) for base, _, files in os.walk(path) for f in files)


def compare(site, tenant, at, wanted, to):
    """Prints one line a PG kind; returns whether every PG of the restored tenant equals the source at T."""
    pgs, digest = site.restored_digests(to)
    source_pgs, source_digest = wanted
    kinds = {}
    for name, (kind, rows, sha) in source_pgs.items():
        same, count, total = kinds.get(kind, (0, 0, 0))
        kinds[kind] = (same + (pgs.get(name, (None, None, None))[1:] == (rows, sha)), count + 1, total + rows)
    equal = digest == source_digest and set(pgs) == set(source_pgs)
    for kind, (same, count, rows) in sorted(kinds.items()):
        equal = equal and same == count
        print(f"    {site.tenant_name(tenant):8} {kind:11} {same}/{count} PGs equal, {rows} rows")
    print(f"    {site.tenant_name(tenant):8} row digest  source   {source_digest}")
    print(f"    {'':8} at T        restored {digest}   {'EQUAL' if equal else 'DIFFERENT'}")
    return equal


def tell(site, say):
    say("start a stand-in OceanBase cluster: three hosts, two tenants, partitioned tables, a tablegroup")
    site.prepare()
    site.start_source(ilog_freeze_us=500000)
    site.ctl("source", "layout", tenants=list(site.tenants))
    for tenant in site.tenants:
        site.ctl("source", "load", tenant=tenant, bytes=64 << 20, tables=2, partitions=4, compressor="mix", index=True)
    site.ctl("source", "workload", op="start", rate=200, tenants=list(site.tenants), seed=1)

    say("start obvault-coordinator and an obvault-agent beside each OBServer, all speaking mTLS")
    site.start_coordinator()
    site.start_agents()
    site.cli("repo", "init")
    say(f"repository made at {site.dest} (native profile: OceanBase's own layout)")

    site.cli("archive", "start", "--wait", timeout=90)
    say("log archiving is DOING: every PG's log flows to the destination")

    began = time.monotonic()
    job = site.cli("backup", "start", "--wait", timeout=150)
    took = time.monotonic() - began
    read, stored = job["progress"]["bytes_read"], job["progress"]["bytes_written"]
    say(f"full backup {job['job_id']}: {job['state']}, {job['progress']['pgs_done']} PGs, {human(read)} read, "
        f"{human(stored)} stored in {took:.1f} s ({human(read / max(took, 0.001))}/s)")

    say("the tenants go on writing for five seconds, majors are merged, then T is chosen")
    site.ctl("source", "minor_freeze")
    time.sleep(5)
    at = site.ctl("source", "now")["now"]
    time.sleep(1)
    site.ctl("source", "workload", op="stop")
    wanted = {t: site.digests("source", t, at) for t in site.tenants}
    say(f"T = {harness.rfc3339(at)}; the source's row digests at T are taken")
    site.wait_window_past(at)
    for tenant in site.tenants:
        first, last = site.window(tenant)
        say(f"tenant {site.tenant_name(tenant)} is restorable from {harness.rfc3339(first)} to {harness.rfc3339(last)}")

    say("disaster: all OBServers are killed and their directories removed")
    site.destroy_cluster("source")
    for agent in site.agents:
        agent.stop()
    size = tree_bytes(site.dest)

    say("start an empty target cluster that sees only the destination, read-only")
    site.start_target()
    site.ctl("target", "parameter", name="restore_concurrency", value="10")
    equal = True
    for tenant in site.tenants:
        began = time.monotonic()
        to = f"{site.tenant_name(tenant)}r"
        site.restore(tenant, at, to)
        say(f"tenant {site.tenant_name(tenant)} restored as {to} in {time.monotonic() - began:.1f} s; rows compared:")
        equal = compare(site, tenant, at, wanted[tenant], to) and equal
    say(f"destination holds {human(size)}; backup read {human(read)} and stored {human(stored)} "
        f"(ratio {stored / max(read, 1):.2f})")
    return equal


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--build", default="build/release")
    words.add_argument("--keep", action="store_true", help="leave everything running")
    words.add_argument("--net", type=int, default=30)
    args = words.parse_args()
    work = tempfile.mkdtemp(prefix="obvault-quickstart-")
    say = Teller()
    with harness.site(work, os.path.abspath(args.build), keep=args.keep, net=args.net, say=say) as site:
        equal = tell(site, say)
        if args.keep:
            say(f"left running below {work}")
    took = time.monotonic() - say.began
    print(f"story told in {took:.0f} s: {'all digests equal' if equal else 'DIGESTS DIFFER'}")
    return 0 if equal and took <= 180 else 1


if __name__ == "__main__":
    sys.exit(main())
