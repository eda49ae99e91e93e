#!/usr/bin/env bash
# Plants each fault of faults.txt in a copy of the tree and runs the test that notices it, which has to fail.
#
# usage: tests/faults/check.sh [PART OF A NAME]...
#
# A line of faults.txt is a patch, the room that it hits, what it breaks, and the test, separated by tabs. The test is
# `binary::test` of tests/tests, or `unit:crate::path` of a crate's own tests. All faults take some twenty minutes on two cores.
# Ends with 1 if a patch does not apply or compile, or its test passes.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
trap 'exit 130' INT TERM
git -C "$root" ls-files -z --cached --others --exclude-standard | (cd "$root" && xargs -0 cp --parents -t "$copy") || exit 1
cd "$copy" && git init --quiet && git add --all || exit 1

wanted() {
    [ $# -gt 1 ] || return 0
    local name=$1 part
    shift
    for part in "$@"; do case $name in *"$part"*) return 0 ;; esac; done
    return 1
}

faults=0 missed=0
while IFS=$'\t' read -r patch room what test <&3; do
    wanted "$patch" "$@" || continue
    faults=$((faults + 1))
    case $test in
    unit:*)
        path=${test#unit:}
        crate=${path%%::*}
        arguments=(-p "${crate//_/-}" --lib)
        name=${path#*::}
        ;;
    *)
        arguments=(-p moat-tests --test "${test%%::*}")
        name=${test#*::}
        ;;
    esac
    printf '%s (%s) ' "${patch%.patch}" "$room"
    log=$copy/.log
    if ! git apply "$here/$patch" 2>"$log"; then
        verdict='does not apply'
    elif ! cargo test --quiet "${arguments[@]}" --no-run >"$log" 2>&1; then
        verdict='does not compile'
    elif timeout 900 cargo test --quiet "${arguments[@]}" -- --exact "$name" >"$log" 2>&1; then
        verdict="is not noticed by $test"
    else
        verdict=''
    fi
    if [ -n "$verdict" ]; then
        missed=$((missed + 1))
        printf '%s: %s\n' "$verdict" "$what"
        tail -n 15 "$log"
    else
        printf 'is noticed by %s\n' "$test"
    fi
    git checkout --quiet .
done 3<"$here/faults.txt"
printf '%d faults, %d not noticed\n' "$faults" "$missed"
[ "$faults" -gt 0 ] && [ "$missed" -eq 0 ]
