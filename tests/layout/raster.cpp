// The raster order visits each tile of every small grid once, and keeps the tiles of a group together.
#include "w8a8/layout/raster.hpp"

#include <cstdlib>
#include <vector>

#include "support/catch.hpp"

using namespace w8a8::layout;

TEST_CASE("grouped_raster visits each tile once, GroupedRaster likewise", "[layout]") {
  int wrong = 0;
  for (int rows = 1; rows <= 17; ++rows) {
    for (int columns = 1; columns <= 17; ++columns) {
      for (const int group : {1, 2, 3, 4, 8, 16, 32}) {
        for (const bool along_n : {false, true}) {
          std::vector<int> visits(static_cast<std::size_t>(rows * columns));
          for (int t = 0; t < rows * columns; ++t) {
            const Tile tile = grouped_raster(t, rows, columns, group, along_n);
            if (!along_n) {
              const Tile prepared = GroupedRaster(rows, columns, group).at(t);
              wrong += prepared.row != tile.row || prepared.column != tile.column;
            }
            if (tile.row < 0 || tile.row >= rows || tile.column < 0 || tile.column >= columns) {
              ++wrong;
            } else {
              ++visits[static_cast<std::size_t>(tile.row * columns + tile.column)];
            }
          }
          for (const int count : visits) wrong += count != 1;
        }
      }
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("grouped_raster finishes a group before it starts the next", "[layout]") {
  int wrong = 0;
  for (const bool along_n : {false, true}) {
    const int rows = 10, columns = 13, group = 4;
    int last_group = 0;
    for (int t = 0; t < rows * columns; ++t) {
      const Tile tile = grouped_raster(t, rows, columns, group, along_n);
      const int current = (along_n ? tile.column : tile.row) / group;
      wrong += current < last_group;
      last_group = current;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("inside a group grouped_raster walks its width first", "[layout]") {
  // rows 0-3 of column 0, then rows 0-3 of column 1: four rows of X and few of W are live at a time.
  for (int t = 0; t < 8; ++t) {
    const Tile tile = grouped_raster(t, 8, 5, 4, false);
    CHECK(tile.row == t % 4);
    CHECK(tile.column == t / 4);
  }
  const Tile swapped = grouped_raster(5, 5, 8, 4, true);
  CHECK(swapped.row == 1);
  CHECK(swapped.column == 1);
}

TEST_CASE("grouped_raster is right at the largest grids", "[layout]") {
  // 2^31 - 1 rows in tiles of 128, one tile wide: the last tile's index still fits.
  const int rows = 16777216;
  const Tile last = grouped_raster(rows - 1, rows, 1, 8, false);
  CHECK(last.row == rows - 1);
  CHECK(last.column == 0);
}
