// Activation functions in FP32, one value at a time. Each is written so that its relative error stays small in the tails, where
// the textbook forms cancel. The device takes exponentials and reciprocals from its multi-function unit (about 2^-20 in all,
// far below an ulp of half or bfloat16), the host from the platform: their last FP32 bits differ.
#pragma once

#include <cmath>
#include <nv/target>

#include "w8a8/ptx/approximate.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/floating_point.hpp"

namespace w8a8 {

namespace detail {

/// 2^x; 0 below the normal range.
W8A8_HOST_DEVICE float fast_exp2(float x) {
  NV_IF_ELSE_TARGET(NV_IS_DEVICE, (return ptx::ex2_approx(x);), (return std::exp2(x);))
}

/// 1 / x; 0 where that is below the normal range.
W8A8_HOST_DEVICE float fast_reciprocal(float x) {
  NV_IF_ELSE_TARGET(NV_IS_DEVICE, (return ptx::rcp_approx(x);), (return 1.0f / x;))
}

/// Where the unit would flush a result that still counts, the computation runs scaled by 2^16: what is lost then is below 2^-135,
/// a quarter of bfloat16's smallest number.
inline constexpr float lift = 16.0f, drop_factor = 0x1p-16f;

/// x / (1 + 2^y) from lifted = y - 16.
W8A8_HOST_DEVICE float over_one_plus_exp2(float x, float lifted) {
  return (x * drop_factor) * fast_reciprocal(drop_factor + fast_exp2(lifted));
}

}  // namespace detail

/// SiLU (Hendrycks and Gimpel, arXiv:1606.08415): x / (1 + exp(-x)).
W8A8_HOST_DEVICE float silu(float x) {
  constexpr float log2_e = 1.4426950408889634f;
  return detail::over_one_plus_exp2(x, fused_multiply_add(x, -log2_e, -detail::lift));
}

/// GELU, tanh form (same paper): 0.5 x (1 + tanh(u)) with u = sqrt(2/pi) (x + 0.044715 x^3), computed as x / (1 + exp(-2 u)).
W8A8_HOST_DEVICE float gelu_tanh(float x) {
  constexpr float linear = -2.302208198144325f;  // -2 sqrt(2/pi) log2(e)
  constexpr float cubic = -0.1029432395800235f;  // 0.044715 times that
  return detail::over_one_plus_exp2(x, fused_multiply_add(x, fused_multiply_add(cubic, x * x, linear), -detail::lift));
}

/// GELU, exact form: x Phi(x), Phi the normal distribution function. NaN for an infinity.
W8A8_HOST_DEVICE float gelu_erf(float x) {
  // x Phi(x) = max(x, 0) - |x| Phi(-|x|), and Phi(-a) = exp(-a^2 / 2) g(a) for a >= 0; g is smooth and a polynomial in
  // t = 1 / (1 + 0.3 a), least maximal relative error 1.9e-6 for a <= 14.6, where Phi(-a) leaves FP32.
  constexpr float half_log2_e = 0.7213475204444817f;
  constexpr float drop = detail::drop_factor;
  const float a = fabsf(x);
  const float t = detail::fast_reciprocal(fused_multiply_add(0.3f, a, 1.0f));
  float g = -0.0845932019162f * drop;
  g = fused_multiply_add(g, t, 0.240572706859f * drop);
  g = fused_multiply_add(g, t, -0.0486443289519f * drop);
  g = fused_multiply_add(g, t, 0.164764435243f * drop);
  g = fused_multiply_add(g, t, 0.106704535012f * drop);
  g = fused_multiply_add(g, t, 0.121274702461f * drop);
  g = fused_multiply_add(g, t, -7.97896432188e-5f * drop);
  const float tail = detail::fast_exp2(fused_multiply_add(x * x, -half_log2_e, detail::lift)) * g;
  return fused_multiply_add(-a, tail, fmaxf(x, 0.0f));
}

/// gelu_erf where only the absolute error counts, in fewer steps: relatively 5e-6 off for |x| <= 6, absolutely below 1e-13
/// beyond.
W8A8_HOST_DEVICE float gelu_erf_absolute(float x) {
  // x Phi(x) = max(x, 0) - |x| Phi(-|x|), and log2 Phi(-a) is for a <= 6 a polynomial in a, here in a / -2^16 (the lift), and
  // falls beyond.
  const float a = fabsf(x) * -detail::drop_factor;
  float log = 0x1.ec894cp+92f;
  log = fused_multiply_add(log, a, 0x1.025d42p+82f);
  log = fused_multiply_add(log, a, 0x1.e7dd42p+69f);
  log = fused_multiply_add(log, a, 0x1.16c942p+57f);
  log = fused_multiply_add(log, a, 0x1.ba0a34p+43f);
  log = fused_multiply_add(log, a, -0x1.d577c8p+30f);
  log = fused_multiply_add(log, a, 0x1.26b85ep+16f);
  log = fused_multiply_add(log, a, 0x1.e0000ap+3f);
  return fused_multiply_add(a, detail::fast_exp2(log), fmaxf(x, 0.0f));
}

/// max(x, 0); a NaN stays.
W8A8_HOST_DEVICE float relu(float x) { return x < 0.0f ? 0.0f : x; }

}  // namespace w8a8
