#!/usr/bin/python3
"""secrets.py SOURCE CC - no secret can be printed

1. The type cannot be formatted: a format of it does not compile, nor does a look inside (the struct is opaque).
2. No source but those in MAY_REVEAL names obv_secret_reveal, and none in the same statement as a text being made.
"""
import glob
import os
import re
import subprocess
import sys

MAY_REVEAL = {"common/base/secret.c", "common/base/secret.h", "common/base/mysql.c", "agent/host/store.c"}
MAKES_TEXT = re.compile(r"\b(?:OBV_(?:ERROR|WARN|INFO|DETAIL|DEBUG|LOG)\w*|obv_(?:fail|wrap|hint|log_\w+)|\w*printf)\s*\(")
GOOD = '(void)printf("%s", obv_secret_mask(s));'
BAD = ['(void)printf("%s", s);', '(void)printf("%s", *s);', 'OBV_INFO("%s", s);', '(void)obv_fail(err, OBV_E_IO, 0, "%s", s);',
       '(void)printf("%s", s->text);']


def compiles(source, cc, statement):
    text = ('#include "base/log.h"\n#include "base/secret.h"\n#include <stdio.h>\n'
            "void f(const obv_secret *s, obv_err *err);\n"
            f"void f(const obv_secret *s, obv_err *err) {{ (void)err; {statement} }}\n")
    done = subprocess.run([cc, "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wformat=2", "-Werror", "-fsyntax-only",
                           "-I", os.path.join(source, "common"), "-x", "c", "-"], input=text, text=True, capture_output=True)
    return done.returncode == 0


def main():
    source, cc = sys.argv[1:3]
    wrong = []
    if not compiles(source, cc, GOOD):
        wrong.append("the masked form does not compile: this test would prove nothing")
    wrong += [f"compiles, must not: {b}" for b in BAD if compiles(source, cc, b)]
    os.chdir(source)
    looked = 0
    for path in glob.glob("common/**/*.[ch]", recursive=True) + glob.glob("agent/**/*.[ch]", recursive=True) + \
            glob.glob("coordinator/**/*.[ch]", recursive=True) + glob.glob("proto/*.[ch]"):
        with open(path) as f:
            text = f.read()
        looked += 1
        if "obv_secret_reveal" in text and path not in MAY_REVEAL:
            wrong.append(f"{path} names obv_secret_reveal")
        for statement in text.split(";"):
            if "obv_secret_reveal" in statement and MAKES_TEXT.search(statement):
                wrong.append(f"{path}: a secret in a text: {' '.join(statement.split())[-100:]}")
    for w in wrong:
        print(w)
    print(f"{looked} sources, {len(BAD)} ways of printing tried")
    return 1 if wrong or looked < 100 else 0


if __name__ == "__main__":
    sys.exit(main())
