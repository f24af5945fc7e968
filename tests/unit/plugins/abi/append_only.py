#!/usr/bin/env python3
"""append_only.py CC INCLUDE SNAPSHOTS: no struct of storage_plugin.h changes but at its end, no number changes

SNAPSHOTS/<version>/ has the header as it was. Each of its members must be at the same offset now, each of its constants
must have the same value now.
"""
import pathlib
import re
import subprocess
import sys
import tempfile


def members(text):
    """(struct, member) of every struct in the header."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    found = []
    for body, name in re.findall(r"typedef struct obv_\w+ \{(.*?)\} (obv_\w+);", text, flags=re.S):
        for line in body.split(";"):
            function = re.search(r"\(\*(\w+)\)", line)
            plain = re.sub(r"\[\w*\]", "", line).strip()
            names = [function.group(1)] if function else re.findall(r"\*?(\w+)\s*(?:,|$)", plain)
            found += [(name, n) for n in names if n]
    return found


def constants(text):
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return sorted(set(re.findall(r"\b(OBV_(?:STORE|CAP|THREADS|HOST_LOG|OPTION)_\w+)\s*=", text)))


def values(cc, include, wanted, names):
    lines = [f'printf("%s.%s %zu\\n", "{s}", "{m}", offsetof({s}, {m}));' for s, m in wanted]
    lines += [f'printf("%s %lld\\n", "{n}", (long long){n});' for n in names]
    source = ("#include <obvault/storage_plugin.h>\n#include <stdio.h>\nint main(void)\n{\n" + "\n".join(lines) +
              "\nreturn 0;\n}\n")
    with tempfile.TemporaryDirectory(prefix="obvault-abi-") as d:
        (pathlib.Path(d) / "p.c").write_text(source)
        subprocess.run([cc, "-std=gnu11", f"-I{include}", "-o", f"{d}/p", f"{d}/p.c"], check=True)
        out = subprocess.run([f"{d}/p"], check=True, capture_output=True, text=True).stdout
    return dict(line.split() for line in out.splitlines())


def main():
    cc, include, snapshots = sys.argv[1:]
    bad = checked = 0
    for old in sorted(pathlib.Path(snapshots).iterdir()):
        text = (old / "obvault/storage_plugin.h").read_text()
        wanted, names = members(text), constants(text)
        if len(wanted) < 40 or len(names) < 20:
            print(f"{old.name}: only {len(wanted)} members and {len(names)} constants were found")
            return 1
        then, now = values(cc, old, wanted, names), values(cc, include, wanted, names)
        for what, value in then.items():
            checked += 1
            if now[what] != value:
                print(f"{what} was {value} in {old.name} and is {now[what]}")
                bad += 1
    print(f"{checked} members and constants, {bad} changed")
    return 1 if bad or not checked else 0


sys.exit(main())
