#!/usr/bin/env bash
# All benchmarks in one call; writes a JSON file a suite: about seven minutes on an H200.
#
#   bench/run_benchmarks.sh [--program FILE] [--out DIR] [--quick] [SUITE ...]
#
# --program  a built w8a8_bench; without it, build/ is configured and built
# --out      where the files go; without it bench/results/<gpu>, the GPU named as its model: h200
# --quick    a look at everything in a minute and a half: few M, no sustained figures
# SUITE      some of: gemm gemm_sm80 quantize linear sweep sweep_sm80 chain (default: all)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() { printf 'run_benchmarks.sh: %s\n' "$*" >&2; exit 2; }

program="" out="" quick="" suites=()
while [ $# -gt 0 ]; do
  case "$1" in
    --program) program=$(realpath "${2:?}") && shift 2 ;;
    --out) out=${2:?} && shift 2 ;;
    --quick) quick=yes && shift ;;
    gemm | gemm_sm80 | quantize | linear | sweep | sweep_sm80 | chain) suites+=("$1") && shift ;;
    *) die "unknown argument '$1'" ;;
  esac
done
[ "${#suites[@]}" -gt 0 ] || suites=(gemm chain sweep linear quantize gemm_sm80 sweep_sm80)

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
    gemm) arguments=(gemm --preset anchors) few=(-m 16,1024 --sustained none) ;;
    gemm_sm80) arguments=(gemm --preset anchors --kernel sm80 --peers none) few=(-m 16,1024 --sustained none) ;;
    quantize) arguments=(quantize) few=(-m 16,8192 --sustained none --forms per_token,rms_residual,silu_mul) ;;
    linear) arguments=(linear --peers cublaslt_fp16,cublaslt_fp8) few=(-m 16,1024 --sustained none) ;;
    sweep) arguments=(sweep) few=(-m 1-300 --shape 6144x4096 --peers none) ;;
    sweep_sm80) arguments=(sweep --kernel sm80 --shape 6144x4096) few=(-m 1-300 --peers none) ;;
    chain) arguments=(chain) few=() ;;
  esac
  [ -n "$quick" ] || few=()
  printf '== %s -> %s\n' "$suite" "$out/$suite.json"
  "$program" "${arguments[@]}" "${few[@]}" --json "$out/$suite.json"
done
