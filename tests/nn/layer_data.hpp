// Random linear layers and tokens for the tests of the layers.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "support/error_text.hpp"
#include "support/random.hpp"
#include "w8a8/gemm/problem.hpp"
#include "w8a8/nn/linear.hpp"
#include "w8a8/nn/module.hpp"
#include "w8a8/tensor/tensor.hpp"

namespace w8a8_test {

using w8a8::Host;
using w8a8::Tensor;

template <class T, int Rank>
Tensor<T, Rank, Host> normal_tensor(Random& random, const std::array<std::int64_t, Rank>& shape, float sigma = 1.0f) {
  Tensor<T, Rank, Host> out(shape);
  for (std::int64_t i = 0; i < out.size(); ++i) out.data()[i] = w8a8::from_float<T>(random.normal() * sigma);
  return out;
}

template <class T>
w8a8::nn::Linear<T, Host> random_linear(Random& random, std::int64_t in_features, std::int64_t out_features,
                                        bool has_bias = true) {
  w8a8::nn::Linear<T, Host> linear;
  linear.weight = normal_tensor<T, 2>(random, {out_features, in_features}, 0.05f);
  if (has_bias) linear.bias = normal_tensor<T, 1>(random, {out_features});
  return linear;
}

/// A random linear layer as a module, in either space.
template <class T, class Space>
w8a8::nn::ModulePtr<T, Space> linear_module(Random& random, std::int64_t in, std::int64_t out, bool has_bias = true) {
  const auto host = random_linear<T>(random, in, out, has_bias);
  auto linear = std::make_unique<w8a8::nn::Linear<T, Space>>();
  linear->weight = w8a8::clone_to<Space>(host.weight.view());
  if (has_bias) linear->bias = w8a8::clone_to<Space>(host.bias.view());
  return linear;
}

/// The elements as a vector, for comparisons.
template <class T, int Rank>
std::vector<T> values(const Tensor<T, Rank, Host>& tensor) {
  return {tensor.data(), tensor.data() + tensor.size()};
}

/// A host tensor full of a byte: no output that a layer writes looks like this.
template <class T, int Rank>
Tensor<T, Rank, Host> poisoned(const std::array<std::int64_t, Rank>& shape) {
  Tensor<T, Rank, Host> out(shape);
  if (!out.empty()) std::memset(static_cast<void*>(out.data()), 0xff, static_cast<std::size_t>(out.bytes()));
  return out;
}

/// Workspace of a layer for that many tokens, in its space.
template <class Layer>
Tensor<std::byte, 1, typename Layer::space_type> workspace_for(const Layer& layer, std::int64_t tokens) {
  return Tensor<std::byte, 1, typename Layer::space_type>({static_cast<std::int64_t>(layer.forward_workspace_bytes(tokens))});
}

/// What layer.forward() says of the options; with "; written" behind it where it yet wrote to its workspace or output.
template <class Layer>
std::string refusal_of_forward(const Layer& layer, std::int64_t tokens, const w8a8::GemmOptions& options) {
  using T = typename Layer::params_dtype;
  using Space = typename Layer::space_type;
  const Tensor<T, 2, Space> x = w8a8::clone_to<Space>(Tensor<T, 2, Host>({tokens, layer.in_features()}).view());
  const auto untouched_y = poisoned<T, 2>({tokens, layer.out_features()});
  const auto untouched = poisoned<std::byte, 1>({static_cast<std::int64_t>(layer.forward_workspace_bytes(tokens))});
  auto y = w8a8::clone_to<Space>(untouched_y.view());
  auto workspace = w8a8::clone_to<Space>(untouched.view());
  std::string text = error_text([&] { layer.forward(x.view(), y.view(), workspace.view(), options); });
  const auto after_y = w8a8::clone_to<Host>(y.view());
  const auto after = w8a8::clone_to<Host>(workspace.view());
  const bool same = std::memcmp(after_y.data(), untouched_y.data(), static_cast<std::size_t>(untouched_y.bytes())) == 0 &&
                    std::memcmp(after.data(), untouched.data(), static_cast<std::size_t>(untouched.bytes())) == 0;
  return same ? text : text + "; written";
}

/// The model's output for x, which lies on the host.
template <class T, class Space>
Tensor<T, 2, Host> run_model(const w8a8::nn::ModulePtr<T, Space>& model, const Tensor<T, 2, Host>& x) {
  const auto there = w8a8::clone_to<Space>(x.view());
  auto y = w8a8::clone_to<Space>(poisoned<T, 2>({x.extent(0), model->out_features(x.extent(1))}).view());
  Tensor<std::byte, 1, Space> workspace({static_cast<std::int64_t>(model->workspace_bytes(x.extent(0), x.extent(1)))});
  model->forward(there.view(), y.view(), workspace.view(), nullptr);
  return w8a8::clone_to<Host>(y.view());
}

/// Signal to noise of what is half, bfloat16 or float, in decibels.
template <class T>
double snr_db(const Tensor<T, 2, Host>& reference, const Tensor<T, 2, Host>& actual) {
  double signal = 0.0, noise = 0.0;
  for (std::int64_t i = 0; i < reference.size(); ++i) {
    const double r = w8a8::to_float(reference.data()[i]), e = w8a8::to_float(actual.data()[i]) - r;
    signal += r * r;
    noise += e * e;
  }
  return 10.0 * std::log10(signal / noise);
}

}  // namespace w8a8_test
