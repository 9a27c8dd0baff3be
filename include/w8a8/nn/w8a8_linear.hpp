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
#include <utility>
#include <vector>

#include "w8a8/epilogue/activation.hpp"
#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/gemm/host_gemm.hpp"
#include "w8a8/nn/linear.hpp"
#include "w8a8/nn/module.hpp"
#include "w8a8/nn/optional_bias.hpp"
#include "w8a8/nn/quantize_linear.hpp"
#include "w8a8/nn/tokens.hpp"
#include "w8a8/quant/quantize.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/tensor/space.hpp"
#include "w8a8/tensor/tensor.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

/// The CPU backend needs no scratch memory.
inline std::size_t gemm_workspace_bytes(Host, std::int64_t, std::int64_t, std::int64_t) { return 0; }

namespace detail {

/// What the two layers share: parameters, how they are made, and the GEMM. Calls of gemm() and of the quantizers are found by the
/// space of their views.
template <class Params, class Space, class Scale>
class W8A8Linear {
  static_assert(is_floating_v<Params>, "params_dtype: half, bfloat16 or float");
  static_assert(is_floating_v<Scale>, "the scale's type: float, half or bfloat16");

 public:
  using params_dtype = Params;
  using scale_type = Scale;
  using space_type = Space;

  Tensor<std::int8_t, 2, Space> weight;   ///< out_features x in_features codes
  Tensor<Scale, 1, Space> dequant_scale;  ///< out_features: the scale of each output channel
  Tensor<Params, 1, Space> bias;          ///< out_features; never allocated where the layer has none
  bool fc1 = false;                       ///< a first MLP projection: tanh-GELU is applied in the epilogue

  std::int64_t in_features() const { return weight.extent(1); }
  std::int64_t out_features() const { return weight.extent(0); }
  bool has_bias() const { return bias.data() != nullptr; }

  /// Allocates the parameters without setting them, dropping those there were. Throws as Tensor does.
  void create_weights(std::int64_t in_features, std::int64_t out_features, bool has_bias = true) {
    weight = Tensor<std::int8_t, 2, Space>({out_features, in_features});
    dequant_scale = Tensor<Scale, 1, Space>({out_features});
    bias = has_bias ? Tensor<Params, 1, Space>({out_features}) : Tensor<Params, 1, Space>();
  }

  /// The parameters as a state dict names them.
  std::vector<nn::Parameter> parameters() {
    std::vector<nn::Parameter> all = {nn::parameter("weight", weight), nn::parameter("dequant_scale", dequant_scale)};
    if (has_bias()) all.push_back(nn::parameter("bias", bias));
    return all;
  }

  /// To be called when parameters() have been written from outside.
  void parameters_written() {}

  /// Scratch memory that forward() needs for floating-point input of that many tokens (batch * tokens): codes, scales, and what
  /// the GEMM can use. Throws Error where tokens < 0; for a Device layer CudaError where there is no device.
  std::size_t forward_workspace_bytes(std::int64_t tokens) const {
    if (tokens < 0) throw Error("forward_workspace_bytes", "tokens", "a count >= 0", text(tokens));
    return codes_bytes(tokens) + scales_bytes(tokens) + gemm_workspace_bytes(Space{}, tokens, out_features(), in_features());
  }

 protected:
  /// Fills the parameters from the rows of `parts`, one below the other.
  template <class... Parts>
  void quantize_from(const char* function, bool init_only, const VectorView<const float, Host>& s1_scale, const Parts&... parts) {
    quantize_rows(function, init_only, s1_scale, [&](auto&& visit) { (visit(parts), ...); });
  }

