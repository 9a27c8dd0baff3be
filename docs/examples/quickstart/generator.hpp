// A linear layer and tokens that look like a language model's, from a seed.
//
// What matters for INT8 is how far a row's largest element stands above the others, so that is what the generator imitates:
// - weights are normal with standard deviation 0.02 times a gain per output channel (log-normal, sigma 0.3);
// - activations are normal with a gain per input channel (log-normal, sigma 0.4) and per token (log-normal, sigma 0.3);
// - one input channel in 256 is an outlier, 6 to 20 times the others, the same channels in every token, as Dettmers et al.
//   (LLM.int8(), arXiv:2208.07339) and Xiao et al. (SmoothQuant, arXiv:2211.10438) found in large transformers. Weights that meet
//   an outlier channel are five times smaller, as training makes them;
// - the bias is normal with standard deviation 0.1.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "w8a8/nn/linear.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/parallel.hpp"
#include "w8a8/tensor/tensor.hpp"

namespace quickstart {

/// splitmix64 (Steele, Lea and Flood, OOPSLA 2014), one sequence a row, so that rows can be made in any order.
class Random {
 public:
  Random(std::uint64_t seed, std::uint64_t row) : state_(seed * 0xd1342543de82ef95u + row * 0x2545f4914f6cdd1du) { bits(); }

  std::uint64_t bits() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  double uniform() { return (static_cast<double>(bits() >> 11) + 0.5) * 0x1p-53; }
  double normal() { return std::sqrt(-2.0 * std::log(uniform())) * std::cos(6.283185307179586 * uniform()); }

 private:
  std::uint64_t state_;
};

/// What the weights and the activations of one layer have in common: a gain per input channel.
struct Channels {
  std::vector<float> gain;
  std::vector<bool> outlier;
};

inline Channels make_channels(std::uint64_t seed, std::int64_t in_features) {
  Random random(seed, 0);
  Channels channels;
  for (std::int64_t k = 0; k < in_features; ++k) {
    const bool outlier = random.uniform() < 1.0 / 256;
    const double typical = std::exp(0.4 * random.normal());
    channels.gain.push_back(static_cast<float>(outlier ? 6.0 + 14.0 * random.uniform() : typical));
    channels.outlier.push_back(outlier);
  }
  return channels;
}

/// tokens x in_features activations.
inline w8a8::Tensor<w8a8::half, 2, w8a8::Host> make_activations(std::uint64_t seed, std::int64_t tokens,
                                                                std::int64_t in_features) {
  const Channels channels = make_channels(seed, in_features);
  w8a8::Tensor<w8a8::half, 2, w8a8::Host> x({tokens, in_features});
  const auto view = x.view();
  w8a8::parallel_for(tokens, 0, [&](std::int64_t m) {
    Random random(seed + 1, static_cast<std::uint64_t>(m));
    const double gain = std::exp(0.3 * random.normal());
    for (std::int64_t k = 0; k < in_features; ++k) {
      view(m, k) =
          w8a8::from_float<w8a8::half>(static_cast<float>(gain * random.normal()) * channels.gain[static_cast<std::size_t>(k)]);
    }
  });
  return x;
}

/// A layer of that shape, with a bias.
inline w8a8::nn::Linear<w8a8::half> make_linear(std::uint64_t seed, std::int64_t in_features, std::int64_t out_features) {
  const Channels channels = make_channels(seed, in_features);
  w8a8::nn::Linear<w8a8::half> linear(in_features, out_features);
  const auto weight = linear.weight.view();
  const auto bias = linear.bias.view();
  w8a8::parallel_for(out_features, 0, [&](std::int64_t n) {
    Random random(seed + 2, static_cast<std::uint64_t>(n));
    const double gain = 0.02 * std::exp(0.3 * random.normal());
    bias(n) = w8a8::from_float<w8a8::half>(static_cast<float>(0.1 * random.normal()));
    for (std::int64_t k = 0; k < in_features; ++k) {
      const double value = gain * random.normal();
      weight(n, k) =
          w8a8::from_float<w8a8::half>(static_cast<float>(channels.outlier[static_cast<std::size_t>(k)] ? value / 5 : value));
    }
  });
  return linear;
}

}  // namespace quickstart
