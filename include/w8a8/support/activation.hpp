// Activation functions in FP32, one value at a time. Each is written so that its relative error stays small in the tails, where
// the textbook forms cancel. The device takes exponentials and reciprocals from its multi-function unit (about 2^-20 in all,
// far below an ulp of half or bfloat16), the host from the platform: their last FP32 bits differ.
#pragma once

#include <cmath>
#include <nv/target>

#include "w8a8/support/config.hpp"
#include "w8a8/support/floating_point.hpp"
#if defined(__CUDACC__)
#include "w8a8/ptx/approximate.cuh"
#endif

namespace w8a8 {

namespace detail {

/// 2^-|z|, subnormal results included.
W8A8_HOST_DEVICE float exp2_decay(float z) {
  // The unit flushes subnormal results: it computes 2^24 times the value.
  NV_IF_ELSE_TARGET(NV_IS_DEVICE, (return ptx::ex2_approx(24.0f - fabsf(z)) * 0x1p-24f;), (return std::exp2(-std::fabs(z));))
}

/// 1 / x for 1 <= x <= 2^100, or 0 for an infinity.
W8A8_HOST_DEVICE float fast_reciprocal(float x) {
  NV_IF_ELSE_TARGET(NV_IS_DEVICE, (return ptx::rcp_approx(x);), (return 1.0f / x;))
}

/// x / (1 + 2^-z). With 2^-|z| alone neither branch overflows or cancels.
W8A8_HOST_DEVICE float times_sigmoid(float x, float z) {
  const float decay = exp2_decay(z);
  return (x * (z < 0.0f ? decay : 1.0f)) * fast_reciprocal(1.0f + decay);
}

}  // namespace detail

/// SiLU (Hendrycks and Gimpel, arXiv:1606.08415): x / (1 + exp(-x)).
W8A8_HOST_DEVICE float silu(float x) {
  constexpr float log2_e = 1.4426950408889634f;
  return detail::times_sigmoid(x, x * log2_e);
}

/// GELU, tanh form (same paper): 0.5 x (1 + tanh(u)) with u = sqrt(2/pi) (x + 0.044715 x^3), computed as x / (1 + exp(-2 u)).
W8A8_HOST_DEVICE float gelu_tanh(float x) {
  constexpr float linear = 2.302208198144325f;  // 2 sqrt(2/pi) log2(e)
  constexpr float cubic = 0.1029432395800235f;  // 0.044715 times that
  return detail::times_sigmoid(x, x * fused_multiply_add(cubic, x * x, linear));
}

/// GELU, exact form: x Phi(x), Phi the normal distribution function.
W8A8_HOST_DEVICE float gelu_erf(float x) {
  // Phi(-a) = exp(-a^2 / 2) g(a) for a >= 0; g is smooth and a polynomial in t = 1 / (1 + 0.3 a), least maximal relative error
  // 1.9e-6 for a <= 14.6, where Phi(-a) leaves FP32.
  constexpr float half_log2_e = 0.7213475204444817f;
  const float a = fabsf(x);
  const float t = detail::fast_reciprocal(fused_multiply_add(0.3f, a, 1.0f));
  float g = -0.0845932019162f;
  g = fused_multiply_add(g, t, 0.240572706859f);
  g = fused_multiply_add(g, t, -0.0486443289519f);
  g = fused_multiply_add(g, t, 0.164764435243f);
  g = fused_multiply_add(g, t, 0.106704535012f);
  g = fused_multiply_add(g, t, 0.121274702461f);
  g = fused_multiply_add(g, t, -7.97896432188e-5f);
  const float tail = detail::exp2_decay(a * a * half_log2_e) * g;
  return x * (x < 0.0f ? tail : 1.0f - tail);
}

/// max(x, 0); a NaN stays.
W8A8_HOST_DEVICE float relu(float x) { return x < 0.0f ? 0.0f : x; }

}  // namespace w8a8
