// Which block a row gets. The figures are those of quantize_per_token on an H200 (132 SMs), half input, float scales; the fused
// forms take the same blocks. docs/performance/quantize.md has more.
#pragma once

#include <cstdint>

namespace w8a8::detail {

/// threads x groups of eight elements that a thread keeps.
enum class RowLayout {
  warp_5,  ///< a warp a row, four rows a CTA
  t128_4,
  t256_4,
  t512_1,
  t512_4,
  t512_7,
  t1024_4,
  streamed,  ///< longer than a CTA keeps: read once a pass
};

inline RowLayout select_row_layout(std::int64_t rows, int columns) {
  // Up to about a row an SM, what counts is the time of one row: many threads, little work each. K = 4096, M = 16: 512x1 takes
  // 1.53 us, 128x4 1.63; K = 28672, M = 16: 1024x4 3.39, 512x7 3.79.
  const bool few = rows <= 128;
  if (columns <= 4096 && few) return RowLayout::t512_1;
  // With rows for every SM, what counts are bytes in flight and idle threads. M = 16384: K = 1152 15.5 us with a warp a row, 18.3
  // with 128x2; K = 4096 49.1 with 128x4, 50.3 with 256x2; K = 8192 94.7 with 256x4, 101.5 with 512x2; K = 14336 162.8 with
  // 512x4, 193 with 1024x2; K = 28672 342 with 512x7, 378 with 1024x4.
  if (columns <= 1280) return RowLayout::warp_5;
  if (columns <= 4096) return RowLayout::t128_4;
  if (columns <= 8192) return RowLayout::t256_4;
  if (columns <= 16384) return RowLayout::t512_4;
  if (columns <= 28672 && !few) return RowLayout::t512_7;
  if (columns <= 32768) return RowLayout::t1024_4;
  return RowLayout::streamed;
}

}  // namespace w8a8::detail
