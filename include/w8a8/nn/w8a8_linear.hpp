// The INT8 layers: y = dequantize(x_int8 W_int8^T) + b, W8A8 with 16-bit floating-point output.
//
// One class template for both spaces: a Host layer runs on the CPU backend and needs this header alone; for a Device layer
// include w8a8/nn/w8a8_linear.cuh. Both give the same bits (with fc1, up to the platforms' tanh).
#pragma once

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "w8a8/gemm/problem.hpp"
#include "w8a8/nn/linear.hpp"
#include "w8a8/nn/module.hpp"
#include "w8a8/nn/w8a8_linear_base.hpp"
#include "w8a8/quant/quantize.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/tensor/space.hpp"
#include "w8a8/tensor/tensor.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

/// An INT8 linear layer whose input is quantized per token: one scale a row.
///
/// Params: type of the bias (`params_dtype`); Space: Device, or Host for the CPU backend; Scale: type that the channels' scales
/// are stored in (half is what the replaced layer stored). Inputs are [tokens, in_features] or [batch, tokens, in_features], rows
/// contiguous; outputs alike with out_features, half, bfloat16 or float. Calls are enqueued on the stream, allocate nothing and
/// synchronise nothing; on the CPU backend they are done on return. Move-only; const calls may run from several threads, each
/// with its own workspace. All throw Error that names the argument before anything is written.
template <class Params = half, class Space = Device, class Scale = float>
class W8A8OF16LinearDynamicInputScale : public detail::W8A8Linear<Params, Space, Scale> {
  using Base = detail::W8A8Linear<Params, Space, Scale>;

 public:
  W8A8OF16LinearDynamicInputScale() = default;

  /// As create_weights().
  W8A8OF16LinearDynamicInputScale(std::int64_t in_features, std::int64_t out_features, bool has_bias = true,
                                  bool is_fc1 = false) {
    this->create_weights(in_features, out_features, has_bias);
    this->fc1 = is_fc1;
  }

  /// A layer with the quantized parameters of `linear` (nn::Linear or nn::LinearView, in either space), which stays as it is;
  /// complete on return. init_only: parameters are allocated and not set, to be loaded. s1_scale: the output channels' weight
  /// scales (length out_features, or 1 for all) where they are known already; empty: absmax / 127 of each channel. fc1: tanh-GELU
  /// follows.
  template <class Linear>
  static W8A8OF16LinearDynamicInputScale from_linear(const Linear& linear, bool init_only = false,
                                                     const VectorView<const float, Host>& s1_scale = {}, bool fc1 = false) {
    W8A8OF16LinearDynamicInputScale layer;
    layer.quantize_from("from_linear", init_only, s1_scale, nn::linear_view(linear));
    layer.fc1 = fc1;
    return layer;
  }

  /// One layer for a query, key and value projection of equal in_features: its output holds theirs side by side. out_features may
  /// differ, as in grouped-query attention; where only some have a bias, the others' is 0. s1_scale: their scales one after
  /// another.
  template <class Q, class K, class V>
  static W8A8OF16LinearDynamicInputScale from_qkv(const Q& q, const K& k, const V& v, bool init_only = false,
                                                  const VectorView<const float, Host>& s1_scale = {}) {
    W8A8OF16LinearDynamicInputScale layer;
    layer.quantize_from("from_qkv", init_only, s1_scale, nn::linear_view(q), nn::linear_view(k), nn::linear_view(v));
    return layer;
  }

  /// One layer for any number of linear layers of equal in_features, their outputs side by side: see from_qkv. Throws Error where
  /// there are none.
  template <class T, class From>
  static W8A8OF16LinearDynamicInputScale from_linears(const std::vector<nn::LinearView<T, From>>& linears, bool init_only = false,
                                                      const VectorView<const float, Host>& s1_scale = {}) {
    if (linears.empty()) throw Error("from_linears", "linears", "at least one", "none");
    W8A8OF16LinearDynamicInputScale layer;
    layer.quantize_rows("from_linears", init_only, s1_scale, [&](auto&& visit) {
      for (const auto& linear : linears) visit(linear);
    });
    return layer;
  }

