// Which configuration of sm80_decode a problem gets, and how its rows are spread over the device.
#pragma once

#include <cstdint>

#include "w8a8/support/config.hpp"
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
    {8, 32, 4, 4},    // 0   M = 1: 4304x1152 3.41 (2.77)
    {8, 48, 8, 3},    // 1   M = 1: 6144x4096 7.76 (7.39), 4096x14336 15.55 (15.06), 28672x4096 28.56 (28.16)
    {8, 64, 8, 2},    // 2   M = 1: 8192x8192 17.54 (16.79), 8192x28672 54.58 (54.61)
    {16, 32, 4, 4},   // 3   M = 16: 4304x1152 3.62, 28672x4096 30.20
    {16, 32, 8, 4},   // 4   M = 16: 4096x14336 15.88
    {16, 48, 8, 3},   // 5   M = 16: 6144x4096 8.05
    {16, 64, 8, 2},   // 6   M = 16: 8192x8192 17.98, 8192x28672 55.56
    {32, 48, 4, 4},   // 7   M = 32: 4304x1152 4.03, 6144x4096 8.53, 4096x14336 16.88
    {32, 64, 4, 4},   // 8   M = 32: 8192x8192 19.09, 8192x28672 57.46
    {32, 112, 4, 3},  // 9   M = 32: 28672x4096 30.81
    {32, 64, 4, 2},   // 10  for devices with less than 164 KB of shared memory
    {48, 48, 4, 3},   // 11  M = 33: 6144x4096 8.61; M = 48: 8.80 against 9.10 with four stages (28672x4096 32.87, 4304x1152 4.54)
    {64, 32, 8, 2},   // 12  4096x14336: M = 48 17.37, M = 64 18.15
    {64, 48, 4, 3},   // 13  M = 64: 6144x4096 9.14, 4304x1152 5.02
    {64, 64, 4, 3},   // 14  M = 48: 8192x8192 19.82, 8192x28672 57.49; M = 64: 19.84, 59.64, 28672x4096 35.39
    {80, 48, 4, 3},   // 15  M = 80: 6144x4096 9.87, 4096x14336 24.83
    {88, 48, 4, 3},   // 16  M = 88: 6144x4096 10.45, 4096x14336 26.20, 4304x1152 5.77
    {96, 48, 4, 3},   // 17  M = 96: 6144x4096 11.12, 4096x14336 28.52, 4304x1152 6.07
    {8, 48, 9, 2},    // 18  M = 1: 4304x1152 3.25 against 3.45 with 0, 1152x1152 2.44 (2.92)
    {16, 48, 5, 3},   // 19  M = 16: 4304x1152 3.47 against 3.61 with 3, 1152x1152 2.76 (3.10)
};

/// Bytes of shared memory that the configuration needs: its rings, and room for the epilogue's states.
constexpr int sm80_decode_shared_bytes(const Sm80DecodeTuning& config) {
  return config.warps * config.stages * (config.tokens + config.rows) * 128 + 2048;
}

}  // namespace detail

/// How the output channels are shared out: CTAs take `rows_per_cta` of them each, in stripes of `rows_per_stripe`. `spread`: how
/// far apart in K neighbouring CTAs start, in 2^-32 of K; 0: all at its start.
struct Sm80DecodeShare {
  int rows_per_cta, rows_per_stripe;
  std::uint32_t spread;
};

/// The chunk of K, of `steps`, that a CTA starts with. CTAs walk through K in step; where rows lie a multiple of 8 KB apart, all
/// of them would be at addresses that agree in 13 bits, and some channels of the memory get more of these than others. H200, all
/// at the start of K and spread: 1x8192x8192 17.63 and 17.15 us, 16x8192x8192 18.00 and 17.46, 1x4096x8192 10.38 and 9.75; but
/// 1x8192x28672 54.6 and 55.0, 1x4096x14336 15.45 and 15.6, 1x4096x4096 5.91 and 5.94.
W8A8_HOST_DEVICE constexpr int sm80_decode_first_step(std::uint32_t cta, int steps, std::uint32_t spread) {
  return static_cast<int>(static_cast<std::uint64_t>(cta * spread) * static_cast<std::uint32_t>(steps) >> 32);
}

/// Every SM gets the same number of channels, up to `multiple` (of 4: four neighbouring outputs stay together), in as few stripes
/// of at most `max_rows` as that takes. `shared_bytes` of shared memory a CTA say how many of them an SM holds.
inline Sm80DecodeShare sm80_decode_share(int n, std::int64_t ldw, int max_rows, int shared_bytes, int token_tiles, int multiple,
                                         const DeviceProperties& device) {
  constexpr int reserved = 1024;  // what the system takes of an SM's shared memory for each CTA
  const int ctas_per_sm = max_of(1, (device.shared_memory_per_block + reserved) / (shared_bytes + reserved));
  const int slots = max_of(1, device.multiprocessors * ctas_per_sm / token_tiles);
  const int rows = round_up(ceil_div(n, slots), multiple), stripes = ceil_div(rows, max_rows);
  constexpr std::uint32_t golden_section = 0x9E3779B1;  // of 2^32: however many CTAs, they start evenly spread
  return {rows, round_up(ceil_div(rows, stripes), multiple), ldw % 8192 == 0 ? golden_section : 0};
}

/// Index into Sm80DecodeConfigs, or -1 where sm80_decode is not the kernel for the shape: M > 96, or M > 64 where an SM has more
/// channels than a stripe, or M > 32 where the configurations do not fit the device's shared memory.
inline int select_sm80_decode(int m, int n, int k, const DeviceProperties& device) {
  if (m > 96) return -1;
  const auto first_that_fits = [&](auto... indices) {
    int chosen = -1;
    for (const int index : {indices...}) {
      if (chosen < 0 && detail::sm80_decode_shared_bytes(detail::sm80_decode_tuning[index]) <= device.shared_memory_per_block) {
        chosen = index;
      }
    }
    return chosen;
  };
  // The channels of an SM decide, and whether K is long enough for eight warps.
  const int channels = ceil_div(n, device.multiprocessors);
  const bool short_k = k < 2048;
  // Nine chunks: the ring holds all of K. Of eight, four warps take two each: 1x6144x1024 3.40 us, with nine warps 3.60.
  const bool nine_chunks = k > 8 * 128 && k <= 9 * 128 && channels <= 48;
  if (m <= 8) {
    if (nine_chunks) return first_that_fits(18, 0);
    return short_k ? 0 : channels <= 48 || channels > 128 ? first_that_fits(1, 0) : first_that_fits(2, 0);
  }
  if (m <= 16) {
    if (nine_chunks) return first_that_fits(19, 3);
    if (short_k || channels > 128) return first_that_fits(3);
    return channels <= 32 ? first_that_fits(4, 3) : channels <= 48 ? first_that_fits(5, 3) : first_that_fits(6, 3);
  }
  if (m <= 32) return channels <= 48 ? first_that_fits(7, 10) : channels <= 128 ? first_that_fits(8, 10) : first_that_fits(9, 10);
  if (m <= 64) {
    if (channels > 48 && channels <= 64) return first_that_fits(14);
    if (channels <= 32 && !short_k) return first_that_fits(12);
    return m <= 48 ? first_that_fits(11) : channels <= 48 ? first_that_fits(13) : first_that_fits(14);
  }
  return channels > 48 ? -1 : first_that_fits(m <= 80 ? 15 : m <= 88 ? 16 : 17);
}

}  // namespace w8a8
