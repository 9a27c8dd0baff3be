// Distributed shared memory: addresses and accesses in other CTAs of the cluster, sm_90.
// PTX ISA, "Data Movement and Conversion Instructions: mapa, st.async".
#pragma once

#include <cstdint>

#include "w8a8/support/config.hpp"

namespace w8a8::ptx {

/// The shared::cluster address of CTA `rank`'s copy of a shared::cta address.
W8A8_DEVICE std::uint32_t mapa(std::uint32_t address, std::uint32_t rank) {
  std::uint32_t remote;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(rank));
  return remote;
}

/// st.async: an asynchronous 16-byte store to shared::cluster memory, whose bytes count on `barrier`, an mbarrier of the CTA that
/// owns the destination. Waiting on that barrier makes the data visible there: no fence, no cluster barrier.
/// PTX ISA, "Data Movement and Conversion Instructions: st.async".
W8A8_DEVICE void st_async(std::uint32_t address, std::uint32_t barrier, std::int32_t a, std::int32_t b, std::int32_t c,
                          std::int32_t d) {
  asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.s32 [%0], {%2, %3, %4, %5}, [%1];" ::"r"(address),
               "r"(barrier), "r"(a), "r"(b), "r"(c), "r"(d)
               : "memory");
}

}  // namespace w8a8::ptx