  /// The layer with `added` (length out_features) for a bias. input: codes; input_scale: a scale a token, length batch * tokens.
  template <class X, class InputScale, class Out, class Added, int Rank>
  void apply_weights_bias(const TensorView<X, Rank, Space>& input, const TensorView<InputScale, 1, Space>& input_scale,
                          const TensorView<Out, Rank, Space>& output_buffer, const TensorView<Added, 1, Space>& added,
                          const GemmOptions& options = {}, cudaStream_t stream = nullptr) const {
    apply("apply_weights_bias", input, input_scale, output_buffer, this->given_bias("apply_weights_bias", added), options,
          stream);
  }

  /// The layer without its bias.
  template <class X, class InputScale, class Out, int Rank>
  void apply_weights_no_bias(const TensorView<X, Rank, Space>& input, const TensorView<InputScale, 1, Space>& input_scale,
                             const TensorView<Out, Rank, Space>& output_buffer, const GemmOptions& options = {},
                             cudaStream_t stream = nullptr) const {
    apply("apply_weights_no_bias", input, input_scale, output_buffer, {}, options, stream);
  }

  /// The layer as it is: with its bias where it has one.
  template <class X, class InputScale, class Out, int Rank>
  void apply_weights(const TensorView<X, Rank, Space>& input, const TensorView<InputScale, 1, Space>& input_scale,
                     const TensorView<Out, Rank, Space>& output_buffer, const GemmOptions& options = {},
                     cudaStream_t stream = nullptr) const {
    apply("apply_weights", input, input_scale, output_buffer, this->own_bias(), options, stream);
  }

  /// apply_weights(), by the name that callers of a layer expect.
  template <class X, class InputScale, class Out, int Rank,
            class = std::enable_if_t<std::is_same_v<std::remove_const_t<X>, std::int8_t>>>
  void forward(const TensorView<X, Rank, Space>& input, const TensorView<InputScale, 1, Space>& input_scale,
               const TensorView<Out, Rank, Space>& output_buffer, const GemmOptions& options = {},
               cudaStream_t stream = nullptr) const {
    apply("forward", input, input_scale, output_buffer, this->own_bias(), options, stream);
  }

  /// From floating-point input (half, bfloat16 or float): quantizes each token, then applies the layer. workspace: at least
  /// forward_workspace_bytes(batch * tokens) bytes at a multiple of 16, free again when the work enqueued here is done. Both
  /// kernels use programmatic dependent launch where it pays, safely whatever came before. options.dependent_launch promises
  /// more, that nothing in flight writes the weight: for few tokens it is then read while the kernel before the layer still runs.
  template <class X, class Out, int Rank, class = std::enable_if_t<is_floating_v<std::remove_const_t<X>>>>
  void forward(const TensorView<X, Rank, Space>& input, const TensorView<Out, Rank, Space>& output_buffer,
               const TensorView<std::byte, 1, Space>& workspace, const GemmOptions& options = {},
               cudaStream_t stream = nullptr) const {
    const auto call = this->prepare(input, output_buffer, this->out_features(), workspace, options);
    this->with_activation(this->own_affine(call.scratch.scales), [&](const auto& epilogue) {
      this->quantize_and_multiply(call, epilogue, stream,
                                  [&] { quantize_per_token(call.x, call.scratch.codes, call.scratch.scales, stream, call.how); });
    });
  }

 private:
  template <class X, class InputScale, class Out, int Rank>
  void apply(const char* function, const TensorView<X, Rank, Space>& input, const TensorView<InputScale, 1, Space>& input_scale,
             const TensorView<Out, Rank, Space>& output_buffer, const VectorView<const Params, Space>& added,
             const GemmOptions& options, cudaStream_t stream) const {
    const std::int64_t tokens = input.extent(0) * (Rank == 3 ? input.extent(1) : 1);
    if (input_scale.extent(0) != tokens) {
      throw Error(function, "input_scale", text("length ", tokens, ", one scale a token"),
                  text("length ", input_scale.extent(0)));
    }
    this->multiply(function, input, input_scale, output_buffer, added, options, stream);
  }
};

