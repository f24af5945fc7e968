"""fuzzing - acceptance lines: every parser of outside bytes is reached by a fuzz target with a corpus, and none finds
anything in its time

The parsers are the functions of the headers whose names say that they read (PARSER); what a target reaches is followed
through the function bodies of the sources. A reader that gets no bytes from outside is listed with the reason.
"""
import concurrent.futures
import os
import random
import re
import shutil
import subprocess
import tempfile

HEADERS = ("common", "proto", "agent", "coordinator", "plugins/fault")
SOURCES = HEADERS + ("plugins/file",)
PARSER = re.compile(r"\b((?:obv|fault)_\w*?(?:_parse|_unpack|_each|_read|_next|_next_\w+|_decompress|_check_data|_scan_file|"
                    r"rpc_frame|rpc_body|_data_buffer|_entry_facts|_body_rewrite|_block_check|_of_sql|_cluster_version|"
                    r"mysql_i64|mysql_u64|mysql_text|ilog_find))\(")
# Readers in headers that are not given bytes from outside this process: a pattern, and where their input comes from.
INSIDE = {
    r"obv_(event|job|piece|put_file|round|round_tenant|set|set_content|set_task|set_tenant|task|pg_copy|pg_contents|archive_pg)"
    r"_each|obv_pg_copy_next|obv_state_next": "rows that the coordinator wrote into its own database",
    r"obv_archive_next|obv_map_next|obv_rows_next|obv_uring_read|obv_turn_next_ms":
    "memory and clocks of the process, no format",
    r"obv_native_read|obv_repository_read|obv_earlier_read|obv_verify_read|obv_clog_read|obv_pieces_read|obv_vpg_read_\w+":
    "a parser that is listed itself, behind a storage or a socket",
    r"obv_cli_parse": "the operator's own words; what they say is read by parsers that are listed",
    r"obv_observer_next_block|obv_schema_list_read": "a connection; each row and packet is read by parsers that are listed",
    r"obv_pem_read": "files of the operator, parsed by OpenSSL",
}
SECONDS, QUICK_SECONDS, QUICK_TARGETS = 60, 1, 6
BODY = re.compile(r"^[A-Za-z_][^\n;{}=]*?\b(\w+)\((?:[^;{}]*)\)\s*\n?\{(.*?)^\}", re.M | re.S)
ONE_LINE = re.compile(r"^[A-Za-z_][^\n;{}=]*?\b(\w+)\([^;{}\n]*\) \{ (.*) \}$", re.M)
WORD = re.compile(r"\b[A-Za-z_]\w*\b")


def read(path):
    with open(path, encoding="utf-8") as f:
        return re.sub(r"/\*.*?\*/", " ", f.read(), flags=re.S)


def files_below(root, folders, ends):
    for folder in folders:
        for where, _, names in os.walk(os.path.join(root, folder)):
            for name in sorted(n for n in names if n.endswith(ends)):
                yield os.path.join(where, name)


def parsers(root):
    """{function: header} of what reads."""
    return {name: os.path.relpath(path, root) for path in files_below(root, HEADERS, ".h")
            for name in PARSER.findall(read(path))}


def bodies(root, folders, ends):
    """{file: {function: words of its body}}"""
    out = {}
    for path in files_below(root, folders, ends):
        text = read(path)
        out[path] = {m[1]: set(WORD.findall(m[2])) for pattern in (BODY, ONE_LINE) for m in pattern.finditer(text)}
    return out


def reached(root):
    """Every function that some target gets to: its own words, then the words of each body that these name."""
    sources = bodies(root, SOURCES, (".c", ".h"))
    places = {}
    for path, functions in sources.items():
        for name in functions:
            places.setdefault(name, []).append(path)
    seen, todo = set(), []
    for path in files_below(root, ("tests/fuzz",), ".c"):
        todo += [(None, word) for word in WORD.findall(read(path))]
    while todo:
        path, word = todo.pop()
        # a name of one file stands for that file's function; a public one for the only definition
        homes = places.get(word, [])
        home = path if path in homes else homes[0] if word.startswith(("obv_", "fault_", "file_")) and homes else None
        if (home, word) in seen:
            continue
        seen.add((home, word))
        if home:
            todo += [(home, w) for w in sources[home][word]]
    return {word for _, word in seen}


def targets(root):
    with open(os.path.join(root, "tests/fuzz/CMakeLists.txt"), encoding="utf-8") as f:
        return re.findall(r"^obv_fuzz\((\w+)", f.read(), re.M)


