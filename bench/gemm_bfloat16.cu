#include "gemm_call.cuh"

namespace w8a8::bench {
W8A8_BENCH_GEMM(, bfloat16)
}  // namespace w8a8::bench
