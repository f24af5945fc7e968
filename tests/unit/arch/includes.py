#!/usr/bin/env python3
"""Checks the direction of includes: who may see whom, and which file alone names which library.

includes.py ROOT        prints findings as file:line: text, exit 1 if there are any
includes.py --self-test proves on made-up trees that each rule catches what it is for
"""
import pathlib
import re
import sys
import tempfile

FOLDERS = ("common", "proto", "plugins", "agent", "coordinator")

# Folder -> folders it may include from (its own is implied; longest prefix of a path counts).
MAY_SEE = {
    "common/base": [],
    "common/format/ob": ["common/base"],
    "common/format/media": ["common/base", "common/format/ob"],
    "common/pipe": ["common/base"],
    "proto": ["common/base"],
    "plugins/include": [],
    "plugins/file": ["plugins/include"],
    "plugins/http": ["plugins/include"],
    "plugins/s3": ["plugins/include", "plugins/http"],
    "plugins/oss": ["plugins/include", "plugins/http"],
    "plugins/null": ["plugins/include"],
    "plugins/fault": ["plugins/include"],
    "plugins/check": ["plugins/include"],
    "agent/source": ["common/base", "common/format"],
    "agent/host": ["common/base", "plugins/include"],
    "agent/job": ["common", "agent/source", "agent/host"],
    "agent": ["common", "proto", "agent/source", "agent/host", "agent/job"],
    "coordinator/cluster": ["common/base", "common/format"],
    "coordinator/state": ["common/base", "common/format"],
    "coordinator/assign": ["common/base", "common/format", "proto", "coordinator/state"],
    "coordinator/job": ["common/base", "common/format", "proto", "coordinator/state", "coordinator/cluster",
                        "coordinator/assign"],
    "coordinator/api": ["common/base", "common/format", "proto", "coordinator/state", "coordinator/cluster",
                        "coordinator/assign", "coordinator/job"],
    "coordinator/cli": ["common/base", "proto"],
    "coordinator": ["common", "proto", "coordinator/state", "coordinator/cluster", "coordinator/assign",
                    "coordinator/job", "coordinator/api"],
}

