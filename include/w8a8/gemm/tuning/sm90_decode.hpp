// Which problems sm90_decode takes, with which configuration, and how their channels are spread over the device.
#pragma once

#include <cstdint>

#include "w8a8/support/device.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8 {

/// Output channels a CTA takes, at most `max_channels`: the fewest waves of clusters that cover N, and those waves evenly filled.
/// A multiple of 8, so that 16-byte stores stay aligned.
inline int sm90_decode_channels_per_cta(int n, int max_channels, int splits, int ctas_per_sm, int token_tiles,
                                        const DeviceProperties& device) {
  const int slots = max_of(1, device.multiprocessors * ctas_per_sm / (splits * token_tiles));
  const std::int64_t waves = ceil_div<std::int64_t>(n, static_cast<std::int64_t>(max_channels) * slots);
  return min_of(max_channels, static_cast<int>(round_up<std::int64_t>(ceil_div<std::int64_t>(n, waves * slots), 8)));
}

/// The largest M for which sm90_decode is preferred to sm90_gemm.
inline int sm90_decode_maximum_m(int n, int k, const DeviceProperties& device) {
  (void)n, (void)k, (void)device;
  return 128;
}

/// Whether sm90_decode is preferred to sm80_decode and sm90_gemm.
inline bool prefer_sm90_decode(int m, int n, int k, const DeviceProperties& device) {
  return device.compute_capability == 90 && m > 32 && m <= sm90_decode_maximum_m(n, k, device);
}

/// Index into Sm90DecodeConfigs.
inline int select_sm90_decode(int m, int n, int k, const DeviceProperties& device) {
  (void)k;
  if (m > 64) return n > 150 * device.multiprocessors ? 5 : 3;
  return n > 150 * device.multiprocessors ? 2 : n > 40 * device.multiprocessors ? 0 : 1;
}

}  // namespace w8a8
