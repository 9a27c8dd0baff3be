// Random linear layers and tokens for the tests of the layers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "support/random.hpp"
#include "w8a8/nn/linear.hpp"
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

}  // namespace w8a8_test
