// Tile order: which output tile comes t-th. Neighbours in time share operand tiles in L2.
#pragma once

#include "w8a8/support/config.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8::layout {

struct Tile {
  int row, column;  ///< tile coordinates, not elements
};

/// Groups of `group` tiles along one side, walked across the other side column by column inside a group.
/// rows, columns: the grid of tiles. along_n: groups lie along the columns rather than along the rows.
W8A8_HOST_DEVICE constexpr Tile grouped_raster(int t, int rows, int columns, int group, bool along_n) {
  const int grouped = along_n ? columns : rows, other = along_n ? rows : columns;
  const int tiles_per_group = group * other;
  const int g = t / tiles_per_group, rest = t - g * tiles_per_group;
  const int width = min_of(group, grouped - g * group);
  const int q = rest / width, p = g * group + rest - q * width;
  return along_n ? Tile{q, p} : Tile{p, q};
}

}  // namespace w8a8::layout
