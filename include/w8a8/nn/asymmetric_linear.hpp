// The INT8 layer for inputs with outliers: a zero point a token, and factors that move outliers from the input into the weight.
//
// Host layers need this header alone; for Device layers include w8a8/nn/asymmetric_linear.cuh.
#pragma once

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "w8a8/epilogue/activation.hpp"
#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/epilogue/zero_point.hpp"
#include "w8a8/nn/linear.hpp"
#include "w8a8/nn/module.hpp"
#include "w8a8/nn/optional_bias.hpp"
#include "w8a8/nn/quantize_linear.hpp"
#include "w8a8/nn/tokens.hpp"
#include "w8a8/nn/w8a8_linear_base.hpp"
#include "w8a8/quant/asymmetric.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/tensor/space.hpp"
#include "w8a8/tensor/tensor.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

namespace detail {

/// weight_row_sum(), found by the space of the views; complete on return.
template <class Space>
void sum_rows(const MatrixView<std::int8_t, Space>& weight, const VectorView<std::int32_t, Space>& sum) {
  weight_row_sum(weight, sum, nullptr);
  finish_default_stream<Space>();
}

}  // namespace detail

/// An INT8 linear layer whose input is quantized per token over its whole range, with a zero point: twice as fine as symmetric
/// codes where the values of a token lie on one side. Where it has input factors, input channel k is multiplied by
/// input_factor[k] before it is quantized, and the weight holds what that takes away. Else as W8A8OF16LinearDynamicInputScale;
/// in_features at most maximum_asymmetric_k.
template <class Params = half, class Space = Device, class Scale = float>
class W8A8OF16LinearAsymmetricInput : public detail::W8A8Linear<Params, Space, Scale> {
  using Base = detail::W8A8Linear<Params, Space, Scale>;

 public:
  Tensor<float, 1, Space> input_factor;           ///< in_features, or never allocated for none
  Tensor<std::int32_t, 1, Space> weight_row_sum;  ///< out_features: the sums of the weight's rows

  /// A layer with the quantized parameters of `linear`, which stays as it is; complete on return. factor: in_features positive
  /// numbers, or empty for none. init_only: parameters are allocated and not set, to be loaded. fc1: tanh-GELU follows.
  template <class Linear>
  static W8A8OF16LinearAsymmetricInput from_linear(const Linear& linear, const VectorView<const float, Host>& factor = {},
                                                   bool init_only = false, bool fc1 = false) {
    auto layer = from_linears(std::vector{nn::linear_view(linear)}, factor, init_only);
    layer.fc1 = fc1;
    return layer;
  }

  /// One layer for several of equal in_features, their outputs side by side.
  template <class T, class From>
  static W8A8OF16LinearAsymmetricInput from_linears(const std::vector<nn::LinearView<T, From>>& linears,
                                                    const VectorView<const float, Host>& factor = {}, bool init_only = false) {
    constexpr const char* function = "from_linears";
    if (linears.empty()) throw Error(function, "linears", "at least one", "none");
    const std::int64_t in = linears.front().in_features();
    if (in > maximum_asymmetric_k) throw Error(function, "linears", text("in_features <= ", maximum_asymmetric_k), text(in));
    if (!factor.empty() && factor.extent(0) != in) {
      throw Error(function, "factor", text("length ", in), text("length ", factor.extent(0)));
    }
    for (std::int64_t k = 0; k < factor.extent(0); ++k) {
      if (!(factor(k) > 0.0f) || std::isinf(factor(k)))
        throw Error(function, "factor", "positive, finite numbers", text(factor(k), " for channel ", k));
    }
    W8A8OF16LinearAsymmetricInput layer;
    if (factor.empty()) {
      layer.quantize_rows(function, init_only, {}, [&](auto&& visit) {
        for (const auto& linear : linears) visit(linear);
      });
    } else {
      layer.quantize_rows(function, init_only, {}, [&](auto&& visit) {
        for (const auto& linear : linears) {
          const Tensor<float, 2, Host> divided = divide_columns(linear.weight, factor);
          const Tensor<float, 1, Host> bias = widened_bias(linear.bias);
          visit(nn::LinearView<float, Host>{divided.view(), bias.view()});
        }
      });
      layer.input_factor = clone_to<Space>(factor);
    }
    layer.weight_row_sum = Tensor<std::int32_t, 1, Space>({layer.out_features()});
    if (!init_only) layer.parameters_written();
    return layer;
  }

