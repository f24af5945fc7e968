"""flips - single byte flips in a tree that obvault wrote: each must be found by tests/reader and by obvault-agent

One byte of the whole tree is changed at a time for tests/reader, which then checks again what the flip touches, by the
very functions of its check; only where those say nothing the whole tree is checked. The agent gets many flips at once,
each in a file of its own, and must name every one of these files as damaged; a flip that it does not name so is tried
again alone.
"""
import collections
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

import first_whole_path
import harness

sys.path.insert(0, os.path.join(harness.ROOT, "tests", "reader"))
import check as reader  # noqa: E402
import media  # noqa: E402
from check_archive import scan_pg  # noqa: E402
from check_files import check_macro_file  # noqa: E402
from check_own import check_identity  # noqa: E402
from findings import Findings  # noqa: E402
from pgarchive import piece_of  # noqa: E402
from tree import classify, find_clusters, read  # noqa: E402

Flip = collections.namedtuple("Flip", "path kind offset mask")


class Tree:
    """A copy of a destination that may be changed."""

    def __init__(self, top):
        self.top = top
        ((self.name, self.id, self.cp),) = find_clusters(top)
        self.kinds = collections.defaultdict(list)  # kind -> [path below cp]
        for base, _, files in os.walk(self.cp):
            for f in files:
                path = os.path.relpath(os.path.join(base, f), self.cp)
                name = classify(path)
                kind = "obvault" if path.startswith("obvault/") else name.kind if name else "?"
                if os.path.getsize(os.path.join(self.cp, path)):
                    self.kinds[kind].append(path)
        for paths in self.kinds.values():
            paths.sort()

    def flip(self, f):
        """Its own inverse."""
        with open(os.path.join(self.cp, f.path), "r+b") as file:
            file.seek(f.offset)
            byte = file.read(1)[0]
            file.seek(f.offset)
            file.write(bytes([byte ^ f.mask]))

    def draw(self, count, rng):
        """count different flips, spread evenly over the kinds of file, then over files and bytes; every fourth lies in
        the first 64 bytes, where the headers are."""
        out, seen = [], set()
        kinds = sorted(self.kinds)
        while len(out) < count:
            kind = kinds[len(out) % len(kinds)]
            path = rng.choice(self.kinds[kind])
            size = os.path.getsize(os.path.join(self.cp, path))
            f = Flip(path, kind, rng.randrange(min(size, 64) if rng.random() < 0.25 else size), rng.randrange(1, 256))
            if f not in seen:
                seen.add(f)
                out.append(f)
        return out


# ---- tests/reader

def touched(tree, f):
    """Findings of the ordinary checks of the one file, or of the one PG's log, that the flip lies in."""
    out, path = Findings(tree.top), os.path.join(tree.cp, f.path)
    name = classify(f.path)
    with out.guard(path, "flip"):
        if f.kind == "obvault":
            check_identity(out, tree.cp)
        elif f.kind == "macro_data":
            out.extend(check_macro_file(tree.top, path)[0])
        elif f.kind == "macro_index":
            media.MacroIndex().add(read(path), out.note(path))
        elif f.kind in ("archive_data", "archive_index", "archive_key"):
            piece = piece_of(os.path.join(tree.cp, name.fields["tenant"], "clog", name.fields["dir"]))
            out.extend(scan_pg(tree.top, [piece], int(name.fields["table"]), int(name.fields["part"]), set())[0])
        else:
            one = reader.Tree(tree.top, tree.cp, out, None)
            one.names = [name]
            one._small_files()
    return [x for x in out if not x.leftover]


def reader_finds(tree, f):
    tree.flip(f)
    try:
        if touched(tree, f):
            return True
        return any(not x.leftover for x in reader.check_root(tree.top)[0])
    finally:
        tree.flip(f)


# ---- the product's reader

