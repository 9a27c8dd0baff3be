// The second kernel of the peer that computes in int32 first.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "options.hpp"
#include "w8a8/support/floating_point.hpp"

namespace w8a8::bench {

/// out[m, n] = acc[m, n] * channel[n] * token[m] + bias[n], dense, 16-byte aligned; `bias` has out's type and may be null.
void dequantize_peer(const std::int32_t* acc, const float* token, const float* channel, const void* bias, void* out,
                     Output output, int m, int n, cudaStream_t stream);

}  // namespace w8a8::bench