# Library -> the only files (patterns below the root) that may name it.
ONLY_IN = [
    (r"grpc/", [r"proto/rpc\.c"]),
    (r"jansson\.h", [r"common/base/json\.c"]),
    (r"cyaml/", [r"common/base/config\.c"]),
    (r"yaml\.h", []),
    (r"liburing\.h", [r"common/base/uring\.c"]),
    (r"isa-l", [r"common/base/crc32c\.c"]),
    (r"sqlite3\.h", [r"common/base/db\.c"]),
    (r"(mysql|mariadb)[/.]", [r"common/base/mysql\.c"]),
    (r"openssl/", [r"common/base/(sha256|mysql)\.c", r"proto/tls\.c", r"plugins/(http|s3|oss)/.*\.c"]),
    (r"curl/", [r"plugins/http/.*\.c"]),
    (r"expat\.h", [r"plugins/(http|s3|oss)/.*\.c"]),
    (r"microhttpd\.h", [r"coordinator/api/.*\.c", r"common/base/metrics_http\.c"]),
    (r"zstd\.h|lz4.*\.h", [r"common/(base|format)/.*\.c", r"plugins/.*\.c"]),
    # messages stay at the edge: jobs and state know plain structs only
    (r"(protobuf-c/|obvault/v1/.*\.pb-c\.h)", [r"proto/message\.[ch]", r"agent/(sync|wire)\w*\.[ch]",
                                               r"coordinator/(api|cli)/.*", r"coordinator/assign/(sync|wire)\w*\.[ch]"]),
    (r"obvault/storage_plugin\.h", [r"agent/host/.*", r"plugins/.*"]),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def owner(path):
    """The longest entry of MAY_SEE that path lies in, None if there is none."""
    best = None
    for folder in MAY_SEE:
        if path.startswith(folder + "/") and (best is None or len(folder) > len(best)):
            best = folder
    return best


def resolve(root, file, name):
    """Path below root of an include in quotes, as the build's include folders find it; None if not ours."""
    part = file.split("/")[0]
    bases = [str(pathlib.PurePosixPath(file).parent), "common", ".", "plugins/include", part]
    for base in bases:
        full = (root / base / name).resolve()
        if full.is_file() and full.is_relative_to(root):
            return full.relative_to(root).as_posix()
    return None


def check_file(root, file):
    findings = []
    me = owner(file)
    if me is None:
        return [f"{file}:1: the folder has no line in the table of {pathlib.Path(__file__).name}"]
    for number, line in enumerate((root / file).read_text().splitlines(), 1):
        m = INCLUDE.match(line)
        if not m:
            continue
        name = m.group(2)
        for library, files in ONLY_IN:
            if re.match(library, name) and not any(re.fullmatch(f, file) for f in files):
                findings.append(f"{file}:{number}: <{name}> belongs only in {', '.join(files) or 'no file'}")
        if m.group(1) == "<" or re.match(r"obvault/v1/.*\.pb-c\.h", name):
            continue
        target = resolve(root, file, name)
        if target is None:
            findings.append(f"{file}:{number}: \"{name}\" is no header of ours: use <> for a library")
            continue
        allowed = [me] + MAY_SEE[me]
        if not any(target.startswith(a + "/") for a in allowed):
            findings.append(f"{file}:{number}: {me} must not include {owner(target) or target} (\"{name}\")")
    return findings


def check(root):
    root = pathlib.Path(root).resolve()
    files = [p.relative_to(root).as_posix() for f in FOLDERS for p in sorted((root / f).rglob("*.[ch]"))]
    return [finding for f in files for finding in check_file(root, f)], len(files)


CASES = [
    # file, include, is it a finding?
    ("common/base/a.c", '"base/err.h"', False),
    ("common/base/a.c", '"format/ob/x.h"', True),
    ("common/format/ob/a.c", '"base/err.h"', False),
    ("common/format/ob/a.c", '"pipe/lane.h"', True),
    ("common/format/ob/a.c", '"format/media/y.h"', True),
    ("common/format/media/a.c", '"format/ob/x.h"', False),
    ("common/format/media/a.c", '"pipe/lane.h"', True),
    ("common/pipe/a.c", '"format/ob/x.h"', True),
    ("common/pipe/a.c", '"base/err.h"', False),
    ("agent/job/a.c", '"format/media/y.h"', False),
    ("agent/job/a.c", '"pipe/lane.h"', False),
    ("agent/job/a.c", '"source/source.h"', False),
    ("agent/job/a.c", '"proto/rpc.h"', True),
    ("agent/source/a.c", '"host/store.h"', True),
    ("agent/host/a.c", '"source/source.h"', True),
    ("agent/source/a.c", '"job/job.h"', True),
    ("agent/a.c", '"job/job.h"', False),
    ("agent/job/a.c", '"coordinator/state/state.h"', True),
    ("agent/a.c", '"../coordinator/state/state.h"', True),
    ("coordinator/job/a.c", '"agent/host/store.h"', True),
    ("coordinator/a.c", '"agent/host/store.h"', True),
    ("coordinator/state/a.c", '"state/state.h"', False),
    ("coordinator/state/a.c", '"pipe/lane.h"', True),
    ("coordinator/cli/a.c", '"state/state.h"', True),
    ("plugins/file/a.c", '"obvault/storage_plugin.h"', False),
    ("plugins/file/a.c", '"base/err.h"', True),
    ("plugins/file/a.c", '"../../common/base/err.h"', True),
    ("plugins/file/a.c", '"../http/http.h"', True),
    ("plugins/s3/a.c", '"../http/http.h"', False),
    ("agent/host/a.c", '"obvault/storage_plugin.h"', False),
    ("agent/job/a.c", '"obvault/storage_plugin.h"', True),
    ("coordinator/job/a.c", '"obvault/storage_plugin.h"', True),
    ("proto/rpc.c", "<grpc/grpc.h>", False),
    ("proto/tls.c", "<grpc/grpc.h>", True),
    ("agent/a.c", "<grpc/grpc.h>", True),
    ("common/base/json.c", "<jansson.h>", False),
    ("common/base/a.c", "<jansson.h>", True),
    ("coordinator/cli/a.c", "<jansson.h>", True),
    ("common/base/config.c", "<cyaml/cyaml.h>", False),
    ("common/base/a.c", "<cyaml/cyaml.h>", True),
    ("agent/source/a.c", "<liburing.h>", True),
    ("agent/job/a.c", "<sqlite3.h>", True),
    ("coordinator/cluster/a.c", "<mysql/mysql.h>", True),
    ("agent/sync.c", '"obvault/v1/agent.pb-c.h"', False),
    ("agent/job/a.c", '"obvault/v1/agent.pb-c.h"', True),
    ("coordinator/api/a.c", '"obvault/v1/agent.pb-c.h"', False),
    ("coordinator/state/a.c", '"obvault/v1/agent.pb-c.h"', True),
    ("agent/job/a.c", '"stdio.h"', True),
    ("agent/extra/a.c", "<stdio.h>", False),
    ("plugins/extra/a.c", "<stdio.h>", True),
]
HEADERS = ["common/base/err.h", "common/format/ob/x.h", "common/format/media/y.h", "common/pipe/lane.h",
           "agent/source/source.h", "agent/host/store.h", "agent/job/job.h", "coordinator/state/state.h", "proto/rpc.h",
           "plugins/include/obvault/storage_plugin.h", "plugins/http/http.h"]


def self_test():
    wrong = 0
    for file, include, is_finding in CASES:
        with tempfile.TemporaryDirectory(prefix="obvault-arch-") as d:
            root = pathlib.Path(d)
            for h in HEADERS:
                (root / h).parent.mkdir(parents=True, exist_ok=True)
                (root / h).write_text("")
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text(f"#include {include}\n")
            findings, _ = check(root)
            if bool(findings) != is_finding:
                print(f"{file} with {include}: expected {'a finding' if is_finding else 'none'}, got {findings}")
                wrong += 1
    print(f"{len(CASES)} cases, {wrong} wrong")
    return 1 if wrong else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    findings, files = check(sys.argv[1])
    print("\n".join(findings))
    print(f"{files} files, {len(findings)} findings")
    return 1 if findings or files == 0 else 0


sys.exit(main())
