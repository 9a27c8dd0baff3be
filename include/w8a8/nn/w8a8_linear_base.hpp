// What every INT8 layer is made of: the quantized parameters, how they come from floating-point ones, the workspace of forward(),
// and the product. The layers themselves: w8a8_linear.hpp, asymmetric_linear.hpp, gated_linear.hpp.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "w8a8/epilogue/activation.hpp"
#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/gemm/host_gemm.hpp"
#include "w8a8/gemm/problem.hpp"
#include "w8a8/gemm/tuning/dependent_launch.hpp"
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

namespace detail {

/// The base of the INT8 layers. Calls of gemm() and of the quantizers are found by the space of their views.
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

  /// As Module's: the codes, scales and biases of these layers may be any.
  void check_parameter(const nn::Parameter&, const void*) const {}

  /// To be called when parameters() have been written from outside.
  void parameters_written() {}

  /// Scratch memory that forward() needs for floating-point input of that many tokens (batch * tokens): for their codes and
  /// scales. Throws Error where the count is negative or more than forward() takes.
  std::size_t forward_workspace_bytes(std::int64_t tokens) const {
    if (tokens < 0) throw Error("forward_workspace_bytes", "tokens", "a count >= 0", text(tokens));
    if (tokens > maximum_tokens) throw Error("forward_workspace_bytes", "tokens", text("at most ", maximum_tokens), text(tokens));
    return codes_bytes(tokens) + scales_bytes(tokens);
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
          given > 1 ? VectorView<const float, Host>(s1_scale.data() + row * s1_scale.stride(0), {rows}, {s1_scale.stride(0)})
                    : s1_scale;
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
    with_activation(affine, [&](const auto& epilogue) { gemm(x, weight.view(), epilogue, out, options, stream); });
  }

  /// The parts of forward()'s workspace.
  struct Scratch {
    MatrixView<std::int8_t, Space> codes;
    VectorView<float, Space> scales;
    GemmOptions options;
  };

  /// extra: bytes at the workspace's start that a layer keeps for itself, a multiple of 256.
  Scratch divide(const char* function, std::int64_t tokens, const VectorView<std::byte, Space>& workspace,
                 const GemmOptions& options, std::size_t extra) const {
    const std::size_t needed = W8A8Linear::forward_workspace_bytes(tokens);
    check_workspace(function, workspace, needed + extra, workspace_alignment, text(" (forward_workspace_bytes(", tokens, "))"));
    std::byte* codes = workspace.data() + extra;
    std::byte* scales = codes + codes_bytes(tokens);
    Scratch scratch{
        {reinterpret_cast<std::int8_t*>(codes), {tokens, in_features()}}, {reinterpret_cast<float*>(scales), {tokens}}, options};
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

  /// Checks forward()'s arguments and divides its workspace. `features`: of the output. extra: see divide().
  template <class X, class Out, int Rank>
  Call<X, Out> prepare(const TensorView<X, Rank, Space>& input, const TensorView<Out, Rank, Space>& output, std::int64_t features,
                       const VectorView<std::byte, Space>& workspace, const GemmOptions& options, std::size_t extra = 0) const {
    check_tokens("forward", input, output, in_features(), features);
    const auto x = as_matrix("forward", "input", input);
    return {x, as_matrix("forward", "output_buffer", output), divide("forward", x.extent(0), workspace, options, extra),
            QuantizeOptions{8, quantizer_starts_early(x.extent(0), in_features()), options.threads,
                            options.dependent_launch && gemm_starts_before_quantizer(x.extent(0))}};
  }

  /// Calls f with the epilogue of the layer: `affine`, and GELU after it where this is a first MLP projection.
  template <class Affine, class F>
  void with_activation(const Affine& affine, F&& f) const {
    if (fc1) {
      f(affine | Gelu{});
    } else {
      f(affine);
    }
  }

  /// Enqueues quantize(), which writes the codes and their scales, and the product. Whatever is wrong with the product is thrown
  /// before that.
  template <class X, class Out, class Epilogue, class Quantize>
  void quantize_and_multiply(const Call<X, Out>& call, const Epilogue& epilogue, cudaStream_t stream,
                             const Quantize& quantize) const {
    const auto product = plan_gemm(call.scratch.codes, weight.view(), epilogue, call.out, call.scratch.options);
    quantize();
    product.enqueue(stream);
  }

  /// Dequantization, and the layer's own bias where it has one.
  auto own_affine(const VectorView<const float, Space>& input_scale) const {
    return Dequantize(input_scale, dequant_scale.view()) | OptionalBias<Params, Space>(own_bias());
  }

  VectorView<const Params, Space> own_bias() const { return bias.view(); }

  /// A bias that a caller hands over. Null would mean none.
  VectorView<const Params, Space> given_bias(const char* function, const VectorView<const Params, Space>& added) const {
    if (added.data() == nullptr && out_features() > 0) throw Error(function, "added", "a pointer to its elements", "nullptr");
    return added;
  }

 private:
  static constexpr std::int64_t maximum_tokens = 0x7fffffff;
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

}  // namespace w8a8
