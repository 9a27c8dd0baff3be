// The INT8 layers on the GPU: w8a8_linear.hpp with the device's kernels behind it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "w8a8/gemm/gemm.cuh"
#include "w8a8/nn/w8a8_linear.hpp"
#include "w8a8/quant/quantize.cuh"

namespace w8a8 {

/// gemm_workspace_bytes(m, n, k), by the space that a layer runs in.
inline std::size_t gemm_workspace_bytes(Device, std::int64_t m, std::int64_t n, std::int64_t k) {
  return gemm_workspace_bytes(m, n, k);
}

}  // namespace w8a8
