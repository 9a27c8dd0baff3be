// Which problems sm90_decode takes, with which configuration, and how they are spread over the device.
//
// A configuration's time is modelled as what the weight takes out of DRAM or what a CTA's stages take through its SM, whichever
// is more, and a part of the lesser one; further what each wave of CTAs costs, each output of a CTA, and a ring of half the
// depth. The SM's clocks are those of its shared memory, which TMA fills and each wgmma reads, at 128 bytes, or of its share of
// the L2 cache, at 64 bytes, whichever is more. The constants describe 130 measurements on an H200, M = 33 to 320 on nine layers,
// with an error of 4% rms: docs/performance/decode.md.
#pragma once

#include <cstdint>

#include "w8a8/gemm/tuning/sm90_gemm.hpp"
#include "w8a8/support/device.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8 {

namespace detail {

/// A configuration as the model sees it, and the range of M in which it is offered; in the order of Sm90DecodeConfigs. Beside it
/// what it won with on H200s, in microseconds.
struct Sm90DecodeTuning {
  int tokens, channels, splits, column_groups, ctas_per_sm;
  bool channel_rows;  ///< channels, not tokens, are wgmma's M
  int first_m, last_m;
};

inline constexpr int sm90_decode_any_m = 0x7fffffff;

inline constexpr Sm90DecodeTuning sm90_decode_tuning[] = {
    {64, 48, 1, 1, 1, false, 1, 64},                   // M = 64: 4304x1152 4.1, 6144x4096 8.9, 5120x5120 9.3
    {64, 64, 2, 1, 1, false, 1, 64},                   // M = 64: 4096x14336 17.3
    {64, 128, 2, 2, 1, false, 1, 64},                  // M = 64: 8192x8192 19.2, 8192x28672 57.9
    {64, 112, 1, 1, 2, false, 1, 128},                 // M = 64: 28672x4096 31.7
    {64, 96, 1, 2, 1, false, 65, 128},                 // M = 128: 4304x1152 4.5 (sm90_gemm 4.8), 6144x4096 9.6
    {128, 64, 2, 1, 1, false, 65, 128},                // M = 128: 4096x14336 19.4
    {128, 128, 2, 1, 1, false, 65, 128},               // M = 128: 8192x8192 21.8, 8192x28672 63.6
    {128, 112, 1, 1, 2, false, 65, 128},               // M = 128: 28672x4096 35.9
    {64, 144, 1, 1, 1, false, 129, 192},               // M = 129: 6144x4096 11.4 (sm90_gemm 11.8)
    {160, 64, 2, 2, 1, true, 129, 320},                // M = 129: 4096x4096 8.5 (9.5), 4096x14336 19.9 (25.0)
    {96, 64, 1, 1, 1, true, 129, 192},                 // M = 161: 4096x14336 21.4 (25.3)
    {112, 64, 1, 1, 1, true, 193, 224},                // M = 193: 4096x14336 23.0 (25.8)
    {128, 64, 1, 1, 1, true, 193, 256},                // M = 256: 4096x14336 25.5 (26.3)
    {192, 128, 2, 1, 1, false, 129, 192},              // M = 192: 8192x28672 73.6 (79.8)
    {160, 128, 2, 1, 1, true, 129, sm90_decode_any_m}  // M = 129: 8192x28672 65.4 (78.0); M = 257: 4096x14336 28.6 (30.2)
};

}  // namespace detail

