// A linear layer in floating point: what the INT8 layers are made from.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "w8a8/gemm/host_gemm.hpp"
#include "w8a8/nn/module.hpp"
#include "w8a8/nn/optional_bias.hpp"
#include "w8a8/nn/tokens.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/tensor/space.hpp"
#include "w8a8/tensor/tensor.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8::nn {

/// y = x W^T + b as views: for weights that somebody else owns, such as a memory-mapped file.
template <class T, class Space>
struct LinearView {
  static_assert(is_floating_v<T>, "LinearView: float, half or bfloat16");

  MatrixView<const T, Space> weight;  ///< out_features x in_features
  VectorView<const T, Space> bias;    ///< out_features, or a null pointer for none

  std::int64_t in_features() const { return weight.extent(1); }
  std::int64_t out_features() const { return weight.extent(0); }
  bool has_bias() const { return bias.data() != nullptr; }
};

/// y = x W^T + b with its own weights: float, half or bfloat16, in `Space`. Move-only. Sums in FP32; on the GPU with
/// w8a8/nn/linear.cuh, for half and bfloat16. A Linear<float, Device> only holds weights for other layers to be made from.
template <class T = half, class Space = Host>
struct Linear : Module<T, Space> {
  static_assert(is_floating_v<T>, "Linear: float, half or bfloat16");

  Tensor<T, 2, Space> weight;  ///< out_features x in_features
  Tensor<T, 1, Space> bias;    ///< out_features, or never allocated for none

  Linear() = default;

  /// Allocates the parameters without setting them. Throws as Tensor does.
  Linear(std::int64_t in_features, std::int64_t out_features, bool has_bias = true) : weight({out_features, in_features}) {
    if (has_bias) bias = Tensor<T, 1, Space>({out_features});
  }

  std::int64_t in_features() const { return weight.extent(1); }
  std::int64_t out_features() const { return weight.extent(0); }
  bool has_bias() const { return bias.data() != nullptr; }

  std::vector<Parameter> parameters() override {
    std::vector<Parameter> own = {parameter("weight", weight)};
    if (has_bias()) own.push_back(parameter("bias", bias));
    return own;
  }

  std::int64_t out_features(std::int64_t features) const override {
    w8a8::detail::check_features("Linear", features, in_features());
    return out_features();
  }

  std::size_t workspace_bytes(std::int64_t, std::int64_t) const override { return 0; }

  void forward(const MatrixView<const T, Space>& input, const MatrixView<T, Space>& output,
               const VectorView<std::byte, Space>& = {}, [[maybe_unused]] cudaStream_t stream = nullptr) const override {
    w8a8::detail::check_tokens("Linear::forward", input, output, in_features(), out_features());
    if constexpr (std::is_same_v<Space, Device> && std::is_same_v<T, float>) {
      throw Error("Linear::forward", "T", "half or bfloat16 on the GPU", "float");
    } else {
      gemm(input, weight.view(), w8a8::detail::OptionalBias<T, Space>(bias.view()), output, GemmOptions{}, stream);
    }
  }
};

/// A linear layer's weight and bias in place; ends with the layer.
template <class T, class Space>
LinearView<T, Space> linear_view(const LinearView<T, Space>& linear) {
  return linear;
}
template <class T, class Space>
LinearView<T, Space> linear_view(const Linear<T, Space>& linear) {
  return {linear.weight.view(), linear.bias.view()};
}

}  // namespace w8a8::nn
