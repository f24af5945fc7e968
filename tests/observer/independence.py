#!/usr/bin/python3
"""independence.py [BUILD] - the stand-in and the reader share no code with the product

Checked: no include or import crosses, the stand-in links no library of ours, and no run of more than ten equal lines
(white space, comments and lone punctuation left out) stands on both sides.
"""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PRODUCT = ("common", "agent", "coordinator", "plugins", "proto")
APART = ("tests/observer", "tests/reader")
RUN = 10


def files(folders, endings):
    for folder in folders:
        for base, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in sorted(names):
                if name.endswith(endings):
                    yield os.path.join(base, name)


def code_lines(path):
    """[(line number, folded text)] of what counts."""
    with open(path, errors="replace") as f:
        text = f.read()
    if path.endswith((".c", ".h")):
        text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.S)
        text = re.sub(r"//[^\n]*", "", text)
    out = []
    for number, line in enumerate(text.splitlines(), 1):
        folded = re.sub(r"\s+", "", line)
        if re.search(r"\w", folded) and not folded.startswith(("#include", "import", "from")):
            out.append((number, folded))
    return out


def shared_runs():
    windows = {}
    for path in files(PRODUCT, (".c", ".h")):
        lines = code_lines(path)
        for i in range(len(lines) - RUN):
            windows.setdefault(tuple(t for _, t in lines[i:i + RUN + 1]), (path, lines[i][0]))
    for path in files(APART, (".c", ".h", ".py")):
        lines = code_lines(path)
        for i in range(len(lines) - RUN):
            other = windows.get(tuple(t for _, t in lines[i:i + RUN + 1]))
            if other:
                yield f"{path}:{lines[i][0]} equals {other[0]}:{other[1]} over more than {RUN} lines"


def crossings():
    ours = re.compile(r'#\s*include\s+"(?:\.\./)*(base|format|pipe|proto|host|source|job|cluster|state|assign|api|obvault)/')
    for path in files(APART, (".c", ".h")):
        with open(path, errors="replace") as f:
            for number, line in enumerate(f, 1):
                if ours.search(line) or "storage_plugin.h" in line:
                    yield f"{path}:{number} includes the product: {line.strip()}"
    for path in files(PRODUCT, (".c", ".h", ".txt")):
        with open(path, errors="replace") as f:
            for number, line in enumerate(f, 1):
                if "tests/observer" in line or "tests/reader" in line:
                    yield f"{path}:{number} names the stand-in: {line.strip()}"


def linked(build):
    binary = os.path.join(build, "tests", "observer", "obstandin")
    names = subprocess.run(["nm", "--defined-only", binary], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = sorted({w for w in names.split() if re.fullmatch(r"obv_(fail|buf_append|span_of|store_open|rpc_unary)", w)})
    libraries = subprocess.run(["ldd", binary], stdout=subprocess.PIPE, text=True, check=True).stdout
    if found or "libgrpc" in libraries:
        yield f"{binary} links the product: {found}"


def main():
    findings = [*crossings(), *shared_runs()]
    if len(sys.argv) > 1:
        findings += linked(sys.argv[1])
    counted = sum(1 for _ in files(APART, (".c", ".h", ".py")))
    for line in findings:
        print(line)
    print(f"{counted} files of the stand-in and the reader compared with the product: {len(findings)} findings")
    return 1 if findings or not counted else 0


if __name__ == "__main__":
    sys.exit(main())
