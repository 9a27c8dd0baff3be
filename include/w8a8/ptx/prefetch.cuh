// Prefetches to L2. PTX ISA, "Data Movement and Conversion Instructions: prefetch, prefetchu".
#pragma once

#include "w8a8/support/config.hpp"

namespace w8a8::ptx {

/// Brings the line of 128 bytes that holds `address`, of global memory, to L2.
W8A8_DEVICE void prefetch_l2(const void* address) { asm volatile("prefetch.global.L2 [%0];" ::"l"(address)); }

}  // namespace w8a8::ptx