/// An INT8 linear layer whose input is quantized with one scale, known beforehand, for all tokens. Else as
/// W8A8OF16LinearDynamicInputScale. A static scale cannot flag bad tokens: infinities saturate and a NaN counts as 0.
template <class Params = half, class Space = Device, class Scale = float>
class W8A8OF16LinearStaticScale : public detail::W8A8Linear<Params, Space, Scale> {
  using Base = detail::W8A8Linear<Params, Space, Scale>;

 public:
  W8A8OF16LinearStaticScale() = default;

  /// As create_weights() and set_input_scale().
  W8A8OF16LinearStaticScale(std::int64_t in_features, std::int64_t out_features, bool has_bias = true, float input_scale = 1.0f,
                            bool is_fc1 = false) {
    this->create_weights(in_features, out_features, has_bias);
    this->fc1 = is_fc1;
    set_input_scale(input_scale);
  }

  /// As W8A8OF16LinearDynamicInputScale::from_linear, with the scale of the input.
  template <class Linear>
  static W8A8OF16LinearStaticScale from_linear(const Linear& linear, bool init_only = false,
                                               const VectorView<const float, Host>& s1_scale = {}, bool fc1 = false,
                                               float input_scale = 1.0f) {
    W8A8OF16LinearStaticScale layer;
    layer.quantize_from("from_linear", init_only, s1_scale, nn::linear_view(linear));
    layer.fc1 = fc1;
    layer.set_input_scale(input_scale);
    return layer;
  }

  /// As W8A8OF16LinearDynamicInputScale::from_qkv, with the scale of the input.
  template <class Q, class K, class V>
  static W8A8OF16LinearStaticScale from_qkv(const Q& q, const K& k, const V& v, bool init_only = false,
                                            const VectorView<const float, Host>& s1_scale = {}, float input_scale = 1.0f) {
    W8A8OF16LinearStaticScale layer;
    layer.quantize_from("from_qkv", init_only, s1_scale, nn::linear_view(q), nn::linear_view(k), nn::linear_view(v));
    layer.set_input_scale(input_scale);
    return layer;
  }

  /// The scale of the layer's input: x is about input_scale * code.
  float input_scale() const { return host_scale_.empty() ? 1.0f : host_scale_(0); }

  /// Sets it; complete on return. Throws Error where it is not positive and finite.
  void set_input_scale(float scale) {
    if (!(scale > 0.0f) || std::isinf(scale)) throw Error("set_input_scale", "scale", "a positive, finite number", text(scale));
    if (host_scale_.empty()) host_scale_ = Tensor<float, 1, Host>({1});
    host_scale_(0) = scale;
    stored_scale_ = clone_to<Space>(host_scale_.view());
  }

  /// The parameters as a state dict names them: those of the base, and the "input_scale" (length 1).
  std::vector<nn::Parameter> parameters() {
    std::vector<nn::Parameter> all = Base::parameters();
    if (!host_scale_.empty()) all.push_back(nn::parameter("input_scale", host_scale_));
    return all;
  }

  /// As Module's: throws Error where the "input_scale" is not positive and finite.
  void check_parameter(const nn::Parameter& parameter, const void* values) const {
    if (parameter.name == "input_scale") nn::check_positive(parameter, values);
  }

  /// To be called when parameters() have been written from outside. Throws Error where the scale is not positive and finite.
  void parameters_written() {
    if (!host_scale_.empty()) set_input_scale(host_scale_(0));
  }

