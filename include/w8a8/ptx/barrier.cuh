// Barriers: named barriers of a CTA, barriers of a cluster. PTX ISA, "Parallel Synchronization Instructions: bar,
// barrier.cluster".
#pragma once

#include <cstdint>

#include "w8a8/support/config.hpp"

namespace w8a8::ptx {

/// Waits until `threads` threads (a multiple of 32) have arrived at named barrier `id` (1 to 15; 0 is __syncthreads').
W8A8_DEVICE void bar_sync(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

/// Arrives at named barrier `id` without waiting.
W8A8_DEVICE void bar_arrive(int id, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

/// Arrives at the cluster's barrier and makes nothing visible: no memory barrier of the whole device, which takes 0.5 us and
/// more. Enough where the wait is for mbarriers (after fence_mbarrier_init) or for the CTAs to have started.
W8A8_DEVICE void cluster_arrive_relaxed() { asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory"); }

W8A8_DEVICE void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

/// Rank of this CTA in its cluster.
W8A8_DEVICE std::uint32_t cluster_rank() {
  std::uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

}  // namespace w8a8::ptx
