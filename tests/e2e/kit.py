"""kit - acceptance lines: obvault-plugin-check passes good plugins, fails broken ones at the right case, and an author
outside the tree gets a plugin that passes from the installed header and the commands of docs/plugin-guide.md alone
"""
import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import tempfile

# What a plugin may skip, and why the kit lets it: cases or groups.
SKIPS = {
    "file": {"copy.copies"},  # no server-side copy
    "null": {"open", "put", "exclusive", "append", "read", "keys.odd", "list", "remove", "copy", "sweep", "memory",
             "cancel", "deadline", "threads", "crash", "disk"},  # it says that it keeps nothing
    "flatdir": {"append", "copy.copies", "crash.after_sync", "disk.sync_flushed"},  # it says that it cannot append
}
BROKEN_LEAST = 10
TEXT_CASE = re.compile(r"^(pass|fail|skip) +(\S+)", re.M)
TEXT_SUM = re.compile(r"^(\d+) passed, (\d+) failed \(\d+ of them required\), (\d+) skipped: grade (\w)$", re.M)


def empty_folder():
    return tempfile.TemporaryDirectory(prefix="obvault-kit-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)


def run_kit(kit, plugin, folder, options, text=False):
    """(exit code, stdout) of the kit on an empty folder."""
    done = subprocess.run([kit, *([] if text else ["--json"]), plugin, *options, *([f"root={folder}"] if folder else [])],
                          capture_output=True, text=True, timeout=900, check=False)
    return done.returncode, done.stdout


def graded(kit, name, plugin, with_root, options=(), as_text=True):
    """The reports of one plugin: grade A, exit code 0, the same verdicts in text and JSON, no skip without leave."""
    with empty_folder() as folder:
        code, out = run_kit(kit, plugin, folder if with_root else "", options)
        text_code, text = (run_kit(kit, plugin, folder if with_root else "", options, text=True) if as_text
                           else (0, ""))
        left = [f for _, _, files in os.walk(folder) for f in files]
    report = json.loads(out)
    cases = {c["name"]: c["verdict"] for c in report["cases"]}
    said = {case: verdict for verdict, case in TEXT_CASE.findall(text)}
    total = TEXT_SUM.search(text)
    skipped = {c for c, v in cases.items() if v == "skip"}
    extra = {s for s in skipped if not {s, s.split(".")[0]} & SKIPS[name]}
    if code or text_code or report["summary"]["grade"] != "A" or (as_text and (not total or total[4] != "A")):
        bad = [c for c, v in cases.items() if v == "fail"]
        raise AssertionError(f"{name}: exit {code}/{text_code}, grade {report['summary']['grade']}, failed {bad}")
    if as_text and (said != cases or len(skipped) != int(total[3]) or len(cases) - len(skipped) != int(total[1])):
        raise AssertionError(f"{name}: text and JSON differ: {sorted(set(said.items()) ^ set(cases.items()))[:4]}")
    if extra or left:
        raise AssertionError(f"{name}: skipped without need {sorted(extra)}, left in the folder {left[:4]}")
    return len(cases) - len(skipped), len(skipped)


def good_plugins(accept, quick):
    plugins = os.path.join(accept.root, "build", "dev", "plugins")
    kit, options = os.path.join(plugins, "obvault-plugin-check"), ["--keys=1500", "--big=8"] if quick else []
    file_passed, file_skipped = graded(kit, "file", os.path.join(plugins, "obvault-file.so"), True, options,
                                        as_text=not quick)
    null_passed, null_skipped = graded(kit, "null", os.path.join(plugins, "obvault-null.so"), False, options)
    return file_passed >= 90 and null_passed >= 15, (
        f"grade A for file ({file_passed} cases passed, {file_skipped} skipped) and null ({null_passed} passed, "
        f"{null_skipped} ask for what it says it cannot); text and JSON reports agree case by case"
        f"{' (null)' if quick else ''}")


def table(accept):
    """The broken plugins with what must fail: the table of tests/unit/plugins/broken/CMakeLists.txt, as CTest has it."""
    code, out = accept.command(["ctest", "--test-dir", "build/dev", "-R", "^unit.plugin_broken[.]",
                                "--show-only=json-v1"], 60)
    out_ = []
    for test in json.loads(out[out.index("{"):])["tests"] if code == 0 else []:
        _, _, kit, plugin, *args = test["command"]
        args.remove("--root")
        expected = {}
        for flag in ("--fails", "--maybe"):
            if flag in args:
                at = args.index(flag)
                expected[flag] = args[at + 1].split(",")
                del args[at:at + 2]
        out_.append((test["name"].rsplit(".", 1)[1], kit, plugin, args, expected["--fails"], expected.get("--maybe", [])))
    return out_


def broken_plugin(entry, quick):
    """A text if the kit does not fail this plugin where it must, or elsewhere."""
    name, kit, plugin, args, fails, maybe = entry
    if quick:  # the first case that must fail, alone
        fails = fails[:1]
        args = [*args, "--only", fails[0]]
    with empty_folder() as folder:
        code, out = run_kit(kit, plugin, folder, args)
    try:
        cases = json.loads(out)["cases"]
    except ValueError:
        return f"{name}: exit code {code} and no report"
    failed = {c["name"] for c in cases if c["verdict"] == "fail"}
    others = {f for f in failed - set(fails) if not {f, f.split(".")[0]} & set(maybe)}
    required = [c for c in cases if c["name"] in failed and c["level"] == "required"]
    silent = [c["name"] for c in cases if c["name"] in failed and not c["reason"]]
    if set(fails) - failed or others or silent or code != (1 if required else 0):
        return f"{name}: failed {sorted(failed)}, expected {fails}, exit code {code}, without a reason {silent}"
    return None


def broken_plugins(accept, quick):
    entries = table(accept)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        wrong = [w for w in pool.map(lambda e: broken_plugin(e, quick), entries) if w]
    cases = {f for e in entries for f in (e[4][:1] if quick else e[4])}
    return not wrong and len(entries) >= BROKEN_LEAST, (
        "; ".join(wrong[:4]) if wrong else
        f"{len(entries)} of {len(entries)} deliberately broken plugins fail at the case that names their defect "
        f"({len(cases)} different cases{', each tried alone' if quick else ' and no other'})")


def out_of_tree(accept, quick):
    """The guide's commands, word for word but for the prefix, on the installed files and one copied source."""
    with open(os.path.join(accept.root, "docs/plugin-guide.md"), encoding="utf-8") as f:
        guide = f.read()
    install = re.search(r"^cmake --install (\S+) --component (\S+) --prefix (\S+)$", guide, re.M)
    build = re.search(r"^cc .*-I(\S+)/include .*$", guide, re.M)
    if not install or not build or install[3] != build[1]:
        raise AssertionError("docs/plugin-guide.md has no commands to install and to build")
    with tempfile.TemporaryDirectory(prefix="obvault-kit-out-") as work:
        prefix = os.path.join(work, "prefix")
        code, out = accept.command(["cmake", "--install", os.path.join(accept.root, "build", "dev"), "--component",
                                    install[2], "--prefix", prefix], 120)
        if code != 0:
            raise AssertionError(f"cmake --install: {out[-300:]}")
        installed = sorted(os.path.relpath(os.path.join(d, n), prefix) for d, _, names in os.walk(prefix) for n in names)
        with open(os.path.join(accept.root, "docs/examples/plugin-flatdir/flatdir.c"), encoding="utf-8") as source, \
                open(os.path.join(work, "flatdir.c"), "w", encoding="utf-8") as copy:
            copy.write(source.read())
        done = subprocess.run([*shlex.split(build[0].replace(build[1], prefix)), "-Wextra", "-Werror"], cwd=work,
                              capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise AssertionError(f"the guide's command does not build the example: {done.stderr[:300]}")
        passed, skipped = graded(os.path.join(prefix, "bin/obvault-plugin-check"), "flatdir",
                                 os.path.join(work, "flatdir.so"), True, ["--keys=1500", "--big=8"] if quick else [],
                                 as_text=not quick)
    return passed >= 60, (f"docs/examples/plugin-flatdir builds with the guide's command against {', '.join(installed)} "
                          f"alone and gets grade A ({passed} cases passed, {skipped} skipped)")


def check(accept, quick, seed):
    """Nothing is drawn. The quick form tries one case for each broken plugin and a shorter listing."""
    accept.check("kit: plugin check of file and null", good_plugins, accept, quick)
    accept.check("kit: broken plugins", broken_plugins, accept, quick)
    accept.check("kit: out-of-tree example", out_of_tree, accept, quick)

