// The thread index, read anew. PTX ISA, "Special Registers: %tid".
#pragma once

#include <cstdint>

#include "w8a8/support/config.hpp"

namespace w8a8::ptx {

/// threadIdx.x, read at every call: for code after a loop that has no register to keep it in, or what follows from it.
W8A8_DEVICE std::uint32_t thread_index() {
  std::uint32_t index;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
  return index;
}

}  // namespace w8a8::ptx
