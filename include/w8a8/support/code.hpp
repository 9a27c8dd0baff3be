// The code of a value: the one place where a float becomes an integer of a few bits.
#pragma once

#include <cstdint>

#include "w8a8/support/config.hpp"
#include "w8a8/support/floating_point.hpp"

namespace w8a8 {

/// The largest code of `bits` bits: 2^(bits-1) - 1, so 127 for 8. Symmetric codes lie in [-qmax, qmax].
W8A8_HOST_DEVICE constexpr int qmax(int bits) { return (1 << (bits - 1)) - 1; }

/// rint(y) for |y| < 2^21, as the low bits of a word in two's complement. Adding 1.5 * 2^23 leaves no fraction bits, so that the
/// addition itself rounds, half to even.
W8A8_HOST_DEVICE std::uint32_t code_bits(float y) { return float_bits(add(y, 12582912.0f)); }

/// The code of x: clamp(rint(x * inverse), -limit, limit), with limit = qmax(bits). A NaN product gives 0.
W8A8_HOST_DEVICE std::int8_t quantize_value(float x, float inverse, int limit) {
  const float bound = static_cast<float>(limit);
  float y = multiply(x, inverse);
  y = y == y ? y : 0.0f;
  // The selection keeps a host compiler from contracting the multiplication with the addition that rounds.
  y = y < -bound ? -bound : (y > bound ? bound : y);
  return static_cast<std::int8_t>(code_bits(y));
}

}  // namespace w8a8
