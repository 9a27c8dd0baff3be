// Integer helpers shared by host and device code.
#pragma once

#include <cstdint>

#include "w8a8/support/config.hpp"

namespace w8a8 {

/// Quotient rounded up; a >= 0, b > 0.
template <class T>
W8A8_HOST_DEVICE constexpr T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

/// Smallest multiple of `multiple` that is not below `a`; a >= 0, multiple > 0.
template <class T>
W8A8_HOST_DEVICE constexpr T round_up(T a, T multiple) {
  return ceil_div(a, multiple) * multiple;
}

template <class T>
W8A8_HOST_DEVICE constexpr T min_of(T a, T b) {
  return b < a ? b : a;
}

template <class T>
W8A8_HOST_DEVICE constexpr T max_of(T a, T b) {
  return a < b ? b : a;
}

/// Division of 0 <= n < 2^31 by an int that many threads divide by: a multiplication, where a division costs a GPU over a hundred
/// clocks. (Granlund and Montgomery, "Division by Invariant Integers using Multiplication".)
class Divisor {
 public:
  Divisor() = default;
  explicit Divisor(int divisor) {  // >= 1
    while ((std::int64_t{1} << shift_) < divisor) ++shift_;
    multiplier_ = static_cast<std::uint32_t>(ceil_div(std::uint64_t{1} << (31 + shift_), static_cast<std::uint64_t>(divisor)));
  }

  W8A8_HOST_DEVICE int divide(int n) const {
    const std::uint64_t product = std::uint64_t{2 * static_cast<std::uint32_t>(n)} * multiplier_;
    return static_cast<int>(static_cast<std::uint32_t>(product >> 32) >> shift_);
  }

 private:
  std::uint32_t multiplier_ = 0;  // ceil(2^(31 + shift) / divisor)
  int shift_ = 0;                 // ceil(log2(divisor))
};

/// True where the address is a multiple of `alignment` bytes (a power of two).
inline bool is_aligned(const void* pointer, std::uintptr_t alignment) {
  return (reinterpret_cast<std::uintptr_t>(pointer) & (alignment - 1)) == 0;
}

}  // namespace w8a8
