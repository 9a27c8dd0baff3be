// Which kernel takes a problem: the order in which the front door tries them.
#pragma once

#include <array>

#include "w8a8/gemm/problem.hpp"
#include "w8a8/gemm/tuning/sm80_decode.hpp"
#include "w8a8/gemm/tuning/sm80_gemm.hpp"
#include "w8a8/gemm/tuning/sm90_decode.hpp"
#include "w8a8/gemm/tuning/sm90_gemm.hpp"
#include "w8a8/support/device.hpp"

namespace w8a8 {

/// The GPU kernels, each a file of the same name under gemm/.
enum class GpuKernel { sm80_gemm, sm80_decode, sm90_gemm, sm90_decode };

/// The kernels that may take an M x N x K problem, best first; the front door takes the first that does not refuse it. sm80_gemm
/// refuses nothing and comes last.
inline std::array<GpuKernel, 4> kernel_preference(Kernel family, int m, int n, int k, const DeviceProperties& device) {
  constexpr GpuKernel gemm80 = GpuKernel::sm80_gemm, decode80 = GpuKernel::sm80_decode;
  constexpr GpuKernel gemm90 = GpuKernel::sm90_gemm, decode90 = GpuKernel::sm90_decode;
  if (family == Kernel::sm80) return {decode80, gemm80, gemm80, gemm80};
  if (family == Kernel::sm90) {
    if (prefer_sm90_decode_to_gemm(m, n, k, device)) return {decode90, gemm90, gemm90, gemm90};
    return {gemm90, decode90, decode90, decode90};
  }
  if (prefer_sm90_decode(m, n, k, device)) return {decode90, gemm90, decode80, gemm80};
  // Beyond M = 32 sm80_decode is for devices without wgmma, and for operands that TMA does not take.
  if (m > 32) return {gemm90, decode80, gemm80, gemm80};
  return {decode80, gemm90, gemm80, gemm80};
}

}  // namespace w8a8