def every_parser(accept):
    found, got = parsers(accept.root), reached(accept.root)
    inside = {p for p in found if any(re.fullmatch(pattern, p) for pattern in INSIDE)}
    unreached = sorted(p for p in found if p not in got and p not in inside)
    unused = [pattern for pattern in INSIDE if not any(re.fullmatch(pattern, p) for p in found)]
    names = targets(accept.root)
    corpus = {n: len(os.listdir(os.path.join(accept.root, "tests/fuzz/corpus", n)))
              if os.path.isdir(os.path.join(accept.root, "tests/fuzz/corpus", n)) else 0 for n in names}
    empty = [n for n, count in corpus.items() if count == 0]
    ok = not unreached and not unused and not empty and len(found) - len(inside) > 50
    return ok, (f"{len(found) - len(inside)} parsers of outside bytes in {len(set(found.values()))} headers, all reached by "
                f"{len(names)} targets ({sum(corpus.values())} files of corpus); {len(inside)} readers of inside data left "
                f"out by name" if ok else f"not reached: {unreached}; without a corpus: {empty}; no such reader: {unused}")


def build(accept):
    """The targets of the preset fuzz, with clang; only what is out of date is made."""
    names = targets(accept.root)
    if not os.path.exists(os.path.join(accept.root, "build/fuzz/build.ninja")):
        code, out = accept.command(["cmake", "--preset", "fuzz"], 120)
        if code != 0:
            raise AssertionError(f"cmake --preset fuzz: {out[-300:]}")
    code, out = accept.command(["cmake", "--build", "build/fuzz", "-j2", "--target", *(f"fuzz_{n}" for n in names)], 1800)
    if code != 0:
        raise AssertionError(f"the fuzz targets do not build: {out[-300:]}")
    return names


def built(accept):
    """Targets of which a program is there, for the quick form, which builds nothing."""
    return [n for n in targets(accept.root) if os.path.exists(os.path.join(accept.root, "build/fuzz/tests/fuzz", "fuzz_" + n))]


def fuzz(accept, name, seconds, seed, work):
    """(text of a finding or None, runs) of one target; new inputs go to a folder of their own."""
    program = os.path.join(accept.root, "build/fuzz/tests/fuzz", "fuzz_" + name)
    folder = os.path.join(work, name)
    os.makedirs(folder)
    done = subprocess.run([program, f"-max_total_time={seconds}", f"-seed={seed}", "-timeout=30", "-rss_limit_mb=2048",
                           f"-artifact_prefix={folder}-", folder, os.path.join(accept.root, "tests/fuzz/corpus", name)],
                          cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds * 4 + 120, check=False)
    text = done.stdout.decode("utf-8", "replace")
    runs = re.search(r"^Done (\d+) runs", text, re.M)
    if done.returncode == 0 and runs and int(runs[1]) > 0:
        return None, int(runs[1])
    kept = shutil.copytree(work, tempfile.mkdtemp(prefix=f"obvault-fuzz-{name}-"), dirs_exist_ok=True)
    reason = re.search(r"^.*(?:ERROR|SUMMARY|runtime error|assertion failed|ALARM).*$", text, re.M)
    return f"{name}: exit {done.returncode}, {reason[0][:160] if reason else text[-160:]} (inputs in {kept})", 0


def no_finding(accept, quick, seed):
    names = built(accept) if quick else build(accept)
    if not names:
        return False, "no fuzz target is built (cmake --preset fuzz; cmake --build build/fuzz)"
    every = len(names)
    if quick:
        names = sorted(random.Random(seed).sample(names, min(QUICK_TARGETS, every)))
    seconds = QUICK_SECONDS if quick else SECONDS
    with tempfile.TemporaryDirectory(prefix="obvault-fuzz-") as work, concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda n: fuzz(accept, n, seconds, seed, work), names))
    findings = [text for text, _ in results if text]
    runs = {n: r for n, (_, r) in zip(names, results)}
    return not findings, ("; ".join(findings) if findings else
                          f"{len(names)} of {every} targets, {seconds} s each, {sum(runs.values()):,} inputs "
                          f"({', '.join(f'{n} {r:,}' for n, r in runs.items())}), no finding (seed {seed})")


def check(accept, quick, seed):
    """The full form builds the targets and gives each 60 s, two at a time; the quick one runs six of what is built."""
    accept.check("fuzz: every parser has a target and a corpus", every_parser, accept)
    accept.check("fuzz: no finding", no_finding, accept, quick, seed % (1 << 31))
