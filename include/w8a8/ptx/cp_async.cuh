// cp.async: asynchronous copies of 4, 8 or 16 bytes from global to shared memory, sm_80 and newer.
// PTX ISA, "Data Movement and Conversion Instructions: cp.async".
#pragma once

#include <cstdint>

#include "w8a8/support/config.hpp"

namespace w8a8::ptx {

/// Copies Bytes (4, 8, 16) of which the first `valid` come from `source`; the rest are zeros. 16-byte copies bypass L1.
template <int Bytes>
W8A8_DEVICE void cp_async(std::uint32_t destination, const void* source, int valid) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "cp.async copies 4, 8 or 16 bytes");
  if constexpr (Bytes == 16) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(destination), "l"(source), "r"(valid) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(destination), "l"(source), "n"(Bytes), "r"(valid)
                 : "memory");
  }
}

/// cp_async<16> without a tail, with an L2 cache policy (see cache_policy.cuh).
W8A8_DEVICE void cp_async_16(std::uint32_t destination, const void* source, std::uint64_t policy) {
  asm volatile("cp.async.cg.shared.global.L2::cache_hint.L2::128B [%0], [%1], 16, %2;" ::"r"(destination), "l"(source),
               "l"(policy)
               : "memory");
}

/// Copies 16 bytes; where `ignore`, reads nothing and writes zeros. A predicate costs less than the count of cp_async<16>, for
/// which the compiler computes an address and a mask at every copy.
W8A8_DEVICE void cp_async_16_or_zeros(std::uint32_t destination, const void* source, bool ignore) {
  asm volatile(
      "{\n"
      ".reg .pred ignore;\n"
      "setp.ne.u32 ignore, %2, 0;\n"
      "cp.async.cg.shared.global.L2::128B [%0], [%1], 16, ignore;\n"
      "}" ::"r"(destination),
      "l"(source), "r"(static_cast<std::uint32_t>(ignore))
      : "memory");
}

W8A8_DEVICE void cp_async_commit_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until at most Pending of this thread's most recent groups are incomplete.
template <int Pending>
W8A8_DEVICE void cp_async_wait_group() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

}  // namespace w8a8::ptx
