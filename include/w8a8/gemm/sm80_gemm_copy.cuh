// Global to shared memory in sm80_gemm: each thread's share of every stage, with cp.async where alignment allows.
#pragma once

#include <cstdint>

#include "w8a8/gemm/problem.hpp"
#include "w8a8/gemm/sm80_gemm_storage.cuh"
#include "w8a8/layout/raster.hpp"
#include "w8a8/layout/swizzle.hpp"
#include "w8a8/ptx/cp_async.cuh"
#include "w8a8/ptx/st_shared.cuh"
#include "w8a8/ptx/thread_index.cuh"
#include "w8a8/support/config.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8::detail {

/// Copy policy: every row of x and w starts at a multiple of 16 bytes and is a multiple of 16 bytes long.
struct CopyAligned {
  /// Fills a 16-byte piece of shared memory with the first `valid` bytes at `source` (16 or none) and zeros.
  W8A8_DEVICE static void piece(std::uint32_t destination, const std::int8_t* source, int valid, int, int) {
    ptx::cp_async_16_or_zeros(destination, source, valid == 0);
  }
};

/// Copy policy: any alignment. 4-byte copies where they do, else words through registers, shifted into place.
struct CopyUnaligned {
  /// `before` and `after`: how many bytes of the row lie before `source`, and from `source` on.
  W8A8_DEVICE static void piece(std::uint32_t destination, const std::int8_t* source, int valid, int before, int after) {
    const int misalignment = static_cast<int>(reinterpret_cast<std::uintptr_t>(source) & 3);
    if (misalignment == 0 || valid == 0) {
      W8A8_UNROLL
      for (int b = 0; b < 16; b += 4) ptx::cp_async<4>(destination + b, source + b, max_of(0, min_of(4, valid - b)));
      return;
    }
    if (before >= 4 && after >= 20) {  // the five aligned words around the piece lie inside the row
      // volatile keeps the loads of one piece together: there are no registers for those of several
      const auto* aligned = reinterpret_cast<const volatile std::uint32_t*>(source - misalignment);
      std::uint32_t words[4], low = aligned[0];
      W8A8_UNROLL
      for (int i = 0; i < 4; ++i) {
        const std::uint32_t high = aligned[i + 1];
        words[i] = __funnelshift_r(low, high, 8 * misalignment);
        low = high;
      }
      ptx::st_shared_16(destination, words);
    } else {
      W8A8_NO_UNROLL
      for (int b = 0; b < 16; ++b) ptx::st_shared_8(destination + b, b < valid ? static_cast<std::uint8_t>(source[b]) : 0u);
    }
  }
};

/// Brings k-blocks of a tile's rows of x and w into the stages. Thread t copies 16-byte piece t % pieces of row t / pieces, and
/// of every row_step-th row after it.
template <class Config, class Copy>
class Sm80GemmLoader {
  static constexpr int pieces = Config::block_k / 16, row_step = Config::threads / pieces;
  static constexpr int passes_x = ceil_div(Config::block_m, row_step), passes_w = ceil_div(Config::block_n, row_step);
  static_assert(row_step % 8 == 0, "the swizzle of a thread's rows is the same");

 public:
  static constexpr int passes = passes_x + passes_w;

  W8A8_DEVICE Sm80GemmLoader(std::uint32_t stages, int thread)
      : destination_(stages + layout::swizzled_offset<Config::block_k>(thread / pieces, thread % pieces)) {}

  /// Goes to the first k-block of a tile.
  template <class Out>
  W8A8_DEVICE void start(const GemmProblem<Out>& problem, layout::Tile tile) {
    const std::uint32_t thread = ptx::thread_index(), row = thread / pieces, k = thread % pieces * 16;
    const int m0 = tile.row * Config::block_m, n0 = tile.column * Config::block_n;
    x_ = problem.x + static_cast<std::int64_t>(static_cast<unsigned>(m0) + row) * problem.ldx + k;
    w_ = problem.w + static_cast<std::int64_t>(static_cast<unsigned>(n0) + row) * problem.ldw + k;
    rows_x_ = min_of(problem.m - m0, Config::block_m) - static_cast<int>(row);
    rows_w_ = min_of(problem.n - n0, Config::block_n) - static_cast<int>(row);
    after_ = problem.k - static_cast<int>(k);
  }

  /// Issues passes first .. last - 1 of a k-block into the stage at byte `stage`, x's rows first. What lies beyond K becomes
  /// zeros. Rows beyond M and N are left as they are: they reach only sums that are not stored. Passes are taken in order, and
  /// next_block() follows the last: the pointers walk down the rows and jump back, which leaves nothing to keep but themselves.
  W8A8_DEVICE void fetch(const Sm80GemmStrides& strides, int k, int first, int last, int stage) {
    const int valid = max_of(0, min_of(16, after_));
    W8A8_UNROLL
    for (int p = 0; p < passes; ++p) {
      if (p < first || p >= last) continue;
      const bool is_x = p < passes_x;
      const int row = (is_x ? p : p - passes_x) * row_step;
      if (row < (is_x ? rows_x_ : rows_w_)) {
        Copy::piece(destination_ + stage + (is_x ? 0 : Config::block_m * Config::block_k) + row * Config::block_k, is_x ? x_ : w_,
                    valid, k - after_, after_);
      }
      x_ += p < passes_x - 1 ? strides.step_x : p == passes_x - 1 ? strides.back_x : 0;
      w_ += p < passes_x ? 0 : p < passes - 1 ? strides.step_w : strides.back_w;
    }
  }

  /// Makes every further fetch() of this tile copy nothing.
  W8A8_DEVICE void stop() { rows_x_ = rows_w_ = 0; }

  W8A8_DEVICE void next_block() { after_ -= Config::block_k; }

  /// The strides that fetch() wants, from the leading dimensions.
  static Sm80GemmStrides strides(std::int64_t ldx, std::int64_t ldw) {
    return {row_step * ldx, Config::block_k - (passes_x - 1) * row_step * ldx, row_step * ldw,
            Config::block_k - (passes_w - 1) * row_step * ldw};
  }

 private:
  const std::int8_t *x_, *w_;    // this thread's piece in the next pass
  int rows_x_, rows_w_, after_;  // rows from this thread's first on that exist; bytes of depth from its piece on
  std::uint32_t destination_;    // where the piece of its first row goes in the first stage
};

}  // namespace w8a8::detail
