#!/usr/bin/env python3
"""conform.py KIT PLUGIN.so [--fails CASE,...] [--maybe CASE|GROUP,...] [--skips CASE|GROUP,...] [--root] [KIT ARGUMENTS...] [key=value ...]

Runs obvault-plugin-check on an empty folder of its own and compares its report with what is expected: grade A and exit
code 0, or the named cases failed and exit code 1. Cases named by --maybe may fail too. --root gives the folder to the plugin as root=FOLDER.
"""
import json
import os
import subprocess
import sys
import tempfile


def fail(text, done):
    print(text)
    print(done.stdout[-6000:])
    print(done.stderr[-2000:])
    sys.exit(1)


def take(args, flag):
    if flag not in args:
        return set()
    at = args.index(flag)
    value = args[at + 1]
    del args[at:at + 2]
    return set(value.split(","))


def main():
    kit, plugin, *args = sys.argv[1:]
    fails, maybe, may_skip = (take(args, flag) for flag in ("--fails", "--maybe", "--skips"))
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="obvault-check-", dir=base) as folder:
        if "--root" in args:
            args[args.index("--root")] = f"root={folder}"
        done = subprocess.run([kit, "--json", plugin, *args], capture_output=True, text=True, timeout=900)
        left = [f for _, _, files in os.walk(folder) for f in files]
    try:
        report = json.loads(done.stdout)
    except ValueError:
        fail(f"exit code {done.returncode} and no report", done)
    cases = report["cases"]
    failed = {c["name"] for c in cases if c["verdict"] == "fail"}
    skipped = {c["name"] for c in cases if c["verdict"] == "skip"}
    for c in cases:
        if c["verdict"] != "pass":
            print(f"{c['verdict']} {c['name']}: {c['reason']}")
    print(report["summary"])
    others = {f for f in failed - fails if f not in maybe and f.split(".")[0] not in maybe}
    if others or fails - failed:
        fail(f"failed are {sorted(failed)}, expected {sorted(fails)}", done)
    required = {c["name"] for c in cases if c["level"] == "required"} & failed
    grade = "F" if required else "B" if failed else "A"
    if report["summary"]["grade"] != grade or done.returncode != (1 if required else 0):
        fail(f"grade {report['summary']['grade']} and exit code {done.returncode}, expected grade {grade}", done)
    for c in cases:  # what this machine or this build cannot try
        if "a sanitizer's heap" in c["reason"] or ("run as root" in c["reason"] and os.geteuid() != 0):
            skipped.discard(c["name"])
    extra = {s for s in skipped if s not in may_skip and s.split(".")[0] not in may_skip}
    if may_skip and extra:
        fail(f"skipped without need: {sorted(extra)}", done)
    if left:
        fail(f"left in the folder: {left[:5]}", done)
    return 0


sys.exit(main())
