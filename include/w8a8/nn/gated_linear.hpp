// Gate and up projections of a gated MLP in one INT8 layer: activation(x Wg^T + bg) * (x Wu^T + bu).
//
// Host layers need this header alone; for Device layers include w8a8/nn/gated_linear.cuh.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/epilogue/gated.hpp"
#include "w8a8/layout/gate_up.hpp"
#include "w8a8/nn/linear.hpp"
#include "w8a8/nn/module.hpp"
#include "w8a8/nn/optional_bias.hpp"
#include "w8a8/nn/projections.hpp"
#include "w8a8/nn/quantize_linear.hpp"
#include "w8a8/nn/quantized_linear.hpp"
#include "w8a8/nn/tokens.hpp"
#include "w8a8/nn/w8a8_linear.hpp"
#include "w8a8/quant/quantize.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/tensor/space.hpp"
#include "w8a8/tensor/tensor.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

/// An INT8 gate and up projection whose product leaves one multiplication: half the output to store, and nothing to read again.
/// Gate: SwiGlu, GeGlu or ReGlu. The parameters hold 2 * out_features rows, interleaved (layout/gate_up.hpp); out_features is a
/// multiple of 8. Else as W8A8OF16LinearDynamicInputScale.
template <class Params = half, class Space = Device, class Scale = float, class Gate = SwiGlu>
class W8A8OF16GatedLinear : public detail::W8A8Linear<Params, Space, Scale> {
  static_assert(is_gated_v<Gate>, "W8A8OF16GatedLinear: the gate is a gated epilogue functor");
  using Base = detail::W8A8Linear<Params, Space, Scale>;

 public:
  /// Of the product: half the rows of `weight`.
  std::int64_t out_features() const { return Base::out_features() / 2; }

  /// A layer with the quantized parameters of both (nn::Linear or nn::LinearView of one element type, in either space), which
  /// stay as they are; complete on return. Throws Error where they do not fit together. init_only: parameters are allocated and
  /// not set, to be loaded.
  template <class Linear>
  static W8A8OF16GatedLinear from_gate_up(const Linear& gate, const Linear& up, bool init_only = false) {
    constexpr const char* function = "from_gate_up";
    const std::int64_t features = gate.out_features();
    if (features % layout::gate_block != 0) {
      throw Error(function, "gate", text("out_features in a multiple of ", layout::gate_block), text(features));
    }
    if (up.out_features() != features) throw Error(function, "up", text(features, " out_features"), text(up.out_features()));
    const auto stacked = W8A8OF16LinearDynamicInputScale<Params, Space, Scale>::from_linears(
        std::vector{nn::linear_view(gate), nn::linear_view(up)}, init_only);
    W8A8OF16GatedLinear layer;
    layer.create_weights(stacked.in_features(), 2 * features, stacked.has_bias());
    if (init_only) return layer;
    interleave(stacked.weight.view(), layer.weight.view());
    interleave(stacked.dequant_scale.view(), layer.dequant_scale.view());
    if (stacked.has_bias()) interleave(stacked.bias.view(), layer.bias.view());
    detail::finish_default_stream<Space>();
    return layer;
  }

  /// From floating-point input (half, bfloat16 or float) to tokens of out_features(). workspace: at least
  /// forward_workspace_bytes(batch * tokens) bytes at a multiple of 16, free again when the work enqueued here is done.
  template <class X, class Out, int Rank>
  void forward(const TensorView<X, Rank, Space>& input, const TensorView<Out, Rank, Space>& output_buffer,
               const TensorView<std::byte, 1, Space>& workspace, const GemmOptions& options = {},
               cudaStream_t stream = nullptr) const {
    const auto call = this->prepare(input, output_buffer, out_features(), workspace, options);
    this->quantize_and_multiply(call, this->own_affine(call.scratch.scales) | Gate{}, stream,
                                [&] { quantize_per_token(call.x, call.scratch.codes, call.scratch.scales, stream, call.how); });
  }

 private:
  /// Both halves of `stacked`, one below the other, into `out`.
  template <class T, class U, int Rank>
  static void interleave(const TensorView<T, Rank, Space>& stacked, const TensorView<U, Rank, Space>& out) {
    auto shape = stacked.shape();
    shape[0] /= 2;
    interleave_gate_up(TensorView<T, Rank, Space>(stacked.data(), shape),
                       TensorView<T, Rank, Space>(stacked.data() + stacked.size() / 2, shape), out, nullptr);
  }
};

