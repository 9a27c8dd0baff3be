// Which configuration of sm80_decode a problem gets, and how its rows are spread over the device.
#pragma once

#include <cstdint>

#include "w8a8/support/device.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8 {

namespace detail {

/// A configuration in the order of Sm80DecodeConfigs; what it takes on an H200, in microseconds beside a plain streaming read of
/// the weight (docs/performance/decode.md).
struct Sm80DecodeTuning {
  int tokens, rows, warps, stages;
};

inline constexpr Sm80DecodeTuning sm80_decode_tuning[] = {
    {8, 32, 4, 4},   // 0  M = 1: 4304x1152 3.63 (2.75), 6144x4096 8.13 (7.31), 8192x8192 17.83 (16.50), 8192x28672 54.98 (53.38)
    {8, 32, 8, 4},   // 1  M = 1: 4096x14336 15.77 (14.84)
    {8, 64, 4, 3},   // 2  M = 1: 28672x4096 28.92 (27.74)
    {16, 32, 4, 4},  // 3  M = 16: 4304x1152 3.82, 6144x4096 8.50, 8192x8192 18.23, 28672x4096 32.19, 8192x28672 56.14
    {16, 32, 8, 4},  // 4  M = 16: 4096x14336 16.00
    {32, 48, 4, 4},  // 5  M = 32: 4304x1152 4.58, 6144x4096 9.23, 4096x14336 17.19
    {32, 64, 8, 2},  // 6  M = 32: 8192x8192 19.62, 8192x28672 58.20
    {32, 64, 4, 2},  // 7  M = 32: 28672x4096 32.64
};

/// Bytes of shared memory that the configuration needs: its rings, and room for the epilogue's states.
constexpr int sm80_decode_shared_bytes(const Sm80DecodeTuning& config) {
  return config.warps * config.stages * (config.tokens + config.rows) * 128 + 2048;
}

}  // namespace detail

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
  // The channels that each SM gets decide: 32 and fewer want one deep CTA, very many want two CTAs with large tiles.
  const int channels_per_sm = ceil_div(n, device.multiprocessors);
  const auto fits = [&](int index) {
    return detail::sm80_decode_shared_bytes(detail::sm80_decode_tuning[index]) <= device.shared_memory_per_block;
  };
  if (m <= 8) {
    if (channels_per_sm <= 32 && fits(1)) return 1;
    return channels_per_sm > 128 && fits(2) ? 2 : 0;
  }
  if (m <= 16) return channels_per_sm <= 32 && fits(4) ? 4 : 3;
  if (channels_per_sm <= 48 && fits(5)) return 5;
  return channels_per_sm <= 128 && fits(6) ? 6 : 7;
}

}  // namespace w8a8
