"""golden_sweep - acceptance line: every golden file, vector and mutation is used by the unit tests of common/format

The test programs print what they opened and judged (tests/unit/golden_count.h); here it is compared with what the
folder of golden data and its manifests hold. Without that folder (a plain clone) the kept vectors are counted instead.
"""
import hashlib
import json
import os
import re
import sqlite3
import subprocess

# Lists of the manifests that are vectors (values and bytes to compare); what is a mutation is told by its name.
VECTORS = {
    "checksum_vectors.json": ["vectors[].by_init"],
    "serialization_vectors.json": ["integers", "floating", "bool", "strings", "unis_envelope", "common_types",
                                   "partition_key_hash", "ilog_index_entry"],
    "clog_manifest.json": ["blocks", "entries", "padding_entries", "fresh_and_recycled_files", "compressed_entries"],
    "extern_info_manifest.json": ["files"],
    "storage_manifest.json": ["macro_blocks", "vectors", "backup_media.macro_index_file_v1.entries"],
    "rpc/blocks_manifest.json": ["macro_blocks"],
    "rpc/ilog_manifest.json": ["files"],
    "rpc/media_manifest.json": ["files", "macro_index"],
    "rpc/rpc_manifest.json": ["exchanges", "exchanges[].messages", "minimal_requests", "keepalive_packets"],
}
MUTATION = re.compile(r"(^|\.|_)(bad|bad_\w+|damaged|header_flips|flips|shapes|payload_flips\w*|errors)(\.cases)?$")
MUTATION_FOLDERS = ("mutations_of_",)  # every list below
# What OceanBase refuses and these readers take: the list, how many, why.
LOOSER = {
    r"rpc/rpc_mutations.json client_\w+\.payload_flips_checksum_fixed": (
        31, "a value with a right checksum that only OceanBase's own client finds impossible"),
    r"rpc/rpc_mutations.json server_\w+\.(header_flips|payload_flips_checksum_fixed|shapes)": (
        728, "requests, judged by a server: cluster, tenant, partition, snapshot"),
    r"storage_manifest.json server_super_block\.bad": (
        33, "the data file's super block: obvault never opens it, only its encodings are read in the test"),
}
# Files that are text for people or for this module.
TEXT = {"README.md", "SHA256SUMS", "rpc/README.md", "rpc/SHA256SUMS"}
HERE = {"error_codes.json", "data_backup_object_vectors.txt", "data_backup_encoder_check.py", "rpc/inner_tables.json",
        "rpc/inner_tables.sql"}
PROGRAMS = "^unit.(format_[a-z]+|agent_source)[.]"
# Kept vectors that other tests read: the plugin ABI of each release, and the independent reader's own.
OTHERS_VECTORS = ("tests/vectors/abi/", "tests/vectors/reader/")


def folder(root):
    given = os.environ.get("OBV_GOLDEN")
    places = [given] if given else [os.path.join(root, up, "shared/golden") for up in ("..", "../..")]
    return next((place for place in places if os.path.isdir(place)), None)


