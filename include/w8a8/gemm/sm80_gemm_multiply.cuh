// Shared memory to accumulators in sm80_gemm: the part of a tile that one warp multiplies, and the sum over warps that share one.
#pragma once

#include <cstdint>
#include <type_traits>

#include "w8a8/layout/mma_fragment.hpp"
#include "w8a8/layout/swizzle.hpp"
#include "w8a8/ptx/matrix.cuh"
#include "w8a8/ptx/mma.cuh"
#include "w8a8/ptx/tma.cuh"
#include "w8a8/support/arch.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/floating_point.hpp"

namespace w8a8::detail {

/// Operand policy: what a 32-byte step of depth holds, which mma multiplies it, and what the sums are. Fragments of all types
/// lie in the same bytes, so nothing else in the kernel knows the type.
template <class Operand>
struct Sm80GemmOperand;

template <>
struct Sm80GemmOperand<std::int8_t> {
  using Accumulator = std::int32_t;
  W8A8_DEVICE static void multiply(std::int32_t (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
    ptx::mma_m16n8k32(c, a, b0, b1);
  }
};

template <>
struct Sm80GemmOperand<half> {
  using Accumulator = float;
  W8A8_DEVICE static void multiply(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
    ptx::mma_m16n8k16_f16(c, a, b0, b1);
  }
};

template <>
struct Sm80GemmOperand<bfloat16> {
  using Accumulator = float;
  W8A8_DEVICE static void multiply(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
    ptx::mma_m16n8k16_bf16(c, a, b0, b1);
  }
};

/// The accumulators of one warp and the fragments that feed them. A step is 32 bytes of depth. It is worked off in chunks of 16
/// columns: while one is multiplied, the fragments of the next are on their way from shared memory.
template <class Config, class Operand>
class Sm80GemmWarpTile {
  static constexpr int tiles_m = Config::warp_m / 16;
  /// With 192 accumulators there is no room for operand A twice: each fragment is then replaced right after its last use.
  static constexpr bool in_place = Config::warp_m * Config::warp_n > 64 * 64;

 public:
  using Accumulator = typename Sm80GemmOperand<Operand>::Accumulator;
  static constexpr int chunks = Config::warp_n / 16;
  Accumulator accumulators[tiles_m][Config::warp_n / 8][4];

  W8A8_DEVICE Sm80GemmWarpTile(std::uint32_t stages, int warp_row, int warp_column, int slice, int lane) {
    const layout::Coordinate a = layout::ldmatrix_16x32(lane), b = layout::ldmatrix_2x8x32(lane);
    x_ = stages + warp_row * Config::warp_m * Config::block_k +
         layout::swizzled_offset<Config::block_k>(a.row, 2 * slice + a.column);
    w_ = stages + (Config::block_m + warp_column * Config::warp_n) * Config::block_k +
         layout::swizzled_offset<Config::block_k>(b.row, 2 * slice + b.column);
  }

  /// Clears the sums and loads the fragments of the first chunk.
  W8A8_DEVICE void start(int stage) {
    W8A8_UNROLL
    for (int i = 0; i < tiles_m; ++i) {
      load_a(a_[i], i, 0, stage);
      W8A8_UNROLL
      for (int v = 0; v < Config::warp_n / 2; ++v) accumulators[i][v / 4][v % 4] = 0;
    }
    load_b(b_, 0, 0, stage);
  }

  /// Multiplies chunk `chunk` of step `step`, from the stage at byte `stage`, and loads what comes after it; (next_step,
  /// next_stage) is where the next step lies.
  W8A8_DEVICE void multiply(int chunk, int step, int stage, int next_step, int next_stage) {
    const bool last = chunk + 1 == chunks;
    std::uint32_t b_next[4];
    load_b(b_next, last ? 0 : chunk + 1, last ? next_step : step, last ? next_stage : stage);
    W8A8_UNROLL
    for (int i = 0; i < tiles_m; ++i) {
      if (!in_place && i >= tiles_m * chunk / chunks && i < tiles_m * (chunk + 1) / chunks)
        load_a(a_next_[i], i, next_step, next_stage);
    }
    W8A8_UNROLL
    for (int i = 0; i < tiles_m; ++i) {
      Sm80GemmOperand<Operand>::multiply(accumulators[i][2 * chunk], a_[i], b_[0], b_[1]);
      Sm80GemmOperand<Operand>::multiply(accumulators[i][2 * chunk + 1], a_[i], b_[2], b_[3]);
      if (in_place && last) load_a(a_[i], i, next_step, next_stage);
    }
    // Registers only change their names here: the loops around are unrolled.
    W8A8_UNROLL
    for (int r = 0; r < 4; ++r) {
      b_[r] = b_next[r];
      W8A8_UNROLL
      for (int i = 0; i < tiles_m; ++i) a_[i][r] = !in_place && last ? a_next_[i][r] : a_[i][r];
    }
  }

