#!/usr/bin/env bash
# check_guide.sh GUIDE SOURCE...: fails where a block of C++ code of the guide is not, but for indentation, in one of the sources,
# which are compiled.
set -uo pipefail
guide=$1
shift
failures=0 blocks=0 block="" inside=0
sources=()
for source in "$@"; do sources+=("$(sed 's/^[[:space:]]*//' "$source")"); done

check() {
  for source in "${sources[@]}"; do
    if [[ "$source" == *"$block"* ]]; then return; fi
  done
  printf 'not in any example:\n%s\n' "$block"
  failures=$((failures + 1))
}

while IFS= read -r line; do
  if [[ "$line" == '```cpp' ]]; then
    inside=1 block=""
  elif [[ "$line" == '```' && $inside == 1 ]]; then
    inside=0 blocks=$((blocks + 1))
    check
  elif [[ $inside == 1 ]]; then
    block+=${block:+$'\n'}$line
  fi
done < <(sed 's/^[[:space:]]*//' "$guide")

printf '%s: %d blocks of code, %d of them in no example\n' "$guide" "$blocks" "$failures"
[[ $blocks -gt 0 && $failures == 0 ]]
