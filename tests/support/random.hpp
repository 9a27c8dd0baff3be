// Seeded random data, the same on every platform and compiler.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "w8a8/support/floating_point.hpp"

namespace w8a8_test {

/// splitmix64 (Steele, Lea and Flood, OOPSLA 2014): one multiply-xorshift step a number, any seed is good.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t bits() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  /// Uniform in [low, high].
  std::int64_t integer(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(bits() % static_cast<std::uint64_t>(high - low + 1));
  }

  /// Uniform in [0, 1).
  float uniform() { return static_cast<float>(bits() >> 40) * 0x1p-24f; }

  bool chance(double probability) { return static_cast<double>(uniform()) < probability; }

  /// One of the values.
  template <class T>
  T choose(const std::vector<T>& values) {
    return values[static_cast<std::size_t>(integer(0, static_cast<std::int64_t>(values.size()) - 1))];
  }

  /// Normal with mean 0 and standard deviation 1 (Box and Muller).
  float normal() {
    const double u = (static_cast<double>(bits() >> 11) + 0.5) * 0x1p-53, v = static_cast<double>(bits() >> 11) * 0x1p-53;
    return static_cast<float>(std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v));
  }

  /// Bell-shaped as quantized weights are: the sum of four uniform integers, standard deviation 35, with the ends +-127 now and
  /// then.
  std::int8_t bell_int8() {
    const std::uint64_t r = bits();
    int sum = 0;
    for (int i = 0; i < 4; ++i) sum += static_cast<int>((r >> (12 * i)) % 4096 * 61 / 4096) - 30;
    if ((r >> 56) == 0) return (r >> 55) & 1 ? 127 : -127;
    return static_cast<std::int8_t>(sum);
  }

 private:
  std::uint64_t state_;
};

/// `count` bell-shaped codes.
inline std::vector<std::int8_t> bell_int8(Random& random, std::int64_t count) {
  std::vector<std::int8_t> values(static_cast<std::size_t>(count));
  for (std::int8_t& value : values) value = random.bell_int8();
  return values;
}

/// `count` codes over all of int8, -128 included: what a GEMM must take though no quantizer writes it.
inline std::vector<std::int8_t> uniform_int8(Random& random, std::int64_t count) {
  std::vector<std::int8_t> values(static_cast<std::size_t>(count));
  for (std::int8_t& value : values) value = static_cast<std::int8_t>(random.integer(-128, 127));
  return values;
}

/// `count` normal values times `sigma`, rounded to T.
template <class T>
std::vector<T> normal(Random& random, std::int64_t count, float sigma = 1.0f) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& value : values) value = w8a8::from_float<T>(random.normal() * sigma);
  return values;
}

/// `count` positive scales around `typical`, over a factor of eight, rounded to T.
template <class T>
std::vector<T> scales(Random& random, std::int64_t count, float typical = 0.01f) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& value : values) value = w8a8::from_float<T>(typical * std::exp2(3.0f * random.uniform() - 1.5f));
  return values;
}

}  // namespace w8a8_test