  /// The layer with `added` (length out_features) for a bias. input: codes at input_scale().
  template <class X, class Out, class Added, int Rank>
  void apply_weights_bias(const TensorView<X, Rank, Space>& input, const TensorView<Out, Rank, Space>& output_buffer,
                          const TensorView<Added, 1, Space>& added, const GemmOptions& options = {},
                          cudaStream_t stream = nullptr) const {
    this->multiply("apply_weights_bias", input, stored_scale(), output_buffer, this->given_bias("apply_weights_bias", added),
                   options, stream);
  }

  /// The layer without its bias.
  template <class X, class Out, int Rank>
  void apply_weights_no_bias(const TensorView<X, Rank, Space>& input, const TensorView<Out, Rank, Space>& output_buffer,
                             const GemmOptions& options = {}, cudaStream_t stream = nullptr) const {
    this->multiply("apply_weights_no_bias", input, stored_scale(), output_buffer, {}, options, stream);
  }

  /// The layer as it is: with its bias where it has one.
  template <class X, class Out, int Rank>
  void apply_weights(const TensorView<X, Rank, Space>& input, const TensorView<Out, Rank, Space>& output_buffer,
                     const GemmOptions& options = {}, cudaStream_t stream = nullptr) const {
    this->multiply("apply_weights", input, stored_scale(), output_buffer, this->own_bias(), options, stream);
  }

  /// apply_weights(), by the name that callers of a layer expect.
  template <class X, class Out, int Rank, class = std::enable_if_t<std::is_same_v<std::remove_const_t<X>, std::int8_t>>>
  void forward(const TensorView<X, Rank, Space>& input, const TensorView<Out, Rank, Space>& output_buffer,
               const GemmOptions& options = {}, cudaStream_t stream = nullptr) const {
    this->multiply("forward", input, stored_scale(), output_buffer, this->own_bias(), options, stream);
  }

  /// The same for codes at another scale: one for all tokens (length 1).
  template <class X, class InputScale, class Out, int Rank,
            class = std::enable_if_t<std::is_same_v<std::remove_const_t<X>, std::int8_t>>>
  void forward(const TensorView<X, Rank, Space>& input, const TensorView<InputScale, 1, Space>& input_scale,
               const TensorView<Out, Rank, Space>& output_buffer, const GemmOptions& options = {},
               cudaStream_t stream = nullptr) const {
    if (input_scale.extent(0) != 1) {
      throw Error("forward", "input_scale", "length 1, one scale for all tokens", text("length ", input_scale.extent(0)));
    }
    this->multiply("forward", input, input_scale, output_buffer, this->own_bias(), options, stream);
  }

  /// From floating-point input (half, bfloat16 or float): quantizes it with input_scale(), then applies the layer. workspace: at
  /// least forward_workspace_bytes(batch * tokens) bytes at a multiple of 16, free again when the work enqueued here is done. As
  /// in the dynamic layer, options.dependent_launch promises that nothing in flight writes the weight.
  template <class X, class Out, int Rank, class = std::enable_if_t<is_floating_v<std::remove_const_t<X>>>>
  void forward(const TensorView<X, Rank, Space>& input, const TensorView<Out, Rank, Space>& output_buffer,
               const TensorView<std::byte, 1, Space>& workspace, const GemmOptions& options = {},
               cudaStream_t stream = nullptr) const {
    const auto call = this->prepare(input, output_buffer, this->out_features(), workspace, options);
    this->with_activation(this->own_affine(stored_scale()), [&](const auto& epilogue) {
      this->quantize_and_multiply(call, epilogue, stream,
                                  [&] { quantize_per_tensor(call.x, call.scratch.codes, input_scale(), stream, call.how); });
    });
  }

 private:
  VectorView<const float, Space> stored_scale() const {
    if (stored_scale_.empty())
      throw Error("W8A8OF16LinearStaticScale", "input_scale", "set_input_scale() to be called first", "none");
    return stored_scale_.view();
  }

  Tensor<float, 1, Host> host_scale_;     // what a quantizer takes
  Tensor<float, 1, Space> stored_scale_;  // what the multiplication reads: the same
};

}  // namespace w8a8
