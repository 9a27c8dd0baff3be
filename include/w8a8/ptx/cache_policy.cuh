// L2 cache policies, as createpolicy.fractional.L2::…, fraction 1.0 encodes them.
// PTX ISA, "Data Movement and Conversion Instructions: createpolicy".
#pragma once

#include <cstdint>

namespace w8a8::ptx {

inline constexpr std::uint64_t evict_first = 0x12F0000000000000ull;
inline constexpr std::uint64_t evict_last = 0x14F0000000000000ull;

}  // namespace w8a8::ptx
