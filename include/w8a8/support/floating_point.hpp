// FP32 steps with a fixed rounding, and conversions between the floating-point types. Host and device give the same bits, which
// is why every rounding step of the numerics contract goes through one of these functions: no contraction, no fast-math.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <nv/target>
#include <type_traits>

#include "w8a8/support/config.hpp"

namespace w8a8 {

using half = __half;
using bfloat16 = __nv_bfloat16;

/// float, half and bfloat16: what activations, scales and biases may be stored in.
template <class T>
inline constexpr bool is_floating_v = std::is_same_v<T, float> || std::is_same_v<T, half> || std::is_same_v<T, bfloat16>;

W8A8_HOST_DEVICE std::uint32_t float_bits(float x) {
  NV_IF_ELSE_TARGET(NV_IS_DEVICE, (return __float_as_uint(x);),
                    (std::uint32_t bits; std::memcpy(&bits, &x, sizeof bits); return bits;))
}

W8A8_HOST_DEVICE float float_from_bits(std::uint32_t bits) {
  NV_IF_ELSE_TARGET(NV_IS_DEVICE, (return __uint_as_float(bits);), (float x; std::memcpy(&x, &bits, sizeof x); return x;))
}

/// The NaN that this library stores: CUDA's canonical one. (x86 would keep a payload and a sign.)
W8A8_HOST_DEVICE float quiet_nan() { return float_from_bits(0x7fffffffu); }

/// a * b, rounded once to nearest even.
W8A8_HOST_DEVICE float multiply(float a, float b) { NV_IF_ELSE_TARGET(NV_IS_DEVICE, (return __fmul_rn(a, b);), (return a * b;)) }

/// a + b, rounded once to nearest even.
W8A8_HOST_DEVICE float add(float a, float b) { NV_IF_ELSE_TARGET(NV_IS_DEVICE, (return __fadd_rn(a, b);), (return a + b;)) }

/// a * b + c, rounded once to nearest even.
W8A8_HOST_DEVICE float fused_multiply_add(float a, float b, float c) {
  NV_IF_ELSE_TARGET(NV_IS_DEVICE, (return __fmaf_rn(a, b, c);), (return std::fma(a, b, c);))
}

/// a / b, IEEE rounding.
W8A8_HOST_DEVICE float divide(float a, float b) { NV_IF_ELSE_TARGET(NV_IS_DEVICE, (return __fdiv_rn(a, b);), (return a / b;)) }

/// The square root of a, IEEE rounding.
W8A8_HOST_DEVICE float square_root(float a) { NV_IF_ELSE_TARGET(NV_IS_DEVICE, (return __fsqrt_rn(a);), (return std::sqrt(a);)) }

/// The nearest integer, ties to even; |x| must fit an int. The host must be in its default rounding mode.
W8A8_HOST_DEVICE int round_to_int(float x) {
  NV_IF_ELSE_TARGET(NV_IS_DEVICE, (return __float2int_rn(x);), (return static_cast<int>(std::nearbyint(x));))
}

/// int32 to float, to nearest even (exact below 2^24).
W8A8_HOST_DEVICE float int_to_float(std::int32_t x) {
  NV_IF_ELSE_TARGET(NV_IS_DEVICE, (return __int2float_rn(x);), (return static_cast<float>(x);))
}

W8A8_HOST_DEVICE float to_float(float x) { return x; }
W8A8_HOST_DEVICE float to_float(half x) { return __half2float(x); }
W8A8_HOST_DEVICE float to_float(bfloat16 x) { return __bfloat162float(x); }

/// Rounds a float once, to nearest even, to T. A NaN becomes T's canonical NaN, on host and device alike. (A device passes a
/// float as it is: its arithmetic makes no other NaN.)
template <class T>
W8A8_HOST_DEVICE T from_float(float x) {
  static_assert(is_floating_v<T>, "from_float: float, half or bfloat16");
  if constexpr (std::is_same_v<T, half>) {
    return __float2half_rn(x);
  } else if constexpr (std::is_same_v<T, bfloat16>) {
    return __float2bfloat16_rn(x);
  } else {
    NV_IF_ELSE_TARGET(NV_IS_DEVICE, (return x;), (return x == x ? x : quiet_nan();))
  }
}

}  // namespace w8a8
