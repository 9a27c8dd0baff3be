// gemm() for one output type; included by one file a type, so that they compile side by side.
#pragma once

#include "library_calls.hpp"
#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/gemm/gemm.cuh"

namespace w8a8::bench {

/// Calls f(x, w, epilogue, out) with the views and the epilogue that the arguments describe.
template <class Out, class F>
auto with_gemm_views(const GemmArguments& a, F&& f) {
  const TensorView<const std::int8_t, 2, Device> x(a.x, {a.m, a.k}), w(a.w, {a.n, a.k});
  const TensorView<Out, 2, Device> out(static_cast<Out*>(a.out), {a.m, a.n});
  const Dequantize dequantize(VectorView<const float, Device>(a.token_scale, {a.m}),
                              VectorView<const float, Device>(a.channel_scale, {a.n}));
  if (!a.bias) return f(x, w, dequantize, out);
  return f(x, w, dequantize | Bias(VectorView<const Out, Device>(static_cast<const Out*>(a.bias), {a.n})), out);
}

template <class Out>
void call_gemm_as(const GemmArguments& arguments, const GemmOptions& options, cudaStream_t stream) {
  with_gemm_views<Out>(arguments, [&](const auto& x, const auto& w, const auto& epilogue, const auto& out) {
    gemm(x, w, epilogue, out, options, stream);
  });
}

template <class Out>
std::string gemm_kernel_as(const GemmArguments& arguments, const GemmOptions& options) {
  return with_gemm_views<Out>(arguments, [&](const auto& x, const auto& w, const auto& epilogue, const auto& out) {
    return gemm_configuration(x, w, epilogue, out, options);
  });
}

#define W8A8_BENCH_GEMM(EXTERN, OUT)                                                              \
  EXTERN template void call_gemm_as<OUT>(const GemmArguments&, const GemmOptions&, cudaStream_t); \
  EXTERN template std::string gemm_kernel_as<OUT>(const GemmArguments&, const GemmOptions&);

W8A8_BENCH_GEMM(extern, half)
W8A8_BENCH_GEMM(extern, bfloat16)
W8A8_BENCH_GEMM(extern, float)

}  // namespace w8a8::bench
