// Fake quantization: what INT8 (or fewer bits) will cost, in floating point, before anything is converted.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "w8a8/gemm/host_gemm.hpp"
#include "w8a8/nn/convert.hpp"
#include "w8a8/nn/linear.hpp"
#include "w8a8/nn/module.hpp"
#include "w8a8/nn/optional_bias.hpp"
#include "w8a8/nn/tokens.hpp"
#include "w8a8/quant/fake_quantize.hpp"
#include "w8a8/quant/quantize.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/tensor/space.hpp"
#include "w8a8/tensor/tensor.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

namespace detail {

/// The type that rounded weights and inputs are kept in: float where it can be multiplied, else that of the activations.
template <class T, class Space>
using FakeWeight = std::conditional_t<std::is_same_v<Space, Host>, float, T>;

}  // namespace detail

/// A linear layer that computes what an INT8 layer would, in floating point: weights rounded to the grid of each output channel,
/// inputs to that of each token, FP32 sums. T: type of activations and bias; Weight: type that the rounded weights and inputs are
/// kept in. In float, as on the CPU, the output equals the INT8 layer's up to the rounding of FP32 sums; in half, which the GPU
/// multiplies and the replaced layer kept, the steps of the grid themselves are rounded, too. On the GPU with
/// w8a8/nn/fake_w8a8_linear.cuh, for half and bfloat16.
template <class T = half, class Space = Host, class Weight = detail::FakeWeight<T, Space>>
class FakeW8A8Linear : public nn::Module<T, Space> {
  static_assert(is_floating_v<Weight>, "FakeW8A8Linear: weights in float, half or bfloat16");

 public:
  Tensor<Weight, 2, Space> weight;  ///< out_features x in_features, on the grid
  Tensor<T, 1, Space> bias;         ///< out_features; never allocated where the layer has none
  int wbit = 8;                     ///< bits of weights and inputs

  /// From a linear layer, which stays as it is; wbit: 2 to 8. Complete on return. Throws Error where wbit is out of range.
  static FakeW8A8Linear from_linear(const nn::Linear<T, Space>& linear, int wbit = 8) {
    if (wbit < 2 || wbit > 8) throw Error("FakeW8A8Linear::from_linear", "wbit", "2 to 8", text(wbit));
    FakeW8A8Linear fake;
    fake.wbit = wbit;
    fake.weight = Tensor<Weight, 2, Space>(linear.weight.shape());
    QuantizeOptions options;
    options.bits = wbit;
    fake_quantize(linear.weight.view(), fake.weight.view(), nullptr, options);
    if constexpr (std::is_same_v<Space, Device>) check_cuda(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
    if (linear.has_bias()) fake.bias = clone_to<Space>(linear.bias.view());
    return fake;
  }

  std::int64_t in_features() const { return weight.extent(1); }
  std::int64_t out_features() const { return weight.extent(0); }
  bool has_bias() const { return bias.data() != nullptr; }

  std::vector<nn::Parameter> parameters() override {
    std::vector<nn::Parameter> own = {nn::parameter("weight", weight)};
    if (has_bias()) own.push_back(nn::parameter("bias", bias));
    return own;
  }

  std::int64_t out_features(std::int64_t features) const override {
    detail::check_features("FakeW8A8Linear", features, in_features());
    return out_features();
  }

  /// Room for the rounded input.
  std::size_t workspace_bytes(std::int64_t tokens, std::int64_t) const override {
    return round_up(static_cast<std::size_t>(tokens) * static_cast<std::size_t>(in_features()) * sizeof(Weight),
                    std::size_t{256});
  }

  /// As nn::Module::forward; the input stays as it is.
  void forward(const MatrixView<const T, Space>& input, const MatrixView<T, Space>& output,
               const VectorView<std::byte, Space>& workspace, cudaStream_t stream = nullptr) const override {
    detail::check_tokens("FakeW8A8Linear::forward", input, output, in_features(), out_features());
    const std::size_t needed = workspace_bytes(input.extent(0), in_features());
    detail::check_workspace("FakeW8A8Linear::forward", workspace, needed, 16);
    const MatrixView<Weight, Space> rounded(reinterpret_cast<Weight*>(workspace.data()), input.shape());
    QuantizeOptions options;
    options.bits = wbit;
    const auto product = plan_gemm(rounded, weight.view(), detail::OptionalBias<T, Space>(bias.view()), output);
    fake_quantize(input, rounded, stream, options);
    product.enqueue(stream);
  }
};

/// Replaces every nn::Linear of the model, itself included, by a FakeW8A8Linear of `wbit` bits (2 to 8). One layer is held twice
/// at a time. Returns how many there were. Throws Error where wbit is out of range; the model is then as it was.
template <class T, class Space>
std::size_t fake_quant(nn::ModulePtr<T, Space>& model, int wbit = 8, const nn::Progress& progress = {}) {
  if (wbit < 2 || wbit > 8) throw Error("fake_quant", "wbit", "2 to 8", text(wbit));
  return nn::replace_linears<T, Space>(
      model, progress, [&](const std::string&, const nn::Linear<T, Space>& linear) -> nn::ModulePtr<T, Space> {
        return std::make_unique<FakeW8A8Linear<T, Space>>(FakeW8A8Linear<T, Space>::from_linear(linear, wbit));
      });
}

}  // namespace w8a8
