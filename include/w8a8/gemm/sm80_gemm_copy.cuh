// Global to shared memory in sm80_gemm: the ring of stages and what fills it, TMA or every thread's cp.async.
#pragma once

#include <cstdint>
#include <type_traits>

#include "w8a8/gemm/problem.hpp"
#include "w8a8/gemm/sm80_gemm_storage.cuh"
#include "w8a8/layout/raster.hpp"
#include "w8a8/layout/swizzle.hpp"
#include "w8a8/ptx/address.cuh"
#include "w8a8/ptx/cp_async.cuh"
#include "w8a8/ptx/elect.cuh"
#include "w8a8/ptx/mbarrier.cuh"
#include "w8a8/ptx/st_shared.cuh"
#include "w8a8/ptx/thread_index.cuh"
#include "w8a8/ptx/tma.cuh"
#include "w8a8/support/arch.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8::detail {

/// Copy policy: every row of x and w starts at a multiple of 16 bytes and is a multiple of 16 bytes long, K > 0. Where there is
/// TMA it does the copies, and this says only how a thread would.
struct CopyAligned {
  static constexpr bool allows_tma = true;

  /// Fills a 16-byte piece of shared memory with the first `valid` bytes at `source` (16 or none) and zeros.
  W8A8_DEVICE static void piece(std::uint32_t destination, const std::int8_t* source, int valid, int, int) {
    ptx::cp_async_16_or_zeros(destination, source, valid == 0);
  }
};

/// Copy policy: any alignment. 4-byte copies where they do, else words through registers, shifted into place.
struct CopyUnaligned {
  static constexpr bool allows_tma = false;

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

/// The ring of stages, filled by cp.async. Thread t copies 16-byte piece t % pieces of row t / pieces of each stage, and of every
/// row_step-th row after it.
template <class Config, class Copy>
class Sm80GemmAsyncRing {
  static constexpr int stages = Config::stages, stage_bytes = Config::stage_bytes, chunks = Config::warp_n / 16;
  static constexpr int pieces = Config::block_k / 16, row_step = Config::threads / pieces;
  static constexpr int passes_x = ceil_div(Config::block_m, row_step), passes_w = ceil_div(Config::block_n, row_step);
  static_assert(row_step % 8 == 0, "the swizzle of a thread's rows is the same");

  static constexpr int passes = passes_x + passes_w;
  // A block's copies are issued in turns, one a chunk, from a last step on through the other steps of the next block; with three
  // stages, which leave no time for that, in a last step alone.
  static constexpr int turns = (stages > 3 ? Config::k_steps : 1) * chunks;
  // They come in groups, because the compiler pays with three instructions for each change from ldmatrix to cp.async.
  static constexpr int group = Config::warps_k == 1 ? 2 : 3;
  W8A8_DEVICE static constexpr int before(int turn) {  // passes issued before a turn
    return turn >= turns ? passes : passes * turn / turns / group * group;
  }

 public:
  template <class Parameters, class Storage>
  W8A8_DEVICE Sm80GemmAsyncRing(const Parameters&, Storage& storage)
      : destination_(ptx::shared_address(storage.stages) +
                     layout::swizzled_offset<Config::block_k>(ptx::thread_index() / pieces, ptx::thread_index() % pieces)) {}

  /// Sends the first stages of a tile on their way. Nobody uses the ring any more.
  template <class Parameters>
  W8A8_DEVICE void start(const Parameters& p, layout::Tile tile, int k_blocks) {
    go_to(p, tile);
    W8A8_NO_UNROLL
    for (int s = 0; s < stages - 1; ++s) {
      if (s >= k_blocks) stop();
      fetch(p, 0, s < stages - 2 ? passes : before(chunks), s * stage_bytes);
      if (s < stages - 2) complete_block();
    }
    read_ = 0;
    write_ = (stages - 2) * stage_bytes;
  }

  /// Waits until the first k-block of the tile is in.
  W8A8_DEVICE void wait_first() {
    ptx::cp_async_wait_group<stages - 3>();
    __syncthreads();
  }

  /// Byte offsets of the stage being multiplied and of the next.
  W8A8_DEVICE int stage() const { return read_; }
  W8A8_DEVICE int next_stage() const { return after(read_); }
  W8A8_DEVICE void advance(int) { read_ = after(read_); }

  /// What a warp has to do for the ring before it multiplies chunk `chunk` of step `step`, with `left` blocks left, this one
  /// counted.
  template <class Parameters>
  W8A8_DEVICE void work(const Parameters& p, int step, int chunk, int left) {
    const bool last = step == Config::k_steps - 1;
    if (last && chunk == 0) {
      // The block being filled is complete: another group. The next block to multiply is in. And everybody is done with the one
      // before this, so its stage can be filled: with the block stages - 1 further on, if there is one.
      complete_block();
      ptx::cp_async_wait_group<stages - 3>();
      __syncthreads();
      write_ = after(write_);
      if (left < stages) stop();
    }
    const int turn = (last ? 0 : step + 1) * chunks + chunk;
    fetch(p, before(turn), before(turn + 1), write_);
  }

