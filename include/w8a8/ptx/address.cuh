// Shared-memory addresses as the instructions of ptx/ take them.
#pragma once

#include <cstdint>

#include "w8a8/support/config.hpp"

namespace w8a8::ptx {

/// The 32-bit address in the shared::cta window of a generic pointer to shared memory.
W8A8_DEVICE std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

}  // namespace w8a8::ptx