def lists_of(value, path=""):
    """(path, length) of every list in a manifest; [] stands for any element."""
    if isinstance(value, dict):
        for key, below in value.items():
            key = re.sub(r" \(.*\)$", "", key)
            yield from lists_of(below, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        yield path, len(value)
        for below in value:
            if isinstance(below, (dict, list)):
                yield from lists_of(below, path + "[]")


def is_mutation(path):
    return any(m in path for m in MUTATION_FOLDERS) or MUTATION.search(path)


def expected(place):
    """{list: length} of the vectors and of the mutations that the manifests hold."""
    vectors, mutations = {}, {}
    for name in sorted(n for n in files_of(place) if n.endswith(".json")):
        with open(os.path.join(place, name), encoding="utf-8") as f:
            manifest = json.load(f)
        for path, length in lists_of(manifest):
            into = vectors if path in VECTORS.get(name, ()) else mutations if is_mutation(path) else None
            if into is not None and length:
                into[f"{name} {path}"] = into.get(f"{name} {path}", 0) + length
        for call, mutation in manifest.items() if name == "rpc/rpc_mutations.json" else ():
            unfixed = mutation.get("payload_flips_checksum_not_fixed")
            if isinstance(unfixed, dict):  # how many single flips were tried: all gave a checksum error
                mutations[f"{name} {call}.payload_flips_checksum_not_fixed.tested"] = unfixed["tested"]
        if name == "clog_manifest.json":  # one field for each damage
            mutations[f"{name} compressed_entries[].bad"] = sum(len(e["bad"]) for e in manifest["compressed_entries"])
    return vectors, mutations


def files_of(place):
    for folder_, _, names in os.walk(place):
        for name in names:
            yield os.path.relpath(os.path.join(folder_, name), place)


def run_programs(accept):
    """What the test programs used: ({file}, {list: [used, refused, accepted, stricter, looser]}, programs, skipped)."""
    code, out = accept.command(["ctest", "--test-dir", "build/dev", "-R", PROGRAMS, "--show-only=json-v1"], 60)
    tests = json.loads(out[out.index("{"):])["tests"] if code == 0 else []
    used, lists, skipped = set(), {}, []
    for test in tests:
        run = subprocess.run(test["command"], cwd=accept.root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             timeout=120, check=False)
        if run.returncode == 77:
            skipped.append(test["name"])
        elif run.returncode != 0:
            raise AssertionError(f"{test['name']} fails ({run.returncode})")
        for line in run.stdout.decode("utf-8", "replace").splitlines():
            words = line.split()
            if line.startswith("golden-file "):
                used.add(words[1])
            elif line.startswith("golden-list "):
                name, numbers = " ".join(words[1:3]), [int(n) for n in words[4::2]]
                lists[name] = [a + b for a, b in zip(lists.get(name, [0] * 5), numbers)]
    return used, lists, [t["name"] for t in tests], skipped


def checksums(place):
    """Every file is the one its SHA256SUMS names: the sweeps ran over what was generated."""
    count = 0
    for below in ("", "rpc"):
        with open(os.path.join(place, below, "SHA256SUMS"), encoding="utf-8") as f:
            for line in f:
                want, name = line.split()
                with open(os.path.join(place, below, name), "rb") as data:
                    if hashlib.sha256(data.read()).hexdigest() != want:
                        raise AssertionError(f"{below}/{name} is not what SHA256SUMS says")
                count += 1
    return count


def objects(accept, place):
    """The object vectors of the folder are the kept ones, which unit.format_ob.objects compares; the encoder agrees."""
    with open(os.path.join(place, "data_backup_object_vectors.txt"), "rb") as f:
        theirs = f.read()
    with open(os.path.join(accept.root, "tests/vectors/data/data_backup_object_vectors.txt"), "rb") as f:
        if f.read() != theirs:
            raise AssertionError("tests/vectors has other object vectors")
    run = subprocess.run(["/usr/bin/python3", "data_backup_encoder_check.py"], cwd=place, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    count = len(theirs.strip().splitlines())
    said = run.stdout.splitlines()
    if run.returncode != 0 or sum(line.startswith("OK ") for line in said) != count or len(said) != count:
        raise AssertionError(f"the encoder of the golden data disagrees: {run.stdout.strip()[-200:]}")
    return count


def inner_tables(accept, place):
    """The product's statements find their columns in the tables of 3.1.5; the SQL form of those is the JSON one."""
    with open(os.path.join(place, "rpc/inner_tables.json"), encoding="utf-8") as f:
        tables = {t["table_name"]: t for t in json.load(f)["tables"]}
    db = sqlite3.connect(":memory:")
    with open(os.path.join(place, "rpc/inner_tables.sql"), encoding="utf-8") as f:
        db.executescript(f.read())
    for name, table in tables.items():
        columns = [c["name"] for c in table["columns"]]
        if table.get("kind") != "system view" and columns and \
                [r[1] for r in db.execute(f'PRAGMA table_info("{name}")')] != columns:
            raise AssertionError(f"{name}: inner_tables.sql has other columns than inner_tables.json")
    statements, columns_wrong = 0, []
    for text in statements_of(accept.root):
        asked = set(re.findall(r"\b__all_\w+", text))
        if not asked or not asked <= set(tables):
            continue  # the folder has the tables of a backup's own state, not all of 3.1.5
        try:
            db.execute("EXPLAIN " + text)
            statements += 1
        except sqlite3.OperationalError as e:
            if "no such column" in str(e):
                columns_wrong.append(f"{e}: {text[:80]}")
    if columns_wrong or not statements:
        raise AssertionError(f"statements that 3.1.5 does not know: {columns_wrong}")
    return len(tables), statements


def statements_of(root):
    """The SQL of the product: adjacent literals joined, conversions of printf replaced by a number."""
    for below in ("coordinator", "agent"):
        for where, _, names in os.walk(os.path.join(root, below)):
            for name in (n for n in names if n.endswith((".c", ".h", ".cc"))):
                with open(os.path.join(where, name), encoding="utf-8") as f:
                    text = re.sub(r'"\s*(PRI\w+\s*)?"', lambda m: "d" if m[1] else "", f.read())
                for literal in re.findall(r'"(SELECT (?:[^"\\]|\\.)*)"', text):
                    yield re.sub(r"%[-0-9.*]*(?:l|ll|z|h)?[a-zA-Z]", "1", literal.replace("oceanbase.", ""))


def codes_named(place):
    """Every return code in the judgements beside error_codes.json has a name there (rpc/ names its own)."""
    with open(os.path.join(place, "error_codes.json"), encoding="utf-8") as f:
        text = f.read()
    named = set(re.findall(r"-\d{4}", text))
    asked = set()
    for name in (n for n in files_of(place) if n.endswith("manifest.json") and "/" not in n):
        with open(os.path.join(place, name), encoding="utf-8") as f:
            asked |= set(re.findall(r'"\w*rc": (-4\d{3})\b', f.read()))
    missing = sorted(asked - named)
    if missing:
        raise AssertionError(f"codes without a name: {missing}")
    return len(asked)


def faults(vectors, mutations, used, lists, place):
    """Everything that was not used, and everything that was used in another number than there is."""
    out = []
    for name, want in {**vectors, **mutations}.items():
        if lists.get(name, [0])[0] != want:
            out.append(f"{name}: {lists.get(name, [0])[0]} of {want}")
    out += [f"{name}: no such list" for name in lists
            if name not in vectors and name not in mutations]
    plain = {re.sub(r"\.zst$", "", u) for u in used}
    out += [f"{name}: not opened" for name in sorted(files_of(place))
            if name not in TEXT | HERE and re.sub(r"\.zst$", "", name) not in plain]
    looser = {}
    for name, numbers in lists.items():
        if numbers[4]:
            why = next((w for w in LOOSER if re.fullmatch(w, name)), None)
            looser[why] = looser.get(why, 0) + numbers[4]
            if why is None:
                out.append(f"{name}: {numbers[4]} that OceanBase refuses are taken")
    out += [f"{w}: {looser.get(w, 0)} are taken, {known} are known" for w, (known, _) in LOOSER.items()
            if looser.get(w, 0) != known]
    return out


def kept(accept, used):
    """Vectors in the tree that no test program opened."""
    have = {os.path.join("tests/vectors", n) for n in files_of(os.path.join(accept.root, "tests/vectors"))}
    ours = {h for h in have if not h.startswith(OTHERS_VECTORS)}
    return len(ours), sorted(ours - used)


def sweep(accept):
    used, lists, programs, skipped = run_programs(accept)
    count, unused = kept(accept, used)
    place = folder(accept.root)
    if place is None:
        swept = [s for s in skipped if "golden" not in s]
        ok = count > 0 and not unused and not swept and programs
        return bool(ok), (f"no folder of golden data here (a plain clone): {count} kept vectors of tests/vectors used by "
                          f"{len(programs) - len(skipped)} programs, unused {unused or 'none'}; "
                          f"{len(skipped)} sweeps wait for the folder")
    vectors, mutations = expected(place)
    wrong = faults(vectors, mutations, used, lists, place)
    wrong += [f"{s}: skipped" for s in skipped] + [f"{u}: kept, not used" for u in unused]
    summed, plain, (tables, asked), codes = (checksums(place), objects(accept, place), inner_tables(accept, place),
                                             codes_named(place))
    judged = [lists[m] for m in mutations if m in lists]
    total = [sum(j[k] for j in judged) for k in range(5)]
    figure = (f"{len(set(files_of(place)))} files ({summed} checksums right), "
              f"{sum(lists[v][0] for v in vectors if v in lists) + plain} vectors, {total[0]} mutations: "
              f"{total[1]} refused as by OceanBase, {total[2]} accepted as by it, {total[3]} refused by us only, "
              f"{total[4]} left to OceanBase's side (reasons: docs/format.md); {asked} SQL statements over {tables} inner tables; {codes} codes named; {count} vectors kept; "
              f"none skipped")
    if wrong:
        figure = f"{len(wrong)} unused or wrong: {'; '.join(wrong[:8])}"
    return not wrong, figure


def check(accept, quick, seed):
    """The same in both forms: it takes seconds, and nothing in it is drawn."""
    accept.check("golden files, vectors and mutations", sweep, accept)