/// Tokens a CTA takes, at most `max_tokens`: tiles as equally high as whole groups of eight allow.
inline int sm90_decode_tokens_per_cta(int m, int max_tokens) {
  if (m <= max_tokens) return m;
  return round_up(ceil_div(m, ceil_div(m, max_tokens)), 8);
}

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
  constexpr double dram_bytes = 4.5e6, clocks = 1980;  // a microsecond
  const int tokens = sm90_decode_tokens_per_cta(m, config.tokens), token_tiles = ceil_div(m, tokens);
  const int channels =
      sm90_decode_channels_per_cta(n, config.channels, config.splits, config.ctas_per_sm, token_tiles, 8, device);
  const std::int64_t tiles = ceil_div<std::int64_t>(n, channels) * token_tiles;
  const std::int64_t at_once = max_of(1, device.multiprocessors * config.ctas_per_sm / config.splits);
  const double waves = static_cast<double>(ceil_div(tiles, at_once));
  const double sharing = static_cast<double>(
      min_of<std::int64_t>(config.ctas_per_sm, ceil_div<std::int64_t>(tiles * config.splits, device.multiprocessors)));

  const int row_groups = (config.channel_rows ? config.channels : config.tokens) / 64;
  const int wgmma_n = (config.channel_rows ? config.tokens : config.channels) / config.column_groups;
  const double filled = 32.0 * (tokens + channels);  // bytes of 32 bytes of K
  const double read = row_groups * config.column_groups * 32.0 * (64 + wgmma_n);
  const double step = max_of((filled + read) / 128, filled / 64);
  const double steps = 4.0 * ceil_div(ceil_div(k, 128), config.splits);
  const double sm = waves * sharing * steps * step / clocks, dram = static_cast<double>(n) * k / dram_bytes;
  // Of whole tiles: what does not exist is exchanged and converted like the rest.
  const double outputs = waves * sharing * config.tokens * config.channels / 1e4;
  const double an_output = config.splits > 1 ? 1.9 : 1.3;
  return 0.45 + 1.75 * waves + (config.ctas_per_sm - 1) + an_output * outputs + 0.91 * max_of(sm, dram) + 0.26 * min_of(sm, dram);
}

/// The configuration that the model likes best of those offered at this M, and its time.
struct Sm90DecodeChoice {
  int index;
  double microseconds;
};

inline Sm90DecodeChoice choose_sm90_decode(int m, int n, int k, const DeviceProperties& device) {
  Sm90DecodeChoice best{-1, 0};
  int index = 0;
  for (const Sm90DecodeTuning& config : sm90_decode_tuning) {
    if (m >= config.first_m && m <= config.last_m) {
      const double time = sm90_decode_microseconds(config, m, n, k, device);
      if (best.index < 0 || time < best.microseconds) best = {index, time};
    }
    ++index;
  }
  return best;
}

/// The time of sm90_gemm, measured alike: its own model's clocks, and what a launch takes besides.
inline double sm90_gemm_microseconds(int m, int n, int k, const DeviceProperties& device) {
  return 2.2 + 0.56e-3 * best_configuration(Sm90GemmModel{m, k, device}, n).clocks;
}

}  // namespace detail

/// Whether sm90_decode is preferred to sm90_gemm: always up to 128 tokens; up to 320 where the models say so, and K is as long as
/// the layers' whose measurements they describe.
inline bool prefer_sm90_decode_to_gemm(int m, int n, int k, const DeviceProperties& device) {
  if (m <= 128) return true;
  constexpr double margin = 0.97;  // the models are right to a few percent
  return m <= 320 && k >= 4096 &&
         detail::choose_sm90_decode(m, n, k, device).microseconds < margin * detail::sm90_gemm_microseconds(m, n, k, device);
}

/// Whether sm90_decode is preferred to sm80_decode and sm90_gemm. Up to M = 32 mma.sync is the faster one: it multiplies 8, 16 or
/// 32 tokens where wgmma multiplies 64.
inline bool prefer_sm90_decode(int m, int n, int k, const DeviceProperties& device) {
  return device.compute_capability == 90 && m > 32 && prefer_sm90_decode_to_gemm(m, n, k, device);
}

/// Index into Sm90DecodeConfigs.
inline int select_sm90_decode(int m, int n, int k, const DeviceProperties& device) {
  return detail::choose_sm90_decode(m, n, k, device).index;
}

}  // namespace w8a8