  /// The parameters as a state dict names them: those of the base, and the "input_factor" where there is one.
  std::vector<nn::Parameter> parameters() {
    std::vector<nn::Parameter> all = Base::parameters();
    if (!input_factor.empty()) all.push_back(nn::parameter("input_factor", input_factor));
    return all;
  }

  /// As Module's: throws Error where one of the "input_factor" is not positive and finite.
  void check_parameter(const nn::Parameter& parameter, const void* values) const {
    if (parameter.name == "input_factor") nn::check_positive(parameter, values);
  }

  /// To be called when parameters() have been written from outside; complete on return.
  void parameters_written() { detail::sum_rows(this->weight.view(), weight_row_sum.view()); }

  /// As the base's, with room for the zero points.
  std::size_t forward_workspace_bytes(std::int64_t tokens) const {
    return Base::forward_workspace_bytes(tokens) + zero_bytes(tokens);
  }

  /// From floating-point input (half, bfloat16 or float): quantizes each token, then applies the layer. workspace: at least
  /// forward_workspace_bytes(batch * tokens) bytes at a multiple of 16, free again when the work enqueued here is done.
  template <class X, class Out, int Rank>
  void forward(const TensorView<X, Rank, Space>& input, const TensorView<Out, Rank, Space>& output_buffer,
               const TensorView<std::byte, 1, Space>& workspace, const GemmOptions& options = {},
               cudaStream_t stream = nullptr) const {
    const std::int64_t tokens = input.extent(0) * (Rank == 3 ? input.extent(1) : 1);
    const auto call = this->prepare(input, output_buffer, this->out_features(), workspace, options, zero_bytes(tokens));
    const auto& scratch = call.scratch;
    const VectorView<std::int32_t, Space> zero_point(reinterpret_cast<std::int32_t*>(workspace.data()), {tokens});
    const auto affine = ZeroPoint(zero_point, weight_row_sum.view()) | Dequantize(scratch.scales, this->dequant_scale.view()) |
                        detail::OptionalBias<Params, Space>(this->own_bias());
    this->with_activation(affine, [&](const auto& epilogue) {
      this->quantize_and_multiply(call, epilogue, stream, [&] {
        if (input_factor.empty()) {
          quantize_per_token_asymmetric(call.x, scratch.codes, scratch.scales, zero_point, stream, call.how);
        } else {
          quantize_per_token_asymmetric(call.x, input_factor.view(), scratch.codes, scratch.scales, zero_point, stream, call.how);
        }
      });
    });
  }

 private:
  static std::size_t zero_bytes(std::int64_t tokens) {
    return round_up(static_cast<std::size_t>(tokens) * sizeof(std::int32_t), std::size_t{256});
  }

  /// weight[n, k] / factor[k], in FP32.
  template <class T, class From>
  static Tensor<float, 2, Host> divide_columns(const MatrixView<const T, From>& weight,
                                               const VectorView<const float, Host>& factor) {
    Tensor<float, 2, Host> divided(weight.shape());
    detail::with_view_in<Host>(weight, [&](const MatrixView<const T, Host>& source) {
      for (std::int64_t n = 0; n < source.extent(0); ++n) {
        for (std::int64_t k = 0; k < source.extent(1); ++k) divided(n, k) = divide(to_float(source(n, k)), factor(k));
      }
    });
    return divided;
  }

  template <class T, class From>
  static Tensor<float, 1, Host> widened_bias(const VectorView<const T, From>& bias) {
    if (bias.data() == nullptr) return {};
    Tensor<float, 1, Host> wide(bias.shape());
    detail::with_view_in<Host>(bias, [&](const VectorView<const T, Host>& source) {
      for (std::int64_t n = 0; n < source.extent(0); ++n) wide(n) = to_float(source(n));
    });
    return wide;
  }
};

}  // namespace w8a8
