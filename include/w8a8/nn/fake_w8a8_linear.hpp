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

#include "w8a8/nn/convert.hpp"
#include "w8a8/nn/host_linear.hpp"
#include "w8a8/nn/linear.hpp"
#include "w8a8/nn/module.hpp"
#include "w8a8/nn/tokens.hpp"
#include "w8a8/quant/scale.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/support/parallel.hpp"
#include "w8a8/tensor/tensor.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

namespace detail {

/// out = the values that quantization of each row to `bits` bits leaves: code * scale, rounded once to Out.
template <class T, class Out>
void round_rows_to_grid(const MatrixView<const T, Host>& x, const MatrixView<Out, Host>& out, int bits) {
  parallel_for(x.extent(0), 0, [&](std::int64_t row) {
    std::uint32_t magnitude = 0;
    for (std::int64_t k = 0; k < x.extent(1); ++k) magnitude = max_of(magnitude, magnitude_bits(to_float(x(row, k))));
    const float scale = scale_from_magnitude<float>(magnitude, bits), inverse = inverse_scale(scale);
    for (std::int64_t k = 0; k < x.extent(1); ++k) {
      out(row, k) = from_float<Out>(multiply(int_to_float(quantize_value(to_float(x(row, k)), inverse, qmax(bits))), scale));
    }
  });
}

}  // namespace detail

/// A linear layer that computes what an INT8 layer would, in floating point: weights rounded to the grid of each output channel,
/// inputs to that of each token, FP32 sums. T: type of activations and bias; Weight: type that the rounded weights are kept in
/// (float: the output then equals the INT8 layer's up to the rounding of FP32 sums; the replaced layer kept half). Runs on the
/// CPU.
template <class T = half, class Weight = float>
class FakeW8A8Linear : public nn::Module<T, Host> {
  static_assert(is_floating_v<Weight>, "FakeW8A8Linear: weights in float, half or bfloat16");

 public:
  Tensor<Weight, 2, Host> weight;  ///< out_features x in_features, on the grid
  Tensor<T, 1, Host> bias;         ///< out_features; never allocated where the layer has none
  int wbit = 8;                    ///< bits of weights and inputs

  /// From a linear layer, which stays as it is; wbit: 2 to 8. Throws Error where it is not.
  static FakeW8A8Linear from_linear(const nn::Linear<T, Host>& linear, int wbit = 8) {
    if (wbit < 2 || wbit > 8) throw Error("FakeW8A8Linear::from_linear", "wbit", "2 to 8", text(wbit));
    FakeW8A8Linear fake;
    fake.wbit = wbit;
    fake.weight = Tensor<Weight, 2, Host>(linear.weight.shape());
    detail::round_rows_to_grid(linear.weight.view(), fake.weight.view(), wbit);
    if (linear.has_bias()) fake.bias = clone_to<Host>(linear.bias.view());
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

  /// Room for the rounded input, as floats.
  std::size_t workspace_bytes(std::int64_t tokens, std::int64_t) const override {
    return round_up(static_cast<std::size_t>(tokens) * static_cast<std::size_t>(in_features()) * sizeof(float), std::size_t{256});
  }

  /// As nn::Module::forward; the input stays as it is.
  void forward(const MatrixView<const T, Host>& input, const MatrixView<T, Host>& output,
               const VectorView<std::byte, Host>& workspace, cudaStream_t = nullptr) const override {
    detail::check_tokens("FakeW8A8Linear::forward", input, output, in_features(), out_features());
    const std::size_t needed = workspace_bytes(input.extent(0), in_features());
    if (static_cast<std::size_t>(workspace.size()) < needed) {
      throw Error("FakeW8A8Linear::forward", "workspace", text(needed, " bytes"), text(workspace.size(), " bytes"));
    }
    if (!is_aligned(workspace.data(), alignof(float))) {
      throw Error("FakeW8A8Linear::forward", "workspace", "an address aligned to 4 bytes",
                  text(static_cast<const void*>(workspace.data())));
    }
    const MatrixView<float, Host> rounded(reinterpret_cast<float*>(workspace.data()), input.shape());
    detail::round_rows_to_grid(input, rounded, wbit);
    detail::host_linear(MatrixView<const float, Host>(rounded), weight.view(), bias.view(), output);
  }
};

/// Replaces every nn::Linear of the model, itself included, by a FakeW8A8Linear of `wbit` bits (2 to 8). One layer is held twice
/// at a time. Returns how many there were. Throws Error where wbit is out of range; the model is then as it was.
template <class T>
std::size_t fake_quant(nn::ModulePtr<T, Host>& model, int wbit = 8, const nn::Progress& progress = {}) {
  if (wbit < 2 || wbit > 8) throw Error("fake_quant", "wbit", "2 to 8", text(wbit));
  return nn::replace_linears<T, Host>(model, progress,
                                      [&](const std::string&, const nn::Linear<T, Host>& linear) -> nn::ModulePtr<T, Host> {
                                        return std::make_unique<FakeW8A8Linear<T>>(FakeW8A8Linear<T>::from_linear(linear, wbit));
                                      });
}

}  // namespace w8a8
