// Which block a row gets. The figures are of an H200 (132 SMs), half input, float scales; docs/performance/quantize.md has more.
#pragma once

#include <cstdint>

namespace w8a8::detail {

/// threads x groups of eight elements that a thread keeps.
enum class RowLayout {
  warp_5,  ///< a warp a row, four rows a CTA; half a warp where it fills
  t256_2,
  t128_4,
  t128_5,  ///< 5120 elements, where sums are taken; else as t256_4
  t256_4,
  t256_7,
  t512_4,
  t512_7,
  t1024_4,
  streamed,  ///< longer than a CTA keeps: read once a pass
};

/// streams: the producer has optional matrices. Their kernels come in fewer blocks: memory is what bounds them.
inline RowLayout select_row_layout(std::int64_t rows, int columns, bool streams) {
  // Up to about a row an SM, what counts is the time of one row: many threads, little work each. M = 16, rms_norm_quantize:
  // K = 4096 1.84 us with 256x2, 1.88 with 512x1; K = 14336 2.89 with 512x4, 3.69 with 1024x2. quantize_per_token, K =
  // 28672: 3.39 with 1024x4, 3.79 with 512x7.
  const bool few = rows <= 128;
  if (columns <= 4096 && few) return RowLayout::t256_2;
  // With rows for every SM, what counts are registers, for rows in flight, and idle threads. quantize_per_token, 29128 x
  // 1152: 26.1 us with a warp a row, 25.9 with 64x3, but gelu_quantize 31.6 and 40.2. rms_norm_quantize: 8192 x 4096 27.1 with
  // 128x4, 35.1 with 256x2; 8192 x 8192 54 with 256x4, 75 with 512x2; 2340 x 14336 28.0 with 256x7, 34.7 with 512x4, 55 with
  // 1024x2; 2048 x 28672 64 with 512x7, 70 with 1024x4.
  if (columns <= 1280) return RowLayout::warp_5;
  if (columns <= 4096) return RowLayout::t128_4;
  // 6553 x 5120: layer_norm 29.6 us with 128x5, 44.4 with 256x4; rms_norm 28.7 and 35.2.
  if (columns == 5120 && !few && !streams) return RowLayout::t128_5;
  if (columns <= 8192) return RowLayout::t256_4;
  if (columns <= 14336 && !few) return RowLayout::t256_7;
  if (columns <= 16384 && !streams) return RowLayout::t512_4;
  if (columns <= 28672 && !streams && !few) return RowLayout::t512_7;
  if (columns <= 32768) return RowLayout::t1024_4;
  return RowLayout::streamed;
}

}  // namespace w8a8::detail
