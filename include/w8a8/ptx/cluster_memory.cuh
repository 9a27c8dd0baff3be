// Distributed shared memory: addresses and accesses in other CTAs of the cluster, sm_90.
// PTX ISA, "Data Movement and Conversion Instructions: mapa, st".
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

W8A8_DEVICE void st_shared_cluster(std::uint32_t address, std::int32_t a, std::int32_t b, std::int32_t c, std::int32_t d) {
  asm volatile("st.shared::cluster.v4.s32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
}

}  // namespace w8a8::ptx
