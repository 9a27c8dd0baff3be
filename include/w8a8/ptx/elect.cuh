// elect.sync: one thread of a warp, sm_90. PTX ISA, "Parallel Synchronization and Communication Instructions: elect.sync".
#pragma once

#include <cstdint>

#include "w8a8/support/config.hpp"

namespace w8a8::ptx {

/// True in one thread of the warp, all of whose threads are here. The compiler knows that what follows has one thread, and issues
/// TMA without a loop over threads.
W8A8_DEVICE bool elect_one() {
  std::uint32_t elected;
  asm volatile("{ .reg .pred one; elect.sync _|one, 0xffffffff; selp.b32 %0, 1, 0, one; }" : "=r"(elected)::"memory");
  return elected != 0;
}

}  // namespace w8a8::ptx
