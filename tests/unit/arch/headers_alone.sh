#!/bin/sh
# headers_alone.sh ROOT GENERATED CC: every header compiles alone; storage_plugin.h also as C++ and as strict C11
set -u
root=$1 generated=$2 cc=$3
bad=0 count=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT

try() { # name, compiler arguments
    name=$1
    shift
    count=$((count + 1))
    if ! "$@" >"$out" 2>&1; then
        echo "$name does not compile alone:"
        cat "$out"
        bad=$((bad + 1))
    fi
}

cd "$root" || exit 1
for h in $(find common proto agent coordinator plugins -name '*.h' | sort); do
    part=${h%%/*}
    try "$h" "$cc" -std=gnu11 -D_GNU_SOURCE -DOBV_TEST_FAULTS -Wall -Wextra -Werror -fsyntax-only -Icommon -I. \
        -I"$part" -Iplugins/include -isystem "$generated" -include "$h" -x c /dev/null
done
abi=plugins/include/obvault/storage_plugin.h
try "$abi as C11" "$cc" -std=c11 -pedantic -Wall -Wextra -Werror -fsyntax-only -include "$abi" -x c /dev/null
cxx=$(command -v clang-14 || echo "$cc") # a bare gcc has no C++
try "$abi as C++" "$cxx" -std=c++11 -pedantic -Wall -Wextra -Werror -fsyntax-only -include "$abi" -x c++ /dev/null
echo "$count headers, $bad bad"
[ $bad -eq 0 ] && [ $count -gt 2 ]
