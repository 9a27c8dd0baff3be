// Stores to shared memory by 32-bit address. PTX ISA, "Data Movement and Conversion Instructions: st".
#pragma once

#include <cstdint>

#include "w8a8/support/config.hpp"

namespace w8a8::ptx {

/// Stores 16 bytes at `address`, a multiple of 16 in the shared::cta window.
W8A8_DEVICE void st_shared_16(std::uint32_t address, const std::uint32_t (&v)[4]) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v[0]), "r"(v[1]), "r"(v[2]), "r"(v[3]) : "memory");
}

/// Stores the low byte of `v` at `address`.
W8A8_DEVICE void st_shared_8(std::uint32_t address, std::uint32_t v) {
  asm volatile("st.shared.u8 [%0], %1;" ::"r"(address), "r"(v) : "memory");
}

}  // namespace w8a8::ptx
