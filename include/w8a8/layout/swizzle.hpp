// Swizzled shared-memory tiles: 16-byte pieces are permuted inside a row so that the eight rows an ldmatrix or wgmma phase reads
// fall into different banks.
#pragma once

#include "w8a8/support/config.hpp"

namespace w8a8::layout {

/// Byte offset of 16-byte piece `piece` of row `row` in a tile of RowBytes (32, 64 or 128) a row: the pattern of TMA's 32-, 64-
/// and 128-byte swizzles. It repeats every eight 128-byte lines (1024 bytes), so tiles are aligned to that.
template <int RowBytes>
W8A8_HOST_DEVICE constexpr int swizzled_offset(int row, int piece) {
  static_assert(RowBytes == 32 || RowBytes == 64 || RowBytes == 128, "swizzled_offset: rows of 32, 64 or 128 bytes");
  const int line = row * RowBytes / 128;
  return row * RowBytes + ((piece ^ (line & (RowBytes / 16 - 1))) * 16);
}

}  // namespace w8a8::layout
