// The multi-function unit's approximations, subnormals flushed to zero. PTX ISA, "Floating Point Instructions: ex2", "rcp".
// Nothing for a host compiler, but a header that one may include.
#pragma once

#include "w8a8/support/config.hpp"

#if defined(__CUDACC__)

namespace w8a8::ptx {

/// 2^x, relative error at most 2^-22 over the normal range.
W8A8_DEVICE float ex2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// 1 / x, at most 1 ulp off.
W8A8_DEVICE float rcp_approx(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace w8a8::ptx

#endif