  /// Waits until everybody is done with the ring.
  W8A8_DEVICE void finish() {
    ptx::cp_async_wait_group<0>();
    __syncthreads();
  }

  /// The strides that fetch() wants, from the leading dimensions.
  static Sm80GemmStrides strides(std::int64_t ldx, std::int64_t ldw) {
    return {row_step * ldx, Config::block_k - (passes_x - 1) * row_step * ldx, row_step * ldw,
            Config::block_k - (passes_w - 1) * row_step * ldw};
  }

 private:
  /// Goes to the first k-block of a tile.
  template <class Parameters>
  W8A8_DEVICE void go_to(const Parameters& p, layout::Tile tile) {
    const auto& problem = p.problem;
    const std::uint32_t thread = ptx::thread_index(), row = thread / pieces, k = thread % pieces * 16;
    const int m0 = tile.row * Config::block_m, n0 = p.first_column + tile.column * Config::block_n;
    x_ = problem.x + static_cast<std::int64_t>(static_cast<unsigned>(m0) + row) * problem.ldx + k;
    w_ = problem.w + static_cast<std::int64_t>(static_cast<unsigned>(n0) + row) * problem.ldw + k;
    rows_x_ = min_of(problem.m - m0, Config::block_m) - static_cast<int>(row);
    rows_w_ = min_of(problem.n - n0, Config::block_n) - static_cast<int>(row);
    after_ = problem.k - static_cast<int>(k);
  }

  /// Issues passes first .. last - 1 of a k-block into the stage at byte `stage`, x's rows first. What lies beyond K becomes
  /// zeros. Rows beyond M and N are left as they are: they reach only sums that are not stored. Passes are taken in order, and
  /// complete_block() follows the last: the pointers walk down the rows and jump back, which leaves nothing to keep but
  /// themselves.
  template <class Parameters>
  W8A8_DEVICE void fetch(const Parameters& p, int first, int last, int stage) {
    const int valid = max_of(0, min_of(16, after_));
    W8A8_UNROLL
    for (int pass = 0; pass < passes; ++pass) {
      if (pass < first || pass >= last) continue;
      const bool is_x = pass < passes_x;
      const int row = (is_x ? pass : pass - passes_x) * row_step;
      if (row < (is_x ? rows_x_ : rows_w_)) {
        Copy::piece(destination_ + stage + (is_x ? 0 : Config::block_m * Config::block_k) + row * Config::block_k, is_x ? x_ : w_,
                    valid, p.problem.k - after_, after_);
      }
      x_ += pass < passes_x - 1 ? p.strides.step_x : pass == passes_x - 1 ? p.strides.back_x : 0;
      w_ += pass < passes_x ? 0 : pass < passes - 1 ? p.strides.step_w : p.strides.back_w;
    }
  }

  /// Makes every further fetch() of this tile copy nothing.
  W8A8_DEVICE void stop() { rows_x_ = rows_w_ = 0; }

  W8A8_DEVICE void complete_block() {
    after_ -= Config::block_k;
    ptx::cp_async_commit_group();
  }

  W8A8_DEVICE static int after(int stage) { return stage + stage_bytes == stages * stage_bytes ? 0 : stage + stage_bytes; }

  const std::int8_t *x_, *w_;    // this thread's piece in the next pass
  int rows_x_, rows_w_, after_;  // rows from this thread's first on that exist; bytes of depth from its piece on
  int read_, write_;             // byte offsets of the stages being multiplied and being filled
  std::uint32_t destination_;    // where the piece of its first row goes in the first stage
};

/// The ring of stages, filled by TMA: one thread has boxes of x and w written into a stage, whose `full` mbarrier counts their
/// bytes; each warp says at its `empty` mbarrier that it is done with it, so that no CTA barrier stands in the main loop. What
/// lies beyond K arrives as zeros, and so do rows beyond M and N, or they keep what the stage held.
///
/// KeepsLast: a tile's last stage is the epilogue's until release().
template <class Config, bool KeepsLast>
class Sm80GemmTmaRing {
  static constexpr int stages = Config::stages, stage_bytes = Config::stage_bytes;
  // A stage is filled again this many blocks after it was multiplied: where there are enough, not to wait for the slowest warp.
  static constexpr int lag = stages > 4 ? 2 : 1, ahead = stages - lag;
  static constexpr int fetch_step = min_of(1, Config::k_steps - 1);

