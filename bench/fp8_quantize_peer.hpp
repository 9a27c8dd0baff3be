// What stands before an FP8 product in a layer: its peers of quantize_per_token.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "w8a8/support/floating_point.hpp"

namespace w8a8::bench {

/// codes[m, k] = e4m3(x[m, k] / scale) with one scale that is known before: one kernel, one pass. x: M x K of half, dense,
/// aligned to 16 bytes; K a multiple of 8.
void fp8_cast_peer(const half* x, void* codes, float scale, int m, int k, cudaStream_t stream);

/// scale[m] = absmax of row m / 448, codes[m, k] = e4m3(x[m, k] / scale[m]).
void fp8_quantize_rows_peer(const half* x, void* codes, float* scale, int m, int k, cudaStream_t stream);

}  // namespace w8a8::bench
