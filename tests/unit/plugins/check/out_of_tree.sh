#!/bin/sh
# out_of_tree.sh BUILD SOURCE CMAKE CC - installs header and kit, builds the guide's example against them alone, grades it
set -eu
build=$1 source=$2 cmake=$3 cc=$4
work=$(mktemp -d "${TMPDIR:-/tmp}/obvault-out-of-tree-XXXXXX")
trap 'rm -rf "$work"' EXIT
"$cmake" --install "$build" --component plugin-dev --prefix "$work/prefix" >/dev/null
cp "$source/docs/examples/plugin-flatdir/flatdir.c" "$work"
cd "$work"
# the command of docs/plugin-guide.md, and no warning
"$cc" -std=gnu11 -D_GNU_SOURCE -fPIC -shared -fvisibility=hidden -O2 -Wall -Wextra -Wconversion -Werror \
    -I"$work/prefix/include" -o flatdir.so flatdir.c
"$source/tests/unit/plugins/check/conform.py" "$work/prefix/bin/obvault-plugin-check" "$work/flatdir.so" --root \
    --skips append,copy.copies,crash.after_sync,disk.sync_flushed
