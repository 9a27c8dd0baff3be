// The tensor memory accelerator: bulk tensor copies between global and shared memory, sm_90.
// PTX ISA, "Data Movement and Conversion Instructions: cp.async.bulk.tensor, cp.async.bulk.wait_group, prefetch.tensormap".
// Coordinates count elements, innermost first. The map is a __grid_constant__ kernel parameter.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "w8a8/support/config.hpp"

namespace w8a8::ptx {

W8A8_DEVICE void prefetch_tensormap(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(reinterpret_cast<std::uint64_t>(map)) : "memory");
}

/// Loads the box at (x, y) to shared memory; its bytes count on `barrier`. Elements outside the tensor arrive as zeros.
W8A8_DEVICE void tma_load_2d(std::uint32_t destination, const CUtensorMap* map, std::uint32_t barrier, int x, int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
          destination),
      "l"(map), "r"(barrier), "r"(x), "r"(y)
      : "memory");
}

W8A8_DEVICE void tma_load_2d(std::uint32_t destination, const CUtensorMap* map, std::uint32_t barrier, int x, int y,
                             std::uint64_t policy) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%3, %4}], "
      "[%2], %5;" ::"r"(destination),
      "l"(map), "r"(barrier), "r"(x), "r"(y), "l"(policy)
      : "memory");
}

/// Stores the box at (x, y) from shared memory; elements outside the tensor are dropped. Belongs to the thread's open bulk group.
W8A8_DEVICE void tma_store_2d(const CUtensorMap* map, std::uint32_t source, int x, int y) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map), "r"(source), "r"(x),
               "r"(y)
               : "memory");
}

W8A8_DEVICE void tma_store_2d(const CUtensorMap* map, std::uint32_t source, int x, int y, std::uint64_t policy) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group.L2::cache_hint [%0, {%2, %3}], [%1], %4;" ::"l"(map),
               "r"(source), "r"(x), "r"(y), "l"(policy)
               : "memory");
}

/// `bytes` (a multiple of 16) from global to shared memory, both aligned to 16 bytes; they count on `barrier`.
W8A8_DEVICE void cp_async_bulk(std::uint32_t destination, const void* source, std::uint32_t bytes, std::uint32_t barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(destination),
               "l"(source), "r"(bytes), "r"(barrier)
               : "memory");
}

W8A8_DEVICE void bulk_commit_group() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

/// Waits until at most Pending of this thread's bulk groups still read their shared memory.
template <int Pending>
W8A8_DEVICE void bulk_wait_group_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(Pending) : "memory");
}

/// Orders this thread's ordinary shared-memory accesses before later ones of the async proxy (TMA, wgmma).
W8A8_DEVICE void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

}  // namespace w8a8::ptx
