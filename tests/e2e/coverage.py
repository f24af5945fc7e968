"""coverage - acceptance line: how many lines of common/ the unit tests run (preset cov, gcc's own gcov)

Full form only: it needs a build of its own. Files are named from the least covered on, so that the figure says where to
look; a file that no test program links counts with all its lines.
"""
import json
import os
import re
import subprocess

LEAST = 85.0
MODULES = "base|format_media|format_ob|pipe"
FOLDERS = ("base", "format/media", "format/ob", "pipe")
TESTS = f"^unit.({MODULES})[.]"


def build(accept):
    """The unit test programs of common/, instrumented; configured anew, so that CTest knows tests that are new."""
    code, out = accept.command(["cmake", "--preset", "cov"], 120)
    if code != 0:
        raise AssertionError(f"cmake --preset cov: {out[-300:]}")
    targets = [f"tests/unit/{folder}/all" for folder in FOLDERS]
    code, out = accept.command(["cmake", "--build", "build/cov", "-j2", "--target", *targets], 1800)
    if code != 0:
        raise AssertionError(f"the preset cov does not build: {out[-300:]}")


def objects(accept, end):
    for where, _, names in os.walk(os.path.join(accept.root, "build/cov/common")):
        for name in names:
            if name.endswith(end):
                yield os.path.join(where, name)


def run_tests(accept):
    for path in objects(accept, ".gcda"):  # of an earlier run
        os.remove(path)
    code, out = accept.command(["ctest", "--test-dir", "build/cov", "-R", TESTS, "-j2", "--output-on-failure"], 900)
    if code != 0:
        raise AssertionError(f"unit tests fail under coverage: {out[-400:]}")
    return int(re.search(r"tests passed, 0 tests failed out of (\d+)", out)[1])


def lines(accept):
    """{file below common/: {line: was it run}} over all objects, headers included."""
    found = {}
    notes = sorted(objects(accept, ".gcno"))
    for i in range(0, len(notes), 20):
        done = subprocess.run(["gcov", "--json-format", "--stdout", *notes[i:i + 20]], cwd=accept.root,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=300, check=True)
        for report in filter(None, done.stdout.splitlines()):
            report = json.loads(report)
            for file in report["files"]:
                path = os.path.realpath(os.path.join(report["current_working_directory"], file["file"]))
                name = os.path.relpath(path, os.path.realpath(accept.root))
                if not name.startswith("common/"):
                    continue
                into = found.setdefault(name, {})
                for line in file["lines"]:
                    number = line["line_number"]
                    into[number] = into.get(number, False) or line["count"] > 0
    return found


def percent(files):
    total = sum(len(f) for f in files)
    return 100.0 * sum(sum(f.values()) for f in files) / total if total else 0.0


def measured(accept):
    build(accept)
    tests = run_tests(accept)
    found = lines(accept)
    sources = {os.path.relpath(os.path.join(d, n), accept.root)
               for d, _, names in os.walk(os.path.join(accept.root, "common")) for n in names if n.endswith(".c")}
    missing = sorted(sources - set(found))
    every = percent(found.values())
    folders = sorted({os.path.dirname(f) for f in found})
    by_folder = ", ".join(f"{d} {percent([v for f, v in found.items() if os.path.dirname(f) == d]):.1f} %" for d in folders)
    worst = sorted(found, key=lambda f: percent([found[f]]))[:5]
    return every >= LEAST and not missing and len(sources) > 20, (
        f"{every:.1f} % of {sum(len(f) for f in found.values()):,} lines of common/ run by {tests} unit tests, "
        f"at least {LEAST:.0f} % asked for ({by_folder}); least: "
        f"{', '.join(f'{w} {percent([found[w]]):.0f} %' for w in worst)}"
        f"{'; not measured: ' + ', '.join(missing) if missing else ''}")


def check(accept, quick, seed):
    """Nothing in the quick form: the figure needs a build of its own."""
    if not quick:
        accept.check("coverage of common/ by the unit tests", measured, accept)
