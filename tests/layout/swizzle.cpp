// The swizzle is a permutation, is TMA's, and leaves no bank conflict to ldmatrix: checked for every row and piece.
#include "w8a8/layout/swizzle.hpp"

#include <cstdint>
#include <set>
#include <vector>

#include "support/catch.hpp"
#include "w8a8/layout/mma_fragment.hpp"

using namespace w8a8::layout;

namespace {

template <int Bytes>
struct RowBytes {
  static constexpr int value = Bytes;
};

constexpr int rows = 64;

/// True where eight 16-byte accesses, one a lane of a phase, fall into eight different groups of four banks.
bool is_conflict_free(const std::vector<int>& offsets) {
  std::set<int> groups;
  for (const int offset : offsets) groups.insert(offset / 16 % 8);
  return groups.size() == offsets.size();
}

}  // namespace

TEMPLATE_TEST_CASE("the swizzle permutes the pieces of each row", "[layout]", RowBytes<32>, RowBytes<64>, RowBytes<128>) {
  constexpr int bytes = TestType::value, pieces = bytes / 16;
  std::set<int> seen;
  int wrong = 0;
  for (int row = 0; row < rows; ++row) {
    for (int piece = 0; piece < pieces; ++piece) {
      const int offset = swizzled_offset<bytes>(row, piece);
      wrong += offset % 16 != 0;
      wrong += offset / bytes != row;  // a row keeps its bytes
      seen.insert(offset);
    }
  }
  CHECK(wrong == 0);
  CHECK(seen.size() == static_cast<std::size_t>(rows * pieces));
}

TEMPLATE_TEST_CASE("the swizzle is the one of TMA: address bits 7-9 are added to bits 4-6", "[layout]", RowBytes<32>,
                   RowBytes<64>, RowBytes<128>) {
  constexpr int bytes = TestType::value, pieces = bytes / 16;
  int wrong = 0;
  for (int row = 0; row < rows; ++row) {
    for (int piece = 0; piece < pieces; ++piece) {
      const int plain = row * bytes + piece * 16;
      wrong += swizzled_offset<bytes>(row, piece) != (plain ^ ((plain >> 3) & (pieces - 1) << 4));
    }
  }
  CHECK(wrong == 0);
}

TEMPLATE_TEST_CASE("the eight rows of an ldmatrix phase fall into different banks", "[layout]", RowBytes<32>, RowBytes<64>,
                   RowBytes<128>) {
  constexpr int bytes = TestType::value, pieces = bytes / 16;
  int conflicts = 0;
  for (int first = 0; first + 8 <= rows; first += 8) {
    for (int piece = 0; piece < pieces; ++piece) {
      std::vector<int> offsets;
      for (int row = first; row < first + 8; ++row) offsets.push_back(swizzled_offset<bytes>(row, piece));
      conflicts += !is_conflict_free(offsets);
    }
  }
  CHECK(conflicts == 0);
}

TEMPLATE_TEST_CASE("all four phases of an ldmatrix.x4 are free of conflicts", "[layout]", RowBytes<32>, RowBytes<64>,
                   RowBytes<128>) {
  constexpr int bytes = TestType::value, pieces = bytes / 16;
  int conflicts = 0;
  for (int phase = 0; phase < 4; ++phase) {
    for (int first = 0; first + 16 <= rows; first += 16) {
      for (int k = 0; k < pieces; k += 2) {  // 16 rows x 32 bytes
        std::vector<int> offsets;
        for (int lane = 8 * phase; lane < 8 * phase + 8; ++lane) {
          const Coordinate at = ldmatrix_16x32(lane);
          offsets.push_back(swizzled_offset<bytes>(first + at.row, k + at.column));
        }
        conflicts += !is_conflict_free(offsets);
      }
    }
    for (int first = 0; first + 8 <= rows; first += 8) {
      for (int k = 0; k + 4 <= pieces; k += 4) {  // 8 rows x 64 bytes
        std::vector<int> offsets;
        for (int lane = 8 * phase; lane < 8 * phase + 8; ++lane) {
          const Coordinate at = ldmatrix_8x64(lane);
          offsets.push_back(swizzled_offset<bytes>(first + at.row, k + at.column));
        }
        conflicts += !is_conflict_free(offsets);
      }
    }
  }
  CHECK(conflicts == 0);
}

TEST_CASE("without a swizzle the same reads do conflict", "[layout]") {
  std::vector<int> offsets;
  for (int row = 0; row < 8; ++row) offsets.push_back(row * 128);
  CHECK_FALSE(is_conflict_free(offsets));
}