  /// The same for parts that each_part(f) hands to f one by one, as LinearViews; it is called several times.
  template <class EachPart>
  void quantize_rows(const char* function, bool init_only, const VectorView<const float, Host>& s1_scale, EachPart&& each_part) {
    std::int64_t in = -1, out = 0;
    bool biased = false;
    each_part([&](const auto& part) {
      if (in < 0) in = part.in_features();
      if (part.in_features() != in) {
        throw Error(function, "linear", text("in_features ", in, ", as the first one has"), text(part.in_features()));
      }
      if (part.has_bias() && part.bias.extent(0) != part.out_features()) {
        throw Error(function, "linear", text("a bias of length ", part.out_features()), text("length ", part.bias.extent(0)));
      }
      out += part.out_features();
      biased = biased || part.has_bias();
    });
    const std::int64_t given = s1_scale.extent(0);
    if (given > 1 && given != out) throw Error(function, "s1_scale", text("length ", out, " or 1"), text("length ", given));
    create_weights(in, out, biased);
    if (init_only) return;
    std::int64_t row = 0;
    each_part([&](const auto& part) {
      const std::int64_t rows = part.out_features();
      const VectorView<const float, Host> scales =
          given > 1 ? VectorView<const float, Host>(s1_scale.data() + row, {rows}) : s1_scale;
      quantize_linear(function, part, scales, MatrixView<std::int8_t, Space>(weight.data() + row * in, {rows, in}),
                      VectorView<Scale, Space>(dequant_scale.data() + row, {rows}),
                      VectorView<Params, Space>(has_bias() ? bias.data() + row : nullptr, {rows}));
      row += rows;
    });
  }

  template <class X, class InputScale, class Out, int Rank>
  void multiply(const char* function, const TensorView<X, Rank, Space>& input, const VectorView<InputScale, Space>& input_scale,
                const TensorView<Out, Rank, Space>& output, const VectorView<const Params, Space>& added,
                const GemmOptions& options, cudaStream_t stream) const {
    static_assert(std::is_same_v<std::remove_const_t<X>, std::int8_t>, "the quantized input is int8");
    check_tokens(function, input, output, in_features(), out_features());
    const auto x = as_matrix(function, "input", input);
    const auto out = as_matrix(function, "output_buffer", output);
    const auto affine = Dequantize(input_scale, dequant_scale.view()) | OptionalBias<Params, Space>(added);
    if (fc1) {
      gemm(x, weight.view(), affine | Gelu{}, out, options, stream);
    } else {
      gemm(x, weight.view(), affine, out, options, stream);
    }
  }

  /// The parts of forward()'s workspace.
  struct Scratch {
    MatrixView<std::int8_t, Space> codes;
    VectorView<float, Space> scales;
    GemmOptions options;
  };

  Scratch divide(const char* function, std::int64_t tokens, const VectorView<std::byte, Space>& workspace,
                 const GemmOptions& options) const {
    const std::size_t needed = forward_workspace_bytes(tokens);
    if (workspace.size() > 0 && workspace.stride(0) != 1)
      throw Error(function, "workspace", "stride 1", text("stride ", workspace.stride(0)));
    if (static_cast<std::size_t>(workspace.size()) < needed) {
      throw Error(function, "workspace", text(needed, " bytes (forward_workspace_bytes(", tokens, "))"),
                  text(workspace.size(), " bytes"));
    }
    if (needed > 0 && workspace.data() == nullptr) throw Error(function, "workspace", "a pointer to its bytes", "nullptr");
    if (!is_aligned(workspace.data(), workspace_alignment)) {
      throw Error(function, "workspace", text("an address aligned to ", workspace_alignment, " bytes"),
                  text(static_cast<const void*>(workspace.data())));
    }
    std::byte* codes = workspace.data();
    std::byte* scales = codes + codes_bytes(tokens);
    Scratch scratch{
        {reinterpret_cast<std::int8_t*>(codes), {tokens, in_features()}}, {reinterpret_cast<float*>(scales), {tokens}}, options};
    if (options.workspace == nullptr) {
      scratch.options.workspace = scales + scales_bytes(tokens);
      scratch.options.workspace_bytes = needed - codes_bytes(tokens) - scales_bytes(tokens);
    }
    // The quantizer waits for all that came before it and only then lets the GEMM start, which may so read the weight beside it.
    if (in_features() > 0) scratch.options.dependent_launch = true;
    return scratch;
  }

  /// What forward() from floating-point input works on.
  template <class X, class Out>
  struct Call {
    MatrixView<X, Space> x;
    MatrixView<Out, Space> out;
    Scratch scratch;
    QuantizeOptions how;  ///< of the quantizer
  };

