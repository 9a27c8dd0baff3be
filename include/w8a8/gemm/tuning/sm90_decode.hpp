// Which problems sm90_decode takes, with which configuration, and how their channels are spread over the device.
//
// A configuration's time is modelled as what its loads take, whichever is slower of the weight out of DRAM and of a CTA's share
// of weights and tokens into its SM, plus what each wave of CTAs and each exchange of partial sums adds. The constants are fitted
// to all configurations at M = 64 and 128 of the six anchor layers on an H200 (docs/performance/decode.md), before the kernel's
// last changes; what it picks is still within 1% of the fastest on all of them.
#pragma once

#include <cstdint>

#include "w8a8/support/device.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8 {

namespace detail {

/// A configuration as the model sees it, in the order of Sm90DecodeConfigs (whose last one it does not choose); what won with it
/// on H200s, in microseconds beside a plain streaming read of the weight in the same run.
struct Sm90DecodeTuning {
  int tokens, channels, splits, ctas_per_sm;
};

inline constexpr Sm90DecodeTuning sm90_decode_tuning[] = {
    {64, 48, 1, 1},    // M = 64: 4304x1152 4.25 (2.76), 6144x4096 9.09 (7.25)
    {64, 96, 2, 1},    // M = 64: 4096x14336 17.49 (14.90)
    {64, 128, 2, 1},   // M = 64: 8192x8192 19.30 (16.75), 8192x28672 58.29 (55.03)
    {64, 112, 1, 2},   // M = 64: 28672x4096 30.74 (28.24)
    {128, 48, 1, 1},   // M = 65 to 127: 6144x4096 9.33 to 9.54; M = 128: 9.57, 4304x1152 5.02
    {128, 64, 2, 1},   // M = 128: 4096x14336 18.66 (14.88)
    {128, 128, 2, 1},  // M = 128: 8192x8192 20.52 (16.66), 8192x28672 61.94 (54.69)
    {128, 112, 1, 2},  // M = 128: 28672x4096 33.22 (28.01)
};

}  // namespace detail

/// Output channels a CTA takes, at most `max_channels`: the fewest waves of clusters that cover N, and those waves evenly filled.
/// A multiple of `multiple`, which is 8 at least, so that stores stay aligned. One wave with several tiles of tokens is not
/// spread over all SMs: fewer stripes read the tokens less often (M = 128: 1 to 6% faster).
inline int sm90_decode_channels_per_cta(int n, int max_channels, int splits, int ctas_per_sm, int token_tiles, int multiple,
                                        const DeviceProperties& device) {
  const int slots = max_of(1, device.multiprocessors * ctas_per_sm / splits / token_tiles);
  const std::int64_t waves = ceil_div<std::int64_t>(n, static_cast<std::int64_t>(max_channels) * slots);
  if (waves == 1 && token_tiles > 1) return min_of(max_channels, round_up(n, multiple));
  return min_of(max_channels, static_cast<int>(round_up<std::int64_t>(ceil_div<std::int64_t>(n, waves * slots), multiple)));
}

namespace detail {

/// The model's time of a problem with a configuration, in microseconds.
inline double sm90_decode_microseconds(const Sm90DecodeTuning& config, int m, int n, int k, const DeviceProperties& device) {
  constexpr double dram_bytes = 4.4e6, sm_bytes = 6.0e4;  // a microsecond
  constexpr double token_weight = 0.5;                    // a byte of tokens comes from L2 and costs less than one of weights
  const int token_tiles = ceil_div(m, config.tokens);
  const int channels =
      sm90_decode_channels_per_cta(n, config.channels, config.splits, config.ctas_per_sm, token_tiles, 8, device);
  const std::int64_t tiles = ceil_div<std::int64_t>(n, channels) * token_tiles;
  const std::int64_t at_once = max_of(1, device.multiprocessors * config.ctas_per_sm / config.splits);
  const double waves = static_cast<double>(ceil_div(tiles, at_once));
  const double sharing = static_cast<double>(
      min_of<std::int64_t>(config.ctas_per_sm, ceil_div<std::int64_t>(tiles * config.splits, device.multiprocessors)));
  const double bytes = (channels + token_weight * config.tokens) * k / config.splits;
  const double into_sm = waves * sharing * bytes / sm_bytes, out_of_dram = static_cast<double>(n) * k / dram_bytes;
  const double exchange = config.splits > 1 ? waves * 1.5 * config.channels * config.tokens / (96.0 * 128.0) : 0;
  return 2.0 + 1.5 * waves + exchange + max_of(into_sm, out_of_dram) + 0.1 * min_of(into_sm, out_of_dram);
}

}  // namespace detail

/// The largest M for which sm90_decode is preferred to sm90_gemm: 128, which fills a tile of either, is sm90_gemm's where K is
/// short (4304x1152: 4.43 us with 128x64, here 4.64).
inline int sm90_decode_maximum_m(int n, int k, const DeviceProperties& device) {
  (void)n, (void)device;
  return k < 2048 ? 127 : 128;
}

/// Whether sm90_decode is preferred to sm80_decode and sm90_gemm. Up to M = 32 mma.sync is the faster one: it multiplies 8, 16 or
/// 32 tokens where wgmma multiplies 64.
inline bool prefer_sm90_decode(int m, int n, int k, const DeviceProperties& device) {
  return device.compute_capability == 90 && m > 32 && m <= sm90_decode_maximum_m(n, k, device);
}

/// Index into Sm90DecodeConfigs: the configuration that the model likes best, of those whose tile fits M closest. At M = 128 two
/// tiles of 64 tokens by 96 channels replace 128 by 48: they move 160 rows instead of 176 a block of K. (For an M between, the
/// second tile would be filled with zeros, which is slow.)
inline int select_sm90_decode(int m, int n, int k, const DeviceProperties& device) {
  const int tokens = m <= 64 ? 64 : 128;
  int best = -1, index = 0;
  double best_time = 0;
  for (const detail::Sm90DecodeTuning& config : detail::sm90_decode_tuning) {
    if (config.tokens == tokens) {
      const double time = detail::sm90_decode_microseconds(config, m, n, k, device);
      if (best < 0 || time < best_time) best = index, best_time = time;
    }
    ++index;
  }
  constexpr int tile_128x48 = 4, tile_64x96 = 8;
  return best == tile_128x48 && m == 128 ? tile_64x96 : best;
}

}  // namespace w8a8
