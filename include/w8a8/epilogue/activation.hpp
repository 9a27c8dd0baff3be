// Activation functors, in FP32. They use the platform's tanh, so host and GPU may differ in the last bits.
#pragma once

#include <cmath>
#include <cstdint>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/support/config.hpp"

namespace w8a8 {

/// GELU, tanh form (Hendrycks and Gimpel, arXiv:1606.08415): 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
W8A8_HOST_DEVICE float gelu_tanh(float x) {
  const float inner = 0.7978845608028654f * (x + 0.044715f * x * x * x);
  return 0.5f * x * (1.0f + tanhf(inner));
}

/// Epilogue functor: gelu_tanh of the value.
struct Gelu : EpilogueFunctor {
  W8A8_HOST_DEVICE float apply(float value, Empty, Empty, std::int64_t, std::int64_t) const { return gelu_tanh(value); }
};

}  // namespace w8a8
