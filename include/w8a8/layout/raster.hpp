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

/// grouped_raster along the rows, prepared by the host so that it takes a GPU few clocks.
class GroupedRaster {
 public:
  GroupedRaster() = default;
  GroupedRaster(int rows, int columns, int group)
      : rows_(rows),
        columns_(columns),
        group_(min_of(group, rows)),
        by_tiles_(group_ * columns),
        by_group_(group_),
        by_last_(max_of(rows % group_, 1)) {}

  /// The t-th tile, 0 <= t < rows * columns.
  W8A8_HOST_DEVICE Tile at(int t) const {
    const int g = by_tiles_.divide(t), first = g * group_, rest = t - first * columns_, left = rows_ - first;
    const int q = left < group_ ? by_last_.divide(rest) : by_group_.divide(rest);
    return {first + rest - q * min_of(left, group_), q};
  }

 private:
  int rows_ = 1, columns_ = 1, group_ = 1;
  Divisor by_tiles_, by_group_, by_last_;  // by the tiles of a whole group, its rows, and the rows of the last group
};

}  // namespace w8a8::layout