  /// Checks forward()'s arguments and divides its workspace. `features`: of the output.
  template <class X, class Out, int Rank>
  Call<X, Out> prepare(const TensorView<X, Rank, Space>& input, const TensorView<Out, Rank, Space>& output, std::int64_t features,
                       const VectorView<std::byte, Space>& workspace, const GemmOptions& options) const {
    check_tokens("forward", input, output, in_features(), features);
    const auto x = as_matrix("forward", "input", input);
    return {x, as_matrix("forward", "output_buffer", output), divide("forward", x.extent(0), workspace, options),
            QuantizeOptions{8, /*dependent_launch=*/true, options.threads}};
  }

  /// What gemm() will check, before a quantizer is enqueued.
  template <class X, class Out>
  void check(const Call<X, Out>& call, const VectorView<const float, Space>& input_scale) const {
    make_problem(call.scratch.codes, weight.view(), Dequantize(input_scale, dequant_scale.view()), call.out);
  }

  VectorView<const Params, Space> own_bias() const { return bias.view(); }

 private:
  static constexpr std::size_t workspace_alignment = 16;
  static constexpr std::size_t part_alignment = 256;

  std::size_t codes_bytes(std::int64_t tokens) const {
    return round_up(static_cast<std::size_t>(tokens) * static_cast<std::size_t>(in_features()), part_alignment);
  }
  static std::size_t scales_bytes(std::int64_t tokens) {
    return round_up(static_cast<std::size_t>(tokens) * sizeof(float), part_alignment);
  }
};

}  // namespace detail

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
  W8A8OF16LinearDynamicInputScale(std::int64_t in_features, std::int64_t out_features, bool has_bias = true, bool fc1 = false) {
    this->create_weights(in_features, out_features, has_bias);
    this->fc1 = fc1;
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
    apply("apply_weights_bias", input, input_scale, output_buffer, added, options, stream);
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
  /// kernels use programmatic dependent launch, safely whatever came before: options.dependent_launch has no effect here.
  template <class X, class Out, int Rank, class = std::enable_if_t<is_floating_v<std::remove_const_t<X>>>>
  void forward(const TensorView<X, Rank, Space>& input, const TensorView<Out, Rank, Space>& output_buffer,
               const TensorView<std::byte, 1, Space>& workspace, const GemmOptions& options = {},
               cudaStream_t stream = nullptr) const {
    const auto call = this->prepare(input, output_buffer, this->out_features(), workspace, options);
    const auto& scratch = call.scratch;
    this->check(call, scratch.scales);
    quantize_per_token(call.x, scratch.codes, scratch.scales, stream, call.how);
    this->multiply("forward", scratch.codes, scratch.scales, call.out, this->own_bias(), scratch.options, stream);
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
                            bool fc1 = false) {
    this->create_weights(in_features, out_features, has_bias);
    this->fc1 = fc1;
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

  /// To be called when parameters() have been written from outside. Throws Error where the scale is not positive and finite.
  void parameters_written() {
    if (!host_scale_.empty()) set_input_scale(host_scale_(0));
  }

  /// The layer with `added` (length out_features) for a bias. input: codes at input_scale().
  template <class X, class Out, class Added, int Rank>
  void apply_weights_bias(const TensorView<X, Rank, Space>& input, const TensorView<Out, Rank, Space>& output_buffer,
                          const TensorView<Added, 1, Space>& added, const GemmOptions& options = {},
                          cudaStream_t stream = nullptr) const {
    this->multiply("apply_weights_bias", input, stored_scale(), output_buffer, added, options, stream);
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
  /// in the dynamic layer, options.dependent_launch has no effect here.
  template <class X, class Out, int Rank, class = std::enable_if_t<is_floating_v<std::remove_const_t<X>>>>
  void forward(const TensorView<X, Rank, Space>& input, const TensorView<Out, Rank, Space>& output_buffer,
               const TensorView<std::byte, 1, Space>& workspace, const GemmOptions& options = {},
               cudaStream_t stream = nullptr) const {
    const auto call = this->prepare(input, output_buffer, this->out_features(), workspace, options);
    const auto& scratch = call.scratch;
    this->check(call, stored_scale());
    quantize_per_tensor(call.x, scratch.codes, input_scale(), stream, call.how);
    this->multiply("forward", scratch.codes, stored_scale(), call.out, this->own_bias(), scratch.options, stream);
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