class Agent:
    def __init__(self, site_build, work, tree):
        conf = {
            "coordinator": "127.0.0.1:7070", "tls": {"ca": "/none", "cert": "/none", "key": "/none"},
            "state_dir": os.path.join(work, "verify-state"),
            "observer": {"ip": "127.0.0.1", "rpc_port": 2882, "sql_port": 2881, "store_dir": "/none", "user": "none@sys",
                         "password_file": "/none"},
            "cluster": {"name": tree.name, "id": tree.id},
            "repository": {"plugin": f"{site_build}/plugins/obvault-file.so",
                           "options": [{"key": "root", "value": tree.top}]},
        }
        self.config = os.path.join(work, "verify.yaml")
        with open(self.config, "w") as file:
            file.write(harness.yaml(conf))
        self.program, self.tree, self.runs = f"{site_build}/agent/obvault-agent", tree, 0

    def verify(self, *argv):
        """(exit code, findings, summary)"""
        self.runs += 1
        done = subprocess.run([self.program, "--config", self.config, "local", "verify", "--output", "json", *argv],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        if not lines or lines[-1]["type"] != "summary":
            raise harness.Failure(f"verify: exit {done.returncode}, {done.stderr}")
        return done.returncode, lines[:-1], lines[-1]

    def below_cp(self, finding):
        return os.path.relpath(os.path.join(self.tree.top, finding["object"]), self.tree.cp)

    def finds(self, flips):
        """Those of the flips, each in another file, that are found by name."""
        for f in flips:
            self.tree.flip(f)
        try:
            code, found, _ = self.verify()
        finally:
            for f in flips:
                self.tree.flip(f)
        named = {self.below_cp(x) for x in found if x["class"] == "damaged"} if code == 7 else set()
        good = [f for f in flips if f.path in named]
        if len(flips) == 1 and not good and code == 7 and any(x["class"] != "leftover" for x in found):
            return flips  # alone in the tree, so whatever was found is its
        return good


def agent_finds(agent, flips):
    left, found = list(flips), set()
    while left:
        batch, rest, used = [], [], set()
        for f in left:
            (rest if f.path in used else batch).append(f)
            used.add(f.path)
        hit = set(agent.finds(batch))
        for f in batch:
            if f not in hit and agent.finds([f]):
                hit.add(f)
        found |= hit
        left = rest
    return found


# ---- the check

def make_tree(accept, quick, seed, work):
    """A destination with a full backup and log behind it, at rest."""
    with first_whole_path.new_site(accept, 120, tenants=(1001,) if quick else (1001, 1002)) as site:
        story = first_whole_path.Story(site, mib_per_tenant=2 if quick else 6, seed=seed)
        story.begin()
        story.backup()
        if not quick:  # whoever takes over closes the data files with index records: half a minute
            for agent in site.agents:
                agent.kill()
                agent.start()
            site.wait_window_past(site.ctl("source", "now")["now"])
        site.ctl("source", "workload", op="stop")
        site.stop()
        shutil.copytree(site.dest, work, dirs_exist_ok=True)
        return site.build


def text_of(missed):
    return "; ".join(f"{f.path}:{f.offset}^{f.mask:02x}" for f in missed[:3])


def flips(accept, work, top, build, count, seed):
    """Lines of the acceptance over a tree at rest, which is changed and put back: whoever has one may call this."""
    tree = Tree(top)
    agent = Agent(build, work, tree)
    drawn = tree.draw(count, random.Random(seed))
    spread = ", ".join(f"{k} {n}" for k, n in sorted(collections.Counter(f.kind for f in drawn).items()))

    def whole():
        code, found, s = agent.verify()
        read_by_reader = [x for x in reader.check_root(tree.top)[0] if not x.leftover]
        return code == 0 and s["ours"] and s["pgs"] > 0 and s["macroblocks"] > 0 and s["logs"] > 0 and not read_by_reader, (
            f"{s['objects']} objects, {s['bytes'] >> 20} MiB, {s['macroblocks']} macroblocks, {s['logs']} logs: agent "
            f"{s['result']} {found[:1] or ''}, reader {len(read_by_reader)} findings")

    def by_reader():
        began = time.monotonic()
        false = [f for f in drawn if touched(tree, f)]  # before the flip there is nothing to find
        if false:
            return False, f"{len(false)} good files are called damaged: {text_of(false)}"
        missed = [f for f in drawn if not reader_finds(tree, f)]
        return not missed, (f"{count - len(missed)} of {count} found by tests/reader in {time.monotonic() - began:.0f} s"
                            f" ({spread}) {text_of(missed)}")

    def by_agent():
        found = agent_finds(agent, drawn)
        missed = [f for f in drawn if f not in found]
        return not missed, (f"{len(found)} of {count} found by obvault-agent local verify in {agent.runs} runs over "
                            f"{len(tree.kinds)} kinds of file {text_of(missed)}")

    accept.check("byte flips: the tree is good before", whole)
    accept.check("byte flips found by tests/reader", by_reader)
    accept.check("byte flips found by the product's reader", by_agent)
    accept.check("byte flips: the tree is good again", whole)


def check(accept, quick, seed):
    work = tempfile.mkdtemp(prefix="obvault-flips-")
    top = os.path.join(work, "tree")
    try:
        build = make_tree(accept, quick, seed, top)
        flips(accept, work, top, build, 100 if quick else 1000, seed)
    finally:
        shutil.rmtree(work, ignore_errors=True)
