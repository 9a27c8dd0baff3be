#!/usr/bin/env bash
# All GPU tests, then those tagged [sanitizer] under compute-sanitizer's four tools, on the GPU of this machine.
#
#   tests/run_gpu_tests.sh [--compute-80] [--binary w8a8_gpu_tests] [--output FILE.json]
#
# Without --binary it builds the tests for this GPU (in build/). Writes tests/results/<gpu>.json and exits with 0 where
# everything passed, at least one test ran, and every tool was clean.
#
# --compute-80: the tests as a GPU of 2020 would run them. The code is compiled to PTX of compute_80 and that assembled for this
# GPU (in build/compute_80), so that nothing newer can have slipped in. Writes tests/results/<gpu>_compute_80.json.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

die() { printf 'run_gpu_tests: %s\n' "$*" >&2; exit 2; }

binary="" output="" virtual=""
while [ $# -gt 0 ]; do
  case "$1" in
    --compute-80) virtual=compute_80 && shift ;;
    --binary) binary=${2:?} && shift 2 ;;
    --output) output=${2:?} && shift 2 ;;
    *) die "unknown argument $1" ;;
  esac
done

find_tool() { # find_tool NAME: its path, from PATH or the toolkit
  command -v "$1" || ls "${CUDA_HOME:-/usr/local/cuda}/bin/$1" 2> /dev/null || ls "${CUDA_HOME:-/usr/local/cuda}"/*/"$1" 2> /dev/null
}
query() { nvidia-smi --query-gpu="$1" --format=csv,noheader -i 0; }

device=$(query name) || die "no GPU: nvidia-smi fails"
sanitizer=$(find_tool compute-sanitizer | head -n 1)
[ -n "$sanitizer" ] || die "no compute-sanitizer in PATH or the CUDA toolkit"

if [ -z "$binary" ]; then
  build=build flags=()
  if [ -n "$virtual" ]; then
    build=build/$virtual
    flags=(-DCMAKE_CUDA_ARCHITECTURES=OFF "-DCMAKE_CUDA_FLAGS=-gencode arch=$virtual,code=sm_$(query compute_cap | tr -d .)")
  fi
  cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DW8A8_BUILD_BENCH=OFF -DW8A8_BUILD_EXAMPLES=OFF "${flags[@]}" || exit 2
  cmake --build "$build" --parallel --target w8a8_gpu_tests || exit 2
  binary=$build/w8a8_gpu_tests
fi
[ -x "$binary" ] || die "$binary is no program"
case "$binary" in /*) ;; *) binary="$PWD/$binary" ;; esac

# "NVIDIA H200" -> h200, "NVIDIA A100-SXM4-80GB" -> a100, "NVIDIA GeForce RTX 4090" -> rtx4090
key=$(printf '%s\n' "$device" | sed -E 's/NVIDIA|GeForce|Tesla//g; s/-.*//; s/ ([0-9]+GB|HBM.*|PCIe|SXM.*|NVL).*//; s/ //g' | tr '[:upper:]' '[:lower:]')
output=${output:-tests/results/$key${virtual:+_$virtual}.json}
headers=$(find include -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-64)
nvcc=$(find_tool nvcc | head -n 1)
cuda=$("${nvcc:-false}" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
start=$SECONDS
say() { printf '[%3d s] %s\n' "$((SECONDS - start))" "$*"; }

# ---- All tests -------------------------------------------------------------------------------------------------------------
say "$device: all GPU tests"
timeout 180 "$binary" > "$log/tests" 2>&1
status=$?
tail -n 40 "$log/tests"
counts=$(tail -n 1 "$log/tests")
if [[ "$counts" =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
  passed=${BASH_REMATCH[1]} failed=${BASH_REMATCH[2]} skipped=${BASH_REMATCH[3]}
else
  say "the tests did not finish (exit status $status)"
  passed=0 failed=1 skipped=0
fi
bad=0
[ "$failed" = 0 ] && [ "$passed" -gt 0 ] && [ "$status" = 0 ] || bad=1

# ---- The sanitizers --------------------------------------------------------------------------------------------------------
# The four tools at a time: their work is mostly on the CPU, and no test measures time.
tools="memcheck racecheck synccheck initcheck"
say "compute-sanitizer: $tools"
for tool in $tools; do
  {
    timeout 200 "$sanitizer" --tool "$tool" --error-exitcode 9 "$binary" "[sanitizer]" > "$log/$tool" 2>&1
    echo $? > "$log/$tool.status"
  } &
done
wait
results=()
for tool in $tools; do
  status=$(cat "$log/$tool.status")
  summary=$(grep -E "ERROR SUMMARY|RACECHECK SUMMARY" "$log/$tool" | tail -n 1 | sed 's/^=* *//')
  counts=$(grep -E "^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$" "$log/$tool" | tail -n 1)
  ran=${counts%% *}
  if [ "$status" = 0 ] && [ "${ran:-0}" -gt 0 ]; then
    verdict="clean"
  else
    verdict="failed"
    bad=1
    grep -vE "^(skipped|Filters)" "$log/$tool" | head -n 60
  fi
  say "$tool: $verdict; ${summary:-no summary, exit status $status}; ${counts:-the tests did not finish}"
  results+=("\"$tool\": {\"result\": \"$verdict\", \"tests\": ${ran:-0}}")
done

# ---- The record ------------------------------------------------------------------------------------------------------------
mkdir -p "$(dirname "$output")"
{
  printf '{\n  "context": {\n'
  printf '    "device": "%s",\n    "driver": "%s",\n    "cuda": "%s",\n    "date": "%s",\n    "headers_sha256": "%s"\n  },\n' \
    "$device" "$(query driver_version)" "$cuda" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$headers"
  printf '  "passed": %d,\n  "failed": %d,\n  "skipped": %d,\n  "sanitizer": {\n' "$passed" "$failed" "$skipped"
  for i in "${!results[@]}"; do
    printf '    %s%s\n' "${results[i]}" "$([ "$i" -lt $((${#results[@]} - 1)) ] && echo ,)"
  done
  printf '  }\n}\n'
} > "$output"
say "wrote $output"
cat "$output"
exit "$bad"
