// The quantizers behind plain functions: shared by the files that instantiate them, which compile side by side.
#pragma once

#include "library_calls.hpp"
#include "w8a8/quant/quantize.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8::bench {

/// The arguments as views.
struct QuantizeViews {
  using Matrix = TensorView<const half, 2, Device>;

  explicit QuantizeViews(const QuantizeArguments& a)
      : x(input(a.x, a)),
        y(input(a.y, a)),
        weight(a.weight, {a.k}),
        bias(a.bias, {a.k}),
        codes(a.codes, {a.m, a.k}),
        scale(a.scale, {a.m}),
        zero_point(a.zero_point, {a.m}) {}

  static Matrix input(const half* data, const QuantizeArguments& a) {
    return Matrix(data, {a.m, a.k}, {a.stride > 0 ? a.stride : a.k, 1});
  }
  static MatrixView<half, Device> output(half* data, const QuantizeArguments& a) {
    return data ? MatrixView<half, Device>(data, {a.m, a.k}) : MatrixView<half, Device>();
  }

  Matrix x, y;
  TensorView<const half, 1, Device> weight, bias;
  TensorView<std::int8_t, 2, Device> codes;
  TensorView<float, 1, Device> scale;
  TensorView<std::int32_t, 1, Device> zero_point;
};

/// call_quantize() of the norms, and of the activations.
void call_norm(const QuantizeArguments& arguments, const QuantizeOptions& options, cudaStream_t stream);
void call_activation(const QuantizeArguments& arguments, const QuantizeOptions& options, cudaStream_t stream);

}  // namespace w8a8::bench
