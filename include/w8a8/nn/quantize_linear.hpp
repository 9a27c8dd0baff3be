// From floating-point parameters to a layer's: INT8 weight, per-channel scales, bias. The source is only read.
#pragma once

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "w8a8/nn/linear.hpp"
#include "w8a8/quant/quantize.hpp"
#include "w8a8/quant/scale.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/parallel.hpp"
#include "w8a8/tensor/space.hpp"
#include "w8a8/tensor/tensor.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8::detail {

/// Calls f with a view of `source` in `Space`: itself where it lies there, else a copy.
template <class Space, class T, int Rank, class From, class F>
void with_view_in(const TensorView<const T, Rank, From>& source, F&& f) {
  if constexpr (std::is_same_v<Space, From>) {
    f(source);
  } else {
    const Tensor<T, Rank, Space> copied = clone_to<Space>(source);
    f(copied.view());
  }
}

template <class Space>
void finish_default_stream() {
  if constexpr (std::is_same_v<Space, Device>) check_cuda(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
}

/// Codes for given scales, one a row: clamp(rint(w * (1 / scale))) in FP32 with the scale as stored. As ever, a row that holds a
/// NaN or an infinity gets scale NaN and codes 0.
template <class T, class Scale>
void quantize_with_scales(const char* function, const MatrixView<const T, Host>& weight,
                          const VectorView<const float, Host>& given, const MatrixView<std::int8_t, Host>& out,
                          const VectorView<Scale, Host>& scale) {
  for (std::int64_t n = 0; n < given.extent(0); ++n) {
    const float stored = to_float(from_float<Scale>(given(n)));
    if (!(stored > 0.0f) || std::isinf(stored)) {
      throw Error(function, "s1_scale", "scales that are positive and finite as stored", text(given(n), " for channel ", n));
    }
  }
  const RowShape shape = check_input(function, "linear", weight);
  parallel_for(shape.rows, 0, [&](std::int64_t n) {
    const T* row = weight.data() + n * weight.stride(0);
    const std::int64_t columns = weight.extent(1);
    std::uint32_t magnitude = 0;
    for (std::int64_t k = 0; k < columns; ++k) magnitude = max_of(magnitude, magnitude_bits(to_float(row[k])));
    const float chosen = given(given.extent(0) == 1 ? 0 : n);
    scale(n) = from_float<Scale>(is_nonfinite_magnitude(magnitude) ? quiet_nan() : chosen);
    const float inverse = inverse_scale(to_float(scale(n)));
    for (std::int64_t k = 0; k < columns; ++k) out(n, k) = quantize_value(to_float(row[k]), inverse, qmax(8));
  });
}

/// Fills weight, scale and bias (null: none) of a layer, or of rows of one, from `linear`. s1_scale: the channels' scales (length
/// out_features, or 1 for all); empty: from each channel's absmax. Complete on return.
template <class T, class From, class Params, class Scale, class Space>
void quantize_linear(const char* function, const nn::LinearView<T, From>& linear, const VectorView<const float, Host>& s1_scale,
                     const MatrixView<std::int8_t, Space>& weight, const VectorView<Scale, Space>& scale,
                     const VectorView<Params, Space>& bias) {
  if (s1_scale.empty()) {
    with_view_in<Space>(linear.weight, [&](const MatrixView<const T, Space>& source) {
      quantize_per_channel(source, weight, scale, nullptr);
      finish_default_stream<Space>();
    });
  } else {
    with_view_in<Host>(linear.weight, [&](const MatrixView<const T, Host>& source) {
      Tensor<std::int8_t, 2, Host> codes(weight.shape());
      Tensor<Scale, 1, Host> scales(scale.shape());
      quantize_with_scales(function, source, s1_scale, codes.view(), scales.view());
      copy(codes.view(), weight);
      copy(scales.view(), scale);
      finish_default_stream<Space>();
    });
  }
  if (bias.data() == nullptr) return;
  Tensor<Params, 1, Host> rounded(bias.shape());
  for (std::int64_t n = 0; n < rounded.size(); ++n) rounded(n) = from_float<Params>(0.0f);
  if (linear.has_bias()) {
    with_view_in<Host>(linear.bias, [&](const VectorView<const T, Host>& source) {
      for (std::int64_t n = 0; n < rounded.size(); ++n) rounded(n) = from_float<Params>(to_float(source(n)));
    });
  }
  copy(VectorView<const Params, Host>(rounded.view()), bias);
  finish_default_stream<Space>();
}

}  // namespace w8a8::detail
