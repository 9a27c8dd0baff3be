// Which configuration of sm80_decode a problem gets, and how its rows are spread over the device.
#pragma once

#include <cstdint>

#include "w8a8/support/device.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8 {

/// Output channels a CTA takes, at most `max_rows`: the fewest waves of CTAs that cover N, and those waves evenly filled.
/// `shared_bytes` of shared memory a CTA say how many of them an SM holds. A multiple of 4, so that four neighbouring outputs
/// stay together.
inline int sm80_decode_rows_per_cta(int n, int max_rows, int shared_bytes, int token_tiles, const DeviceProperties& device) {
  constexpr int reserved = 1024;  // what the system takes of an SM's shared memory for each CTA
  const int ctas_per_sm = max_of(1, (device.shared_memory_per_block + reserved) / (shared_bytes + reserved));
  const int slots = max_of(1, device.multiprocessors * ctas_per_sm / token_tiles);
  const std::int64_t waves = ceil_div<std::int64_t>(n, static_cast<std::int64_t>(max_rows) * slots);
  return min_of(max_rows, static_cast<int>(round_up<std::int64_t>(ceil_div<std::int64_t>(n, waves * slots), 4)));
}

/// Index into Sm80DecodeConfigs, or -1 where sm80_decode is not the kernel for the shape (M > 32).
inline int select_sm80_decode(int m, int n, int k, const DeviceProperties& device) {
  (void)k;
  if (m > 32) return -1;
  const bool small = device.shared_memory_per_block < 150 * 1024;
  const bool narrow = n <= 40 * device.multiprocessors;
  if (m > 16) return small ? 7 : narrow ? 6 : 5;
  if (small) return 2;
  if (m > 8) return narrow ? 4 : 3;
  return narrow ? 1 : 0;
}

}  // namespace w8a8
