// Quantization of matrices to INT8: what the calls take, and the CPU's side. quantize.cuh holds the GPU's.
//
// Per token and per channel is one operation on the rows of a matrix: scale = max(absmax, 1e-5) / qmax, rounded once to the type
// that it is stored in; codes = clamp(rint(x * (1 / scale)), -qmax, qmax) with the scale as stored (quant/scale.hpp). A row that
// holds a NaN or an infinity gets scale NaN and codes 0.
#pragma once

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "w8a8/quant/encoder.hpp"
#include "w8a8/quant/producer.hpp"
#include "w8a8/quant/row.hpp"
#include "w8a8/quant/row_host.hpp"
#include "w8a8/quant/scale.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

/// Options of a quantization.
struct QuantizeOptions {
  /// Width of a code, 2 to 8; every code is stored as one int8.
  int bits = 8;
  /// Programmatic dependent launch: the kernel is launched while its predecessor in the stream still runs, waits for it before
  /// it reads anything, and then lets its successor start. For activations only. Ignored by host calls and before sm_90.
  bool dependent_launch = false;
  /// Host calls: number of threads; 0 means one a core.
  int threads = 0;
  /// With dependent_launch: lets its successor start at once, before it has itself waited. What the successor reads before its
  /// own wait, a GEMM with dependent_launch its weight, must then not be written by anything that is still in flight.
  bool early_successor = false;
};

namespace detail {

inline void check_options(const char* function, const QuantizeOptions& options) {
  if (options.bits < 2 || options.bits > 8) throw Error(function, "options.bits", "2 to 8", text(options.bits));
  if (options.threads < 0) throw Error(function, "options.threads", "a count >= 0", text(options.threads));
}

inline void check_static_scale(const char* function, float scale) {
  if (!(scale > 0.0f) || std::isinf(scale)) throw Error(function, "scale", "a positive, finite number", text(scale));
}

/// A checked row-wise call: a producer, an encoder, and where the codes go.
template <class Producer, class Encoder>
struct RowTask {
  Producer producer;
  Encoder encoder;
  Rows<std::int8_t> out;
  RowShape shape;
};

template <class X, class Scale, class Space>
RowTask<Plain<std::remove_const_t<X>>, DynamicEncoder<Scale>> row_scale_task(const char* function, const char* argument,
                                                                             const MatrixView<X, Space>& x,
                                                                             const MatrixView<std::int8_t, Space>& out,
                                                                             const VectorView<Scale, Space>& scale,
                                                                             const QuantizeOptions& options) {
  static_assert(is_floating_v<std::remove_const_t<X>>, "quantize: the input is float, half or bfloat16");
  static_assert(is_floating_v<Scale>, "quantize: the scale is float, half or bfloat16, and not const");
  check_options(function, options);
  const RowShape shape = check_input(function, argument, x);
  check_same_shape(function, "out", out, shape);
  check_vector(function, "scale", scale, shape.rows);
  return {{input_rows(x)}, {scale.data(), options.bits}, rows_of(out), shape};
}

template <class X, class Space>
RowTask<Plain<std::remove_const_t<X>>, StaticEncoder> static_scale_task(const char* function, const MatrixView<X, Space>& x,
                                                                        const MatrixView<std::int8_t, Space>& out, float scale,
                                                                        const QuantizeOptions& options) {
  static_assert(is_floating_v<std::remove_const_t<X>>, "quantize: the input is float, half or bfloat16");
  check_options(function, options);
  const RowShape shape = check_input(function, "x", x);
  check_same_shape(function, "out", out, shape);
  check_static_scale(function, scale);
  return {{input_rows(x)}, {inverse_scale(scale), qmax(options.bits)}, rows_of(out), shape};
}

template <class Producer, class Encoder>
void run_on_host(const RowTask<Producer, Encoder>& task, const QuantizeOptions& options) {
  run_rows_on_host(task.producer, task.encoder, task.out, task.shape, options.threads);
}

}  // namespace detail

/// Dynamic activation quantization, a scale a token, on the CPU.
/// x: M x K float, half or bfloat16; out: M x K codes; scale: M, float, half or bfloat16. Rows contiguous, row strides free, any
/// alignment. M = 0 is a no-op; K = 0 writes the scale of an all-zero row. Done on return; `stream` is there so that host and
/// device calls read alike. Throws Error that names the argument before anything is written.
template <class X, class Scale>
void quantize_per_token(const TensorView<X, 2, Host>& x, const TensorView<std::int8_t, 2, Host>& out,
                        const TensorView<Scale, 1, Host>& scale, cudaStream_t stream = nullptr,
                        const QuantizeOptions& options = {}) {
  static_cast<void>(stream);
  detail::run_on_host(detail::row_scale_task("quantize_per_token", "x", x, out, scale, options), options);
}

/// Weight quantization, a scale an output channel, on the CPU: weight N x K, out N x K, scale N; else as quantize_per_token.
template <class W, class Scale>
void quantize_per_channel(const TensorView<W, 2, Host>& weight, const TensorView<std::int8_t, 2, Host>& out,
                          const TensorView<Scale, 1, Host>& scale, cudaStream_t stream = nullptr,
                          const QuantizeOptions& options = {}) {
  static_cast<void>(stream);
  detail::run_on_host(detail::row_scale_task("quantize_per_channel", "weight", weight, out, scale, options), options);
}

/// Quantization with one given scale > 0 for the whole matrix, on the CPU: clamp(rint(x * (1 / scale)), -qmax, qmax). The scale
/// cannot flag bad rows here: an infinity gives +-qmax, a NaN gives 0. Else as quantize_per_token.
template <class X>
void quantize_per_tensor(const TensorView<X, 2, Host>& x, const TensorView<std::int8_t, 2, Host>& out, float scale,
                         cudaStream_t stream = nullptr, const QuantizeOptions& options = {}) {
  static_cast<void>(stream);
  detail::run_on_host(detail::static_scale_task("quantize_per_tensor", x, out, scale, options), options);
}

}  // namespace w8a8