 public:
  template <class Parameters, class Storage>
  W8A8_DEVICE Sm80GemmTmaRing(const Parameters& p, Storage& storage)
      : stages_(ptx::shared_address(storage.stages)),
        full_(ptx::shared_address(storage.full)),
        empty_(ptx::shared_address(storage.empty)),
        warp_(__shfl_sync(0xffffffffu, ptx::thread_index() / 32, 0)) {  // uniform over the warp, and known to be
    if (ptx::thread_index() == 0) {
      ptx::prefetch_tensormap(&p.maps.x);
      ptx::prefetch_tensormap(&p.maps.w);
      for (int s = 0; s < stages; ++s) {
        ptx::mbarrier_init(full_ + 8 * s, 1);
        ptx::mbarrier_init(empty_ + 8 * s, Config::warps);
      }
      ptx::fence_mbarrier_init();
    }
    __syncthreads();
  }

  /// Sends the first stages of a tile on their way. Nobody uses the ring any more.
  template <class Parameters>
  W8A8_DEVICE void start(const Parameters& p, layout::Tile tile, int k_blocks) {
    m0_ = tile.row * Config::block_m;
    n0_ = p.first_column + tile.column * Config::block_n;
    if (warp_ == 0 && ptx::elect_one()) {
      W8A8_NO_UNROLL
      for (int b = 0; b < min_of(ahead, k_blocks); ++b)
        fetch(p, read_ + b < stages ? read_ + b : read_ + b - stages, b * Config::block_k);
    }
    __syncwarp();
  }

  /// Waits until the first k-block of the tile is in.
  W8A8_DEVICE void wait_first() { ptx::mbarrier_wait_parity(full_ + 8 * read_, parity_); }

  /// Byte offsets of the stage being multiplied and of the next.
  W8A8_DEVICE int stage() const { return read_ * stage_bytes; }
  W8A8_DEVICE int next_stage() const { return next() * stage_bytes; }

  /// What a warp has to do for the ring before it multiplies chunk `chunk` of step `step`, with `left` blocks left, this one
  /// counted. The warps take turns in filling the stage that is `ahead` blocks further on.
  template <class Parameters>
  W8A8_DEVICE void work(const Parameters& p, int step, int chunk, int left) {
    if (step == fetch_step && chunk == 0 && left > ahead && warp_ == left % Config::warps) {
      const int stage = read_ < lag ? read_ - lag + stages : read_ - lag;
      if (ptx::elect_one()) {
        ptx::mbarrier_wait_parity(empty_ + 8 * stage, parity_ ^ (read_ < lag));
        fetch(p, stage, (ceil_div(p.problem.k, Config::block_k) - left + ahead) * Config::block_k);
      }
      __syncwarp();
    }
    if (step == Config::k_steps - 1 && chunk == 0 && left > 1)
      ptx::mbarrier_wait_parity(full_ + 8 * next(), parity_ ^ (next() == 0));
  }

  /// The warp is done with the stage, `left` blocks were left with it: on to the next.
  W8A8_DEVICE void advance(int left) {
    __syncwarp();
    if ((!KeepsLast || left > 1) && ptx::thread_index() % 32 == 0) ptx::mbarrier_arrive(empty_ + 8 * read_);
    parity_ ^= next() == 0;
    read_ = next();
  }

  /// Waits until everybody is done with the ring.
  W8A8_DEVICE void finish() { __syncthreads(); }

  /// Where the stage lies that was multiplied last.
  W8A8_DEVICE std::uint32_t last_stage() const { return stages_ + before() * stage_bytes; }

  /// The warp is done with that stage, too: TMA has read what the warp had it store.
  W8A8_DEVICE void release() {
    if (ptx::elect_one()) {
      ptx::bulk_wait_group_read<0>();
      ptx::mbarrier_arrive(empty_ + 8 * before());
    }
    __syncwarp();
  }

 private:
  template <class Parameters>
  W8A8_DEVICE void fetch(const Parameters& p, int stage, int k) {
    const std::uint32_t x = stages_ + stage * stage_bytes, full = full_ + 8 * stage;
    ptx::mbarrier_arrive_expect_tx(full, p.box_bytes);
    ptx::tma_load_2d(x, &p.maps.x, full, k, m0_);
    ptx::tma_load_2d(x + Config::block_m * Config::block_k, &p.maps.w, full, k, n0_);
  }
  W8A8_DEVICE int next() const { return read_ + 1 == stages ? 0 : read_ + 1; }
  W8A8_DEVICE int before() const { return read_ == 0 ? stages - 1 : read_ - 1; }

  std::uint32_t stages_, full_, empty_;
  int warp_;
  int read_ = 0, parity_ = 0;  // the stage being multiplied, and which phase of its `full` brought it
  int m0_, n0_;                // where the tile's boxes lie
};

/// What fills the ring in code for the architecture being compiled.
template <class Config, class Copy, bool KeepsLast>
using Sm80GemmRing =
    std::conditional_t<arch::has_tma && Copy::allows_tma, Sm80GemmTmaRing<Config, KeepsLast>, Sm80GemmAsyncRing<Config, Copy>>;

}  // namespace w8a8::detail
