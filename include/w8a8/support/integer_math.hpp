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

/// True where the address is a multiple of `alignment` bytes (a power of two).
inline bool is_aligned(const void* pointer, std::uintptr_t alignment) {
  return (reinterpret_cast<std::uintptr_t>(pointer) & (alignment - 1)) == 0;
}

}  // namespace w8a8
