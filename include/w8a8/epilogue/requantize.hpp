// Requantize: codes with one given scale, for a layer whose successor takes INT8.
#pragma once

#include <cmath>
#include <cstdint>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/support/code.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"

namespace w8a8 {

/// Epilogue functor, the last one: clamp(rint(value * (1 / scale)), -qmax, qmax), for an int8 output; what quantize_per_tensor
/// gives. A NaN gives 0, an infinity +-qmax. scale > 0, bits 2 to 8.
struct Requantize : EpilogueFunctor {
  float scale;
  int bits;
  float inverse;

  explicit Requantize(float output_scale, int output_bits = 8)
      : scale(output_scale), bits(output_bits), inverse(divide(1.0f, output_scale)) {}

  W8A8_HOST_DEVICE std::int8_t apply(float value, Empty, Empty, std::int64_t, std::int64_t) const {
    return quantize_value(value, inverse, qmax(bits));
  }

  void validate(const char* function, std::int64_t, std::int64_t) const {
    if (!(scale > 0.0f) || std::isinf(scale)) throw Error(function, "scale", "a positive, finite number", text(scale));
    if (bits < 2 || bits > 8) throw Error(function, "bits", "2 to 8", text(bits));
  }
};

}  // namespace w8a8
