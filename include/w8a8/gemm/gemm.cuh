// The front door: out = epilogue(x W^T), checked, and dispatched to the kernel and configuration that the tuning tables name.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>
#include <type_traits>
#include <vector>

#include "w8a8/gemm/floating_gemm.cuh"
#include "w8a8/gemm/host_gemm.hpp"
#include "w8a8/gemm/plan.cuh"
#include "w8a8/gemm/problem.hpp"
#include "w8a8/support/device.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

/// The names that GemmOptions::configuration takes. Those of two configurations of one kernel, joined as "FIRST@COLUMN+REST",
/// make the columns from COLUMN on with the second one: "sm90_gemm/256x192@7872+128x80".
inline std::vector<std::string> gemm_configurations() {
  std::vector<std::string> names;
  for (const GpuKernel kernel : detail::gpu_kernels) {
    detail::visit_kernel(kernel, [&](auto entry) {
      for (const std::string& name : decltype(entry)::Configs::names()) names.push_back(name);
    });
  }
  return names;
}

/// gemm() in two steps, for callers who enqueue something before it and want all that is wrong to be thrown first: checks the
/// arguments as gemm() does and chooses the configuration; enqueue(stream) of what comes back launches it on the same device.
template <class XT, class WT, class Out, class Epilogue>
auto plan_gemm(const TensorView<XT, 2, Device>& x, const TensorView<WT, 2, Device>& w, const Epilogue& epilogue,
               const TensorView<Out, 2, Device>& out, const GemmOptions& options = {}) {
  using Operand = std::remove_const_t<XT>;
  static_assert(!std::is_same_v<Operand, float>, "gemm: on the GPU x and w are int8, half or bfloat16");
  detail::PlannedGemm<Out, Operand, Epilogue> planned{make_problem(x, w, epilogue, out), epilogue, options, {}, {}};
  if (planned.problem.m == 0 || planned.problem.n == 0) return planned;
  planned.device = current_device();
  if constexpr (is_floating_v<Operand>) {
    planned.plan = detail::floating_gemm_plan(planned.problem, options, planned.device);
  } else {
    planned.plan = detail::make_plan<Epilogue>(planned.problem, options, planned.device);
  }
  return planned;
}

/// The configuration, or two, that gemm() with the same arguments would run: "sm90_gemm/128x96". Throws as gemm() does; runs
/// nothing.
template <class XT, class WT, class Out, class Epilogue>
std::string gemm_configuration(const TensorView<XT, 2, Device>& x, const TensorView<WT, 2, Device>& w, const Epilogue& epilogue,
                               const TensorView<Out, 2, Device>& out, const GemmOptions& options = {}) {
  const auto planned = plan_gemm(x, w, epilogue, out, options);
  if (planned.problem.m == 0 || planned.problem.n == 0) return "none (no output)";
  if constexpr (is_floating_v<std::remove_const_t<XT>>) {
    return FloatingGemmConfigs::names()[static_cast<std::size_t>(planned.plan)];
  } else {
    return detail::plan_name(planned.plan);
  }
}

/// out[m, n] = epilogue(sum_k x[m, k] * w[n, k]) on the current device, enqueued on `stream`.
/// x: M x K int8, w: N x K int8, out: M x N (M x N / 2 with a gated epilogue, epilogue/gated.hpp) half, bfloat16, float or int32;
/// rows contiguous, row strides and alignment free (rows that are not 16-byte aligned take a slower path); K <= maximum_k. M = 0
/// or N = 0 is a no-op; K = 0 gives the epilogue of 0. Allocates nothing, synchronises nothing, keeps nothing: it can be captured
/// in a graph and called from several threads. Throws Error that names the argument before anything is enqueued, CudaError where
/// a launch is refused.
///
/// x and w may also be half or bfloat16, both alike, with the same freedom of strides and alignment and K <= maximum_floating_k:
/// for layers that are not quantized. The epilogue then gets FP32 sums (Identity, Bias, Gelu, ... but no Dequantize), out is
/// half, bfloat16 or float: gemm(x, w, Bias{bias} | Gelu{}, out). Products are exact; sums are rounded in an order that depends
/// on the configuration and on nothing else, each within about K * 2^-23 of the sum of the products' magnitudes. options.kernel:
/// auto or sm80.
template <class XT, class WT, class Out, class Epilogue>
void gemm(const TensorView<XT, 2, Device>& x, const TensorView<WT, 2, Device>& w, const Epilogue& epilogue,
          const TensorView<Out, 2, Device>& out, const GemmOptions& options = {}, cudaStream_t stream = nullptr) {
  plan_gemm(x, w, epilogue, out, options).enqueue(stream);
}

}  // namespace w8a8
