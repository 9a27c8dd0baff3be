// Prefetches into L2. PTX ISA, "Data Movement and Conversion Instructions: prefetch".
#pragma once

#include "w8a8/support/config.hpp"

namespace w8a8::ptx {

/// Asks for the global-memory line that holds `address`; nothing waits for it.
W8A8_DEVICE void prefetch_global_l2(const void* address) { asm volatile("prefetch.global.L2 [%0];" ::"l"(address)); }

}  // namespace w8a8::ptx
