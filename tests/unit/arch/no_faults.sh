#!/bin/sh
# no_faults.sh ROOT BUILD: no program or library of a release build knows a fault point, a seeded bug or their switches
set -u
root=$1 build=$2
names=$(sed -n 's/.*X("\([^"]*\)".*/\1/p' "$root/common/base/fault_points.h")
[ -n "$names" ] || { echo "no names found in fault_points.h"; exit 1; }
bad=0 count=0
for f in $(find "$build/common" "$build/agent" "$build/coordinator" "$build/proto" "$build/plugins" \
    \( -name '*.a' -o -name '*.so' -o -name 'obvault*' \) -type f); do
    count=$((count + 1))
    for n in OBV_FAULT_FILE OBV_BUG $names; do
        if grep -aqF "$n" "$f"; then
            echo "$f knows $n"
            bad=$((bad + 1))
        fi
    done
done
echo "$count files, $bad finds"
[ $bad -eq 0 ] && [ $count -gt 0 ]