 private:
  // Steps differ in address bits that the swizzle only permutes: an exclusive or moves from one to another.
  static W8A8_DEVICE std::uint32_t at(std::uint32_t address, int step, int stage) {
    return (address + stage) ^ static_cast<std::uint32_t>(32 * Config::warps_k * step);
  }
  W8A8_DEVICE void load_a(std::uint32_t (&a)[4], int i, int step, int stage) const {
    ptx::ldmatrix_x4(a, at(x_, step, stage) + i * 16 * Config::block_k);
  }
  W8A8_DEVICE void load_b(std::uint32_t (&b)[4], int chunk, int step, int stage) const {
    ptx::ldmatrix_x4(b, at(w_, step, stage) + chunk * 16 * Config::block_k);
  }

  std::uint32_t x_, w_;  // this lane's ldmatrix addresses in the first stage
  std::uint32_t a_[tiles_m][4], a_next_[tiles_m][4], b_[4];
};

/// Adds up the depth slices: afterwards warp `slice` of each warp tile holds the sums of columns slice * Columns .. of it, as the
/// first Columns / 8 column tiles of its accumulators; of those beyond the warp tile, the last slices hold rubbish. `buffer`: the
/// stages, which nobody fills before everybody is here.
template <class Config, int Columns, class Accumulator>
W8A8_DEVICE void sm80_gemm_add_slices(Accumulator (&acc)[Config::warp_m / 16][Config::warp_n / 8][4], unsigned char* buffer,
                                      int tile, int slice, int lane) {
  struct alignas(16) Four {
    Accumulator v[4];
  };
  constexpr int tiles_m = Config::warp_m / 16, tiles_n = Columns / 8, slices = Config::warps_k;
  static_assert((slices - 1) * Config::warps * Config::warp_m * Columns * 4 <= Config::stages * Config::stage_bytes, "they fit");
  const auto slot = [&](int to, int from) {  // what slice `from` has for slice `to` of this warp tile
    return reinterpret_cast<Four*>(buffer) +
           ((tile * slices + to) * (slices - 1) + (from < to ? from : from - 1)) * tiles_m * tiles_n * 32 + lane;
  };
  const auto exists = [](int to, int t) { return to * tiles_n + t % tiles_n < Config::warp_n / 8; };
  W8A8_UNROLL
  for (int to = 0; to < slices; ++to) {
    if (to == slice) continue;
    Four* out = slot(to, slice);
    W8A8_UNROLL
    for (int t = 0; t < tiles_m * tiles_n; ++t) {
      if (!exists(to, t)) continue;
      const auto& c = acc[t / tiles_n][to * tiles_n + t % tiles_n];
      out[t * 32] = Four{{c[0], c[1], c[2], c[3]}};
    }
  }
  W8A8_UNROLL
  for (int to = 1; to < slices; ++to) {
    W8A8_UNROLL
    for (int t = 0; t < tiles_m * tiles_n * 4; ++t) {
      if (!exists(to, t / 4)) continue;
      Accumulator& first = acc[t / 4 / tiles_n][t / 4 % tiles_n][t % 4];
      first = slice == to ? acc[t / 4 / tiles_n][to * tiles_n + t / 4 % tiles_n][t % 4] : first;
    }
  }
  if constexpr (arch::has_tma) ptx::fence_proxy_async();  // TMA is the next to write there
  __syncthreads();
  W8A8_UNROLL
  for (int other = 1; other < slices; ++other) {
    const Four* in = slot(slice, (slice + other) % slices);
    W8A8_UNROLL
    for (int t = 0; t < tiles_m * tiles_n; ++t) {
      const Four other_sums = in[t * 32];
      auto& c = acc[t / tiles_n][t % tiles_n];
      W8A8_UNROLL
      for (int v = 0; v < 4; ++v) c[v] += other_sums.v[v];
    }
  }
  __syncthreads();
}

}  // namespace w8a8::detail
