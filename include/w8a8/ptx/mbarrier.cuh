// mbarrier: transaction barriers in shared memory, sm_90. PTX ISA, "Parallel Synchronization Instructions: mbarrier".
// They take 32-bit shared addresses, computed once, because a pipeline addresses an array of them by stage.
#pragma once

#include <cstdint>

#include "w8a8/support/config.hpp"

namespace w8a8::ptx {

W8A8_DEVICE void mbarrier_init(std::uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

/// Makes this thread's mbarrier.init visible to the cluster and to the async proxy.
W8A8_DEVICE void fence_mbarrier_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

/// Arrives and announces `bytes` of asynchronous copies to wait for.
W8A8_DEVICE void mbarrier_arrive_expect_tx(std::uint32_t barrier, std::uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

W8A8_DEVICE void mbarrier_arrive(std::uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/// Arrives at the barrier of the same address in CTA `rank` of the cluster. Without .release.cluster on purpose: in a main loop
/// that fence was measured to cost 25%, and consumers that only read have nothing to release.
W8A8_DEVICE void mbarrier_arrive_remote(std::uint32_t barrier, std::uint32_t rank) {
  asm volatile(
      "{ .reg .b32 remote; mapa.shared::cluster.u32 remote, %0, %1; mbarrier.arrive.shared::cluster.b64 _, [remote]; }" ::"r"(
          barrier),
      "r"(rank)
      : "memory");
}

/// Waits until the phase of the given parity has completed.
W8A8_DEVICE void mbarrier_wait_parity(std::uint32_t barrier, std::uint32_t parity) {
  asm volatile(
      "{ .reg .pred done;\n"
      "WAIT: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra.uni DONE;\n"
      "bra.uni WAIT;\n"
      "DONE: }" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

/// mbarrier_wait_parity that also makes visible what other CTAs of the cluster wrote before they completed the phase.
W8A8_DEVICE void mbarrier_wait_parity_cluster(std::uint32_t barrier, std::uint32_t parity) {
  asm volatile(
      "{ .reg .pred done;\n"
      "WAIT: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%0], %1;\n"
      "@done bra.uni DONE;\n"
      "bra.uni WAIT;\n"
      "DONE: }" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

}  // namespace w8a8::ptx
