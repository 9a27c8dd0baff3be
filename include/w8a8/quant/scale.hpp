// The scale math, one element or one row at a time: the functions that every quantizer, on host and device, calls.
// Symmetric uniform quantization: q = clamp(rint(x / scale), -qmax, qmax), scale = absmax / qmax.
#pragma once

#include <cstdint>

#include "w8a8/support/config.hpp"
#include "w8a8/support/floating_point.hpp"

namespace w8a8 {

/// Below this magnitude a row's absmax counts as this: an all-zero row then gets a scale that divides.
inline constexpr float minimum_absmax = 1e-5f;

/// The largest code of `bits` bits: 2^(bits-1) - 1, so 127 for 8. Codes lie in [-qmax, qmax].
W8A8_HOST_DEVICE constexpr int qmax(int bits) { return (1 << (bits - 1)) - 1; }

/// The magnitude of x as an integer that orders as magnitudes do, with infinities and NaNs on top: the maximum over a row is
/// exact, does not depend on the order, and cannot lose a NaN.
W8A8_HOST_DEVICE std::uint32_t magnitude_bits(float x) { return float_bits(x) & 0x7fffffffu; }

/// True where the magnitude (of magnitude_bits) is an infinity's or a NaN's.
W8A8_HOST_DEVICE bool is_nonfinite_magnitude(std::uint32_t magnitude) { return magnitude >= 0x7f800000u; }

/// The scale of a row whose largest magnitude is `magnitude`, rounded once to the type it is stored in; NaN for a row that
/// holds a NaN or an infinity.
template <class Scale>
W8A8_HOST_DEVICE Scale scale_from_magnitude(std::uint32_t magnitude, int bits) {
  if (is_nonfinite_magnitude(magnitude)) return from_float<Scale>(quiet_nan());
  const float absmax = float_from_bits(magnitude);
  return from_float<Scale>(divide(absmax > minimum_absmax ? absmax : minimum_absmax, static_cast<float>(qmax(bits))));
}

/// What the row's elements are multiplied with: 1 / scale of the scale as stored, and 0 for a NaN scale, so that its codes are 0.
W8A8_HOST_DEVICE float inverse_scale(float scale) { return scale == scale ? divide(1.0f, scale) : 0.0f; }

/// rint(y) for |y| < 2^21, as the low bits of a word in two's complement. Adding 1.5 * 2^23 leaves no fraction bits, so that the
/// addition itself rounds, half to even.
W8A8_HOST_DEVICE std::uint32_t code_bits(float y) { return float_bits(add(y, 12582912.0f)); }

/// The code of x: clamp(rint(x * inverse), -limit, limit), with limit = qmax(bits). A NaN product gives 0.
W8A8_HOST_DEVICE std::int8_t quantize_value(float x, float inverse, int limit) {
  const float bound = static_cast<float>(limit);
  float y = multiply(x, inverse);
  y = y == y ? y : 0.0f;
  y = y < -bound ? -bound : (y > bound ? bound : y);
  return static_cast<std::int8_t>(code_bits(y));
}

}  // namespace w8a8
