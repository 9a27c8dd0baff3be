// A value the compiler cannot see through.
#pragma once

#include <cstdint>

#include "w8a8/support/config.hpp"

namespace w8a8::ptx {

/// Returns its argument, of which the compiler no longer knows where it comes from: it stays in a register instead of being
/// computed anew, with loads of parameters and special registers, wherever it is used.
W8A8_DEVICE int opaque(int value) {
  asm("" : "+r"(value));
  return value;
}
W8A8_DEVICE std::uint32_t opaque(std::uint32_t value) {
  asm("" : "+r"(value));
  return value;
}
W8A8_DEVICE std::int64_t opaque(std::int64_t value) {
  asm("" : "+l"(value));
  return value;
}

W8A8_DEVICE const std::int8_t* opaque(const std::int8_t* value) {
  asm("" : "+l"(value));
  return value;
}

}  // namespace w8a8::ptx
