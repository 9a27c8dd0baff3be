// The fragment maps cover each element of their tile once, and agree with what ldmatrix delivers.
#include "w8a8/layout/mma_fragment.hpp"

#include <set>
#include <utility>

#include "support/catch.hpp"

using namespace w8a8::layout;

namespace {

/// Collects coordinates; at the end each one of a rows x columns tile must have come once.
class Cover {
 public:
  Cover(int rows, int columns) : rows_(rows), columns_(columns) {}

  void add(Coordinate at) {
    inside_ = inside_ && at.row >= 0 && at.row < rows_ && at.column >= 0 && at.column < columns_;
    once_ = seen_.emplace(at.row, at.column).second && once_;
  }
  bool is_exact() const { return inside_ && once_ && seen_.size() == static_cast<std::size_t>(rows_ * columns_); }

 private:
  int rows_, columns_;
  bool inside_ = true, once_ = true;
  std::set<std::pair<int, int>> seen_;
};

bool same(Coordinate a, Coordinate b) { return a.row == b.row && a.column == b.column; }

/// What ldmatrix puts into byte `byte` of register `r` of `lane`, where lane l passes the address that `address(l)` says, as row
/// and 16-byte piece: bytes 4 * (lane % 4) ... of row lane / 4 of matrix r. (PTX ISA, "ldmatrix".)
template <class Address>
Coordinate loaded(int lane, int r, int byte, Address address) {
  const Coordinate row = address(8 * r + lane / 4);
  return {row.row, 16 * row.column + 4 * (lane % 4) + byte};
}

}  // namespace

TEST_CASE("mma operand A covers 16 x 32", "[layout]") {
  Cover cover(16, 32);
  for (int lane = 0; lane < 32; ++lane) {
    for (int r = 0; r < 4; ++r) {
      for (int byte = 0; byte < 4; ++byte) cover.add(mma_a(lane, r, byte));
    }
  }
  CHECK(cover.is_exact());
}

TEST_CASE("mma operand B covers 8 x 32", "[layout]") {
  Cover cover(8, 32);
  for (int lane = 0; lane < 32; ++lane) {
    for (int r = 0; r < 2; ++r) {
      for (int byte = 0; byte < 4; ++byte) cover.add(mma_b(lane, r, byte));
    }
  }
  CHECK(cover.is_exact());
}

TEST_CASE("mma accumulator covers 16 x 8", "[layout]") {
  Cover cover(16, 8);
  for (int lane = 0; lane < 32; ++lane) {
    for (int r = 0; r < 4; ++r) cover.add(mma_c(lane, r));
  }
  CHECK(cover.is_exact());
}

TEST_CASE("wgmma accumulator covers 64 x N, in the bands of its four warps", "[layout]") {
  for (int n = 8; n <= 256; n += 8) {
    Cover cover(64, n);
    int outside = 0;
    for (int warp = 0; warp < 4; ++warp) {
      for (int lane = 0; lane < 32; ++lane) {
        for (int v = 0; v < n / 2; ++v) {
          const Coordinate at = wgmma_c(warp, lane, v);
          cover.add(at);
          outside += at.row / 16 != warp;
        }
      }
    }
    INFO("N = " << n);
    CHECK(cover.is_exact());
    CHECK(outside == 0);
  }
}

TEST_CASE("a wgmma accumulator of a warp is a row of mma accumulators", "[layout]") {
  int wrong = 0;
  for (int lane = 0; lane < 32; ++lane) {
    for (int v = 0; v < 128; ++v) {
      const Coordinate one = mma_c(lane, v % 4);
      wrong += !same(wgmma_c(0, lane, v), {one.row, one.column + 8 * (v / 4)});
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("ldmatrix over 16 x 32 delivers operand A, or two operands B", "[layout]") {
  Cover addresses(16, 2);
  int wrong = 0;
  for (int lane = 0; lane < 32; ++lane) {
    addresses.add(ldmatrix_16x32(lane));
    for (int r = 0; r < 4; ++r) {
      for (int byte = 0; byte < 4; ++byte) {
        const Coordinate at = loaded(lane, r, byte, ldmatrix_16x32);
        wrong += !same(at, mma_a(lane, r, byte));
        const Coordinate b = mma_b(lane, r / 2, byte);  // registers {0, 2}: rows 0-7, {1, 3}: rows 8-15
        wrong += !same(at, {b.row + 8 * (r % 2), b.column});
      }
    }
  }
  CHECK(addresses.is_exact());
  CHECK(wrong == 0);
}

TEST_CASE("ldmatrix over 8 x 64 delivers operand B of two steps in depth", "[layout]") {
  Cover addresses(8, 4);
  int wrong = 0;
  for (int lane = 0; lane < 32; ++lane) {
    addresses.add(ldmatrix_8x64(lane));
    for (int r = 0; r < 4; ++r) {
      for (int byte = 0; byte < 4; ++byte) {
        const Coordinate b = mma_b(lane, r % 2, byte);
        wrong += !same(loaded(lane, r, byte, ldmatrix_8x64), {b.row, b.column + 32 * (r / 2)});
      }
    }
  }
  CHECK(addresses.is_exact());
  CHECK(wrong == 0);
}
