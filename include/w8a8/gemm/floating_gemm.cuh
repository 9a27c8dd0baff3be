// GEMM with half or bfloat16 operands: sm80_gemm with a floating-point mma, behind the same front door as the int8 one.
//
// This is what layers that are not quantized run on. It has one kernel for every GPU, and fewer configurations than int8.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>

#include "w8a8/gemm/config_list.hpp"
#include "w8a8/gemm/problem.hpp"
#include "w8a8/gemm/sm80_gemm.cuh"
#include "w8a8/gemm/tuning/parts.hpp"
#include "w8a8/gemm/tuning/sm80_gemm.hpp"
#include "w8a8/support/device.hpp"
#include "w8a8/support/error.hpp"

namespace w8a8::detail {

/// The configuration that a problem with floating-point operands runs in, as an index into FloatingGemmConfigs. Throws Error that
/// names the option where it cannot be had.
template <class Out, class Operand>
int floating_gemm_plan(const GemmProblem<Out, Operand>& problem, const GemmOptions& options, const DeviceProperties& device) {
  if (options.kernel != Kernel::automatic && options.kernel != Kernel::sm80) {
    throw Error("gemm", "options.kernel", "auto or sm80 for half and bfloat16 operands", kernel_name(options.kernel));
  }
  if (device.compute_capability < 80) {
    throw Error("gemm", "device", "compute capability 8.0 or newer (m16n8k16 mma.sync)",
                text(device.compute_capability / 10, ".", device.compute_capability % 10));
  }
  if (options.configuration.empty()) {
    return select_floating_gemm(problem.m, problem.n, problem.k * static_cast<int>(sizeof(Operand)), device);
  }
  const int index = FloatingGemmConfigs::find(options.configuration);
  if (index < 0) {
    std::string known;
    for (const std::string& each : FloatingGemmConfigs::names()) known += (known.empty() ? "" : ", ") + each;
    throw Error("gemm", "options.configuration", "for half and bfloat16 operands one of " + known, options.configuration);
  }
  return index;
}

/// Runs a checked problem, m, n >= 1, in configuration `config_index` of FloatingGemmConfigs on `stream`.
template <class Out, class Operand, class Epilogue>
void launch_floating_gemm(const GemmProblem<Out, Operand>& problem, const Epilogue& epilogue, int config_index,
                          const GemmOptions& options, const DeviceProperties& device, cudaStream_t stream) {
  constexpr int size = sizeof(Operand);
  const GemmProblem<Out> bytes{reinterpret_cast<const std::int8_t*>(problem.x),
                               reinterpret_cast<const std::int8_t*>(problem.w),
                               problem.out,
                               problem.ldx * size,
                               problem.ldw * size,
                               problem.ldo,
                               problem.m,
                               problem.n,
                               problem.k * size};
  FloatingGemmConfigs::visit(config_index, [&](auto config) {
    launch_sm80_gemm_config<decltype(config), Operand>(bytes, epilogue, {config_index, 0, problem.n}, options, device, stream);
  });
}

}  // namespace w8a8::detail
