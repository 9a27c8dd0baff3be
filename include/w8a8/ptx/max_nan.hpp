// The larger of two floats, or the canonical NaN where either is a NaN; sm_80 and newer. PTX ISA, "Floating Point Instructions:
// max".
// Nothing for a host compiler, but a header that one may include.
#pragma once

#include "w8a8/support/config.hpp"

#if defined(__CUDACC__)

namespace w8a8::ptx {

W8A8_DEVICE float max_nan(float a, float b) {
  float most;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(most) : "f"(a), "f"(b));
  return most;
}

}  // namespace w8a8::ptx

#endif
