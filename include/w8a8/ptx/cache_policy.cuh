// L2 cache policies, as createpolicy.fractional.L2::…, fraction 1.0 encodes them.
// PTX ISA, "Data Movement and Conversion Instructions: createpolicy".
#pragma once

#include <cstdint>

#include "w8a8/support/config.hpp"

namespace w8a8::ptx {

inline constexpr std::uint64_t evict_first = 0x12F0000000000000ull;
inline constexpr std::uint64_t evict_last = 0x14F0000000000000ull;

/// The same policies made by the instruction itself: for cp.async, on every architecture from sm_80 on.
W8A8_DEVICE std::uint64_t createpolicy_evict_first() {
  std::uint64_t policy;
  asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}

W8A8_DEVICE std::uint64_t createpolicy_evict_last() {
  std::uint64_t policy;
  asm volatile("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}

}  // namespace w8a8::ptx
