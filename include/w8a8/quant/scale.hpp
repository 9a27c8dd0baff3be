// The scale math, one element or one row at a time: the functions that every quantizer, on host and device, calls.
// Symmetric uniform quantization: q = clamp(rint(x / scale), -qmax, qmax), scale = absmax / qmax.
#pragma once

#include <cstdint>
#include <nv/target>

#include "w8a8/support/code.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/floating_point.hpp"

namespace w8a8 {

/// Below this magnitude a row's absmax counts as this: an all-zero row then gets a scale that divides.
inline constexpr float minimum_absmax = 1e-5f;

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

/// 1 / x, IEEE rounding.
W8A8_HOST_DEVICE float reciprocal(float x) { NV_IF_ELSE_TARGET(NV_IS_DEVICE, (return __frcp_rn(x);), (return 1.0f / x;)) }

/// What the row's elements are multiplied with: 1 / scale of the scale as stored, and 0 for a NaN scale, so that its codes are 0.
W8A8_HOST_DEVICE float inverse_scale(float scale) { return scale == scale ? reciprocal(scale) : 0.0f; }

/// Asymmetric uniform quantization of a row over [lowest, highest], 0 included: x is about (q - zero_point) * scale with q in
/// [-2^(bits-1), 2^(bits-1) - 1].
template <class Scale>
struct AsymmetricScale {
  Scale scale;
  std::int32_t zero_point;
  bool finite;  ///< false: the row holds a NaN or an infinity; scale NaN, zero_point 0, codes 0
};

/// scale = max(highest - lowest, minimum_absmax) / (2^bits - 1), rounded once to the type it is stored in; zero_point =
/// clamp(-2^(bits-1) - rint(lowest * (1 / scale))), with the scale as stored. `highest` and `lowest` are the magnitude_bits of
/// max(0, x) and of max(0, -x) over the row, not finite where any element is not.
template <class Scale>
W8A8_HOST_DEVICE AsymmetricScale<Scale> asymmetric_scale(std::uint32_t highest, std::uint32_t lowest, int bits) {
  if (is_nonfinite_magnitude(highest) || is_nonfinite_magnitude(lowest)) return {from_float<Scale>(quiet_nan()), 0, false};
  const float range = add(float_from_bits(highest), float_from_bits(lowest));
  const Scale scale =
      from_float<Scale>(divide(range > minimum_absmax ? range : minimum_absmax, static_cast<float>((1 << bits) - 1)));
  const float levels = multiply(float_from_bits(lowest), inverse_scale(to_float(scale)));
  const int most = (1 << bits) - 1, below = levels < static_cast<float>(most) ? round_to_int(levels) : most;
  return {scale, below - (1 << (bits - 1)), true};
}

}  // namespace w8a8