namespace nn {

/// activation(gate(x)) * up(x) from two modules that take the same input, as the MLPs of most language models begin.
/// nn::quantize with Fuse::yes makes one INT8 layer of two nn::Linear; its state dict keeps their names. As two modules it runs
/// on the CPU only. As the child "" of the MLP it leaves no trace in their names.
template <class T = half, class Space = Host, class Gate = SwiGlu>
class GatedProjections : public Module<T, Space>, public Fusible<T, Space> {
 public:
  /// Takes both over. Throws Error where one is null.
  GatedProjections(std::string gate_name, ModulePtr<T, Space> gate, std::string up_name, ModulePtr<T, Space> up)
      : gate_name_(std::move(gate_name)), up_name_(std::move(up_name)), gate_(std::move(gate)), up_(std::move(up)) {
    if (gate_ == nullptr) throw Error("GatedProjections", "gate", "a module", "null");
    if (up_ == nullptr) throw Error("GatedProjections", "up", "a module", "null");
  }

  std::vector<typename Module<T, Space>::Child> children() override { return {{gate_name_, gate_}, {up_name_, up_}}; }
  std::int64_t out_features(std::int64_t in_features) const override { return gate_->out_features(in_features); }

  std::size_t workspace_bytes(std::int64_t tokens, std::int64_t in_features) const override {
    return up_bytes(tokens, in_features) +
           max_of(gate_->workspace_bytes(tokens, in_features), up_->workspace_bytes(tokens, in_features));
  }

  void forward(const MatrixView<const T, Space>& input, const MatrixView<T, Space>& output,
               const VectorView<std::byte, Space>& workspace, [[maybe_unused]] cudaStream_t stream) const override {
    constexpr const char* function = "GatedProjections::forward";
    const std::int64_t tokens = input.extent(0), features = out_features(input.extent(1));
    w8a8::detail::check_tokens(function, input, output, input.extent(1), features);
    if constexpr (std::is_same_v<Space, Device>) {
      throw Error(function, "Space", "Host, or one layer made by nn::quantize with Fuse::yes", "Device");
    } else {
      const std::size_t used = up_bytes(tokens, input.extent(1)), needed = workspace_bytes(tokens, input.extent(1));
      w8a8::detail::check_workspace(function, workspace, needed, 16);
      const MatrixView<T, Host> up(reinterpret_cast<T*>(workspace.data()), {tokens, features});
      const VectorView<std::byte, Host> rest(workspace.data() + used, {workspace.size() - static_cast<std::int64_t>(used)});
      gate_->forward(input, output, rest, stream);
      up_->forward(input, up, rest, stream);
      for (std::int64_t m = 0; m < tokens; ++m) {
        for (std::int64_t n = 0; n < features; ++n)
          output(m, n) = from_float<T>(Gate{}.combine(to_float(output(m, n)), to_float(up(m, n)), Empty{}, m, n));
      }
    }
  }

  ModulePtr<T, Space> quantized() const override {
    const auto& gate = static_cast<const Linear<T, Space>&>(*gate_);
    const auto& up = static_cast<const Linear<T, Space>&>(*up_);
    using Quantized = QuantizedLayer<W8A8OF16GatedLinear<T, Space, float, Gate>>;
    constexpr std::int64_t block = layout::gate_block;
    if (gate.out_features() % block != 0) return nullptr;
    return std::make_unique<Quantized>(
        Quantized::Layer::from_gate_up(gate, up),
        std::vector<FusedRows>{{gate_name_, gate.out_features(), 0, gate.has_bias(), block, 2 * block},
                               {up_name_, up.out_features(), block, up.has_bias(), block, 2 * block}});
  }

 private:
  std::size_t up_bytes(std::int64_t tokens, std::int64_t in_features) const {
    return round_up(static_cast<std::size_t>(tokens) * static_cast<std::size_t>(out_features(in_features)) * sizeof(T),
                    std::size_t{256});
  }

  std::string gate_name_, up_name_;
  ModulePtr<T, Space> gate_, up_;
};

}  // namespace nn

}  // namespace w8a8
