// The library behind plain functions, so that its templates are compiled once a type and the suites need no nvcc.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>
#include <vector>

#include "options.hpp"
#include "quantize_forms.hpp"
#include "w8a8/gemm/problem.hpp"
#include "w8a8/gemm/tuning/dependent_launch.hpp"

namespace w8a8::bench {

/// Dense device operands: x M x K, w N x K, scales of M and N, out M x N; `bias` has out's type, null for none.
struct GemmArguments {
  const std::int8_t* x;
  const std::int8_t* w;
  const float* token_scale;
  const float* channel_scale;
  const void* bias;
  void* out;
  int m, n, k;
};

/// gemm() with Dequantize, and Bias where there is one.
void call_gemm(Output output, const GemmArguments& arguments, const GemmOptions& options, cudaStream_t stream);

/// The configuration that call_gemm() would run.
std::string gemm_kernel(Output output, const GemmArguments& arguments, const GemmOptions& options);

std::vector<std::string> all_configurations();

/// Operands of a form of quantization, all M x K and dense but x and y, whose rows may lie `stride` elements apart (0: dense).
/// What the form does not take is null.
struct QuantizeArguments {
  QuantizeKind kind = QuantizeKind::per_token;
  int m = 0, k = 0;
  const half* x = nullptr;
  const half* y = nullptr;       ///< up, of silu_mul
  half* residual = nullptr;      ///< updated
  half* values = nullptr;        ///< written
  const half* weight = nullptr;  ///< K
  const half* bias = nullptr;    ///< K
  std::int8_t* codes = nullptr;
  float* scale = nullptr;              ///< M
  std::int32_t* zero_point = nullptr;  ///< M
  std::int64_t stride = 0;
  bool early_successor = false;  ///< with dependent launch: QuantizeOptions::early_successor
};

void call_quantize(const QuantizeArguments& arguments, bool dependent_launch, cudaStream_t stream);

/// The same as a layer's forward() with options.dependent_launch enqueues it: as a dependent, and its GEMM early, where that
/// pays.
inline void call_layer_quantize(QuantizeArguments arguments, bool dependent_launch, cudaStream_t stream) {
  arguments.early_successor = gemm_starts_before_quantizer(arguments.m);
  call_quantize(arguments, dependent_launch && quantizer_starts_early(arguments.m, arguments.k), stream);
}

}  // namespace w8a8::bench
