#!/usr/bin/env bash
# All benchmarks in one call; writes gemm.json, gemm_sm80.json, quantize.json and linear.json.
#
#   bench/run_benchmarks.sh [--program FILE] [--out DIR] [--quick] [SUITE ...]
#
# --program  a built w8a8_bench; without it, build/ is configured and built
# --out      where the files go; without it bench/results/<gpu>, the GPU named as its model: h200
# --quick    M = 16 and 1024 alone
# SUITE      some of: gemm gemm_sm80 quantize linear (default: all)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() { printf 'run_benchmarks.sh: %s\n' "$*" >&2; exit 2; }

program="" out="" tokens=() suites=()
while [ $# -gt 0 ]; do
  case "$1" in
    --program) program=$(realpath "${2:?}") && shift 2 ;;
    --out) out=${2:?} && shift 2 ;;
    --quick) tokens=(-m 16,1024) && shift ;;
    gemm | gemm_sm80 | quantize | linear) suites+=("$1") && shift ;;
    *) die "unknown argument '$1'" ;;
  esac
done
[ "${#suites[@]}" -gt 0 ] || suites=(gemm gemm_sm80 quantize linear)

if [ -z "$program" ]; then
  cmake -S "$root" -B "$root/build" -DCMAKE_BUILD_TYPE=Release > /dev/null
  cmake --build "$root/build" --target w8a8_bench --parallel
  program=$root/build/w8a8_bench
fi
[ -x "$program" ] || die "no program $program"

device=$("$program" --list | sed -n 's/^device: //p')
if [ "$device" = none ]; then
  exec "$program" gemm
fi
if [ -z "$out" ]; then
  model=$(printf '%s' "$device" | tr 'A-Z' 'a-z' | sed 's/^nvidia //; s/^geforce //; s/[^a-z0-9]/_/g')
  out=$root/bench/results/$model
fi
mkdir -p "$out"

for suite in "${suites[@]}"; do
  case "$suite" in
    gemm) arguments=(gemm --preset anchors) ;;
    gemm_sm80) arguments=(gemm --preset anchors --kernel sm80 --peers none) ;;
    quantize) arguments=(quantize --preset anchors,siglip-so400m,internvit-6b) ;;
    linear) arguments=(linear --preset llama3-8b) ;;
  esac
  printf '== %s -> %s\n' "$suite" "$out/$suite.json"
  "$program" "${arguments[@]}" "${tokens[@]}" --json "$out/$suite.json"
done
