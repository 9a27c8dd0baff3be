// sm80_gemm: the general INT8 GEMM, on mma.sync m16n8k32. Runs on sm_80 and everything newer, for any M, N >= 1, K >= 0, any row
// stride and any alignment of x and w.
//
// CTAs stay and compute one output tile after another. The depth of a tile runs through a ring of stages in shared memory,
// BlockM + BlockN rows of BlockK bytes each. Every warp does both halves of the work: it copies its share of each stage with
// cp.async, several k-blocks ahead, in swizzled order, and multiplies its part of the tile with fragments that it reads with
// ldmatrix, one chunk ahead of the mma that need them. The first stages of the next tile are on their way before the epilogue of
// the last begins; that works in memory of each warp's own, and writes 16-byte pieces of rows.
//
// What lies beyond K is filled with zeros, so sums stay exact and nothing outside the tensors is read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/gemm/problem.hpp"
#include "w8a8/gemm/tuning/sm80_gemm.hpp"
#include "w8a8/layout/mma_fragment.hpp"
#include "w8a8/layout/raster.hpp"
#include "w8a8/layout/swizzle.hpp"
#include "w8a8/ptx/address.cuh"
#include "w8a8/ptx/cp_async.cuh"
#include "w8a8/ptx/dependent_launch.cuh"
#include "w8a8/ptx/matrix.cuh"
#include "w8a8/ptx/mma.cuh"
#include "w8a8/ptx/st_shared.cuh"
#include "w8a8/ptx/thread_index.cuh"
#include "w8a8/support/device.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/support/launch.cuh"

namespace w8a8 {
namespace detail {

/// Bytes from one row that a thread copies to its next, and from its last back to the first in the next k-block.
struct Sm80GemmStrides {
  std::int64_t step_x, back_x, step_w, back_w;
};

/// What the kernel is launched with.
template <class Out, class Epilogue>
struct Sm80GemmParameters {
  GemmProblem<Out> problem;
  Epilogue epilogue;
  Sm80GemmStrides strides{};
  int tiles_m = 0, tiles_n = 0;  ///< the grid of output tiles
  int raster_group = 0;          ///< tile rows a raster group
  int tiles = 0;                 ///< tiles_m * tiles_n
  bool vector_stores = false;    ///< every row of `out` starts at a multiple of 16 bytes
};

/// Rows that a warp's epilogue works on at a time.
template <class Out>
inline constexpr int sm80_gemm_staging_rows = sizeof(Out) == 2 ? 16 : 8;

/// Shared memory of one CTA.
template <class Config, class Out, class Epilogue>
struct Sm80GemmStorage {
  /// What a warp needs for the epilogue of its part of a tile.
  struct Warp {
    /// 8 elements of padding put the eight rows that a warp writes at a time into different banks.
    static constexpr int pitch = Config::store_n + 8;
    alignas(16) unsigned char staging[sm80_gemm_staging_rows<Out> * pitch * sizeof(Out)];
    alignas(16) typename Epilogue::RowState rows[Config::warp_m];
    alignas(16) typename Epilogue::ColumnState columns[Config::store_n];
    unsigned m0, n0;  ///< its first output; kept here because the main loop leaves no register for it
  };
  alignas(1024) unsigned char stages[Config::stages][Config::stage_bytes];
  Warp warps[Config::warps];
};

/// Copy policy: every row of x and w starts at a multiple of 16 bytes.
struct CopyAligned {
  /// Fills a 16-byte piece of shared memory with the first `valid` bytes at `source` and zeros.
  W8A8_DEVICE static void piece(std::uint32_t destination, const std::int8_t* source, int valid, int, int) {
    ptx::cp_async<16>(destination, source, valid);
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

/// The accumulators of one warp and the fragments that feed them. A step is 32 bytes of depth. It is worked off in chunks of 16
/// columns: while one is multiplied, the fragments of the next are on their way from shared memory.
template <class Config>
class Sm80GemmWarpTile {
  static constexpr int tiles_m = Config::warp_m / 16;
  /// With 192 accumulators there is no room for operand A twice: each fragment is then replaced right after its last use.
  static constexpr bool in_place = Config::warp_m * Config::warp_n > 64 * 64;

 public:
  static constexpr int chunks = Config::warp_n / 16;
  std::int32_t accumulators[tiles_m][Config::warp_n / 8][4];

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
      ptx::mma_m16n8k32(accumulators[i][2 * chunk], a_[i], b_[0], b_[1]);
      ptx::mma_m16n8k32(accumulators[i][2 * chunk + 1], a_[i], b_[2], b_[3]);
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

/// Adds up the depth slices: afterwards warp `slice` of each warp tile holds the sums of columns slice * store_n .. of it, as the
/// first store_n / 8 column tiles of its accumulators. `buffer`: the stages, which nobody fills before everybody is here.
template <class Config>
W8A8_DEVICE void sm80_gemm_add_slices(std::int32_t (&acc)[Config::warp_m / 16][Config::warp_n / 8][4], unsigned char* buffer,
                                      int tile, int slice, int lane) {
  constexpr int tiles_m = Config::warp_m / 16, tiles_n = Config::store_n / 8, slices = Config::warps_k;
  static_assert((slices - 1) * Config::warps * Config::warp_m * Config::store_n * 4 <= Config::stages * Config::stage_bytes,
                "they fit");
  const auto slot = [&](int to, int from) {  // what slice `from` has for slice `to` of this warp tile
    return reinterpret_cast<int4*>(buffer) +
           ((tile * slices + to) * (slices - 1) + (from < to ? from : from - 1)) * tiles_m * tiles_n * 32 + lane;
  };
  W8A8_UNROLL
  for (int to = 0; to < slices; ++to) {
    if (to == slice) continue;
    int4* out = slot(to, slice);
    W8A8_UNROLL
    for (int t = 0; t < tiles_m * tiles_n; ++t) {
      const auto& c = acc[t / tiles_n][to * tiles_n + t % tiles_n];
      out[t * 32] = make_int4(c[0], c[1], c[2], c[3]);
    }
  }
  W8A8_UNROLL
  for (int to = 1; to < slices; ++to) {
    W8A8_UNROLL
    for (int t = 0; t < tiles_m * tiles_n * 4; ++t) {
      std::int32_t& first = acc[t / 4 / tiles_n][t / 4 % tiles_n][t % 4];
      first = slice == to ? acc[t / 4 / tiles_n][to * tiles_n + t / 4 % tiles_n][t % 4] : first;
    }
  }
  __syncthreads();
  W8A8_UNROLL
  for (int other = 1; other < slices; ++other) {
    const int4* in = slot(slice, (slice + other) % slices);
    W8A8_UNROLL
    for (int t = 0; t < tiles_m * tiles_n; ++t) {
      const int4 v = in[t * 32];
      auto& c = acc[t / tiles_n][t % tiles_n];
      c[0] += v.x, c[1] += v.y, c[2] += v.z, c[3] += v.w;
    }
  }
  __syncthreads();
}

/// Loads the epilogue's states for the warp's outputs, which begin at (row, column) of the tile. Rows and columns beyond the edge
/// repeat the last one.
template <class Config, class Out, class Epilogue, class Warp>
W8A8_DEVICE void sm80_gemm_load_states(const Sm80GemmParameters<Out, Epilogue>& p, Warp& warp, layout::Tile tile, int row,
                                       int column, int lane) {
  __syncwarp();  // the epilogue of the last tile is over
  // Unsigned: what begins beyond the edge may begin past 2^31.
  const std::int64_t m = static_cast<unsigned>(tile.row) * Config::block_m + static_cast<unsigned>(row);
  const std::int64_t n = static_cast<unsigned>(tile.column) * Config::block_n + static_cast<unsigned>(column);
  if (lane == 0) warp.m0 = static_cast<unsigned>(m), warp.n0 = static_cast<unsigned>(n);
  if constexpr (!std::is_empty_v<typename Epilogue::RowState>) {
    for (int r = lane; r < Config::warp_m; r += 32) warp.rows[r] = p.epilogue.row(min_of<std::int64_t>(m + r, p.problem.m - 1));
  }
  if constexpr (!std::is_empty_v<typename Epilogue::ColumnState>) {
    for (int c = lane; c < Config::store_n; c += 32)
      warp.columns[c] = p.epilogue.column(min_of<std::int64_t>(n + c, p.problem.n - 1));
  }
}

/// Stores `rows` x store_n outputs from the warp's staging memory; the first rows_left and columns_left of them exist.
template <class Config, int Rows, class Out>
W8A8_DEVICE void sm80_gemm_copy_out(const Out* staging, int pitch, Out* out, std::int64_t ldo, int rows_left, int columns_left,
                                    bool vector_stores, int lane) {
  constexpr int vector = 16 / static_cast<int>(sizeof(Out)), vectors = Config::store_n / vector;
  int scalar_from = 0;
  if (vector_stores) {
    constexpr int count = ceil_div(Rows * vectors, 32);
    uint4 values[count];
    W8A8_UNROLL
    for (int t = 0; t < count; ++t) {  // all loads, then all stores: their latencies overlap
      const int i = min_of(lane + 32 * t, Rows * vectors - 1);
      values[t] = *reinterpret_cast<const uint4*>(staging + i / vectors * pitch + i % vectors * vector);
    }
    W8A8_UNROLL
    for (int t = 0; t < count; ++t) {
      const int i = lane + 32 * t, r = i / vectors, c = i % vectors * vector;
      if (r < min_of(Rows, rows_left) && c + vector <= columns_left)
        __stcs(reinterpret_cast<uint4*>(out + r * ldo + c), values[t]);
    }
    scalar_from = columns_left / vector * vector;
  }
  const int columns = min_of(columns_left, Config::store_n) - scalar_from;
  W8A8_NO_UNROLL
  for (int i = lane; i < min_of(Rows, rows_left) * columns; i += 32) {
    const int r = i / columns, c = scalar_from + i % columns;
    out[r * ldo + c] = staging[r * pitch + c];
  }
}

/// Epilogue and store of the warp's outputs: some rows at a time go from the
/// accumulators to the warp's staging memory, and from there to `out`.
template <class Config, class Out, class Epilogue, class Warp>
W8A8_DEVICE void sm80_gemm_store(const Sm80GemmParameters<Out, Epilogue>& p, Warp& warp,
                                 const std::int32_t (&acc)[Config::warp_m / 16][Config::warp_n / 8][4], int lane) {
  struct alignas(2 * sizeof(Out)) Pair {
    Out first, second;
  };
  constexpr int rows = sm80_gemm_staging_rows<Out>, tiles_n = Config::store_n / 8,
                batch = tiles_n % 4 == 0   ? 4
                        : tiles_n % 3 == 0 ? 3
                        : tiles_n % 2 == 0 ? 2
                                           : 1;
  static_assert(tiles_n % batch == 0, "a batch that ran over would read another warp's memory");
  Out* const staging = reinterpret_cast<Out*>(warp.staging);
  const std::int64_t m0 = warp.m0, n0 = warp.n0;
  const int rows_left = static_cast<int>(p.problem.m - m0), columns_left = static_cast<int>(p.problem.n - n0);
  if (columns_left <= 0) return;
  W8A8_UNROLL
  for (int first = 0; first < Config::warp_m; first += rows) {
    if (rows_left <= first) return;
    typename Epilogue::RowState row_states[rows / 8];
    W8A8_UNROLL
    for (int h = 0; h < rows / 8; ++h) row_states[h] = warp.rows[first + 8 * h + lane / 4];
    __syncwarp();  // the last rows have left the staging memory
    W8A8_UNROLL
    for (int j0 = 0; j0 < tiles_n; j0 += batch) {  // in batches: loads of states cannot move across stores by themselves
      typename Epilogue::ColumnState column_states[batch][2];
      Pair pairs[batch][rows / 8];
      W8A8_UNROLL
      for (int j = 0; j < batch * 2; ++j) column_states[j / 2][j % 2] = warp.columns[8 * (j0 + j / 2) + 2 * (lane % 4) + j % 2];
      W8A8_UNROLL
      for (int j = 0; j < batch; ++j) {
        W8A8_UNROLL
        for (int h = 0; h < rows / 8; ++h) {
          const int r = first + 8 * h, v = r / 8 % 2 * 2;  // accumulators v and v + 1 of a 16x8 tile are neighbours in a row
          const auto value = [&](int e) {
            const layout::Coordinate at = layout::mma_c(lane, v + e);
            return store_value<Out>(p.epilogue.apply(acc[r / 16][j0 + j][v + e], row_states[h], column_states[j][e],
                                                     m0 + r / 16 * 16 + at.row, n0 + 8 * (j0 + j) + at.column));
          };
          pairs[j][h] = Pair{value(0), value(1)};
        }
      }
      W8A8_UNROLL
      for (int j = 0; j < batch; ++j) {
        W8A8_UNROLL
        for (int h = 0; h < rows / 8; ++h) {
          *reinterpret_cast<Pair*>(staging + (8 * h + lane / 4) * Warp::pitch + 8 * (j0 + j) + 2 * (lane % 4)) = pairs[j][h];
        }
      }
    }
    __syncwarp();
    sm80_gemm_copy_out<Config, rows>(staging, Warp::pitch, p.problem.out + (m0 + first) * p.problem.ldo + n0, p.problem.ldo,
                                     rows_left - first, columns_left, p.vector_stores, lane);
  }
}

template <class Config, class Copy, class Out, class Epilogue>
__global__ void __launch_bounds__(Config::threads, Config::ctas_per_sm)
    sm80_gemm_kernel(const __grid_constant__ Sm80GemmParameters<Out, Epilogue> p) {
  using Storage = Sm80GemmStorage<Config, Out, Epilogue>;
  using Loader = Sm80GemmLoader<Config, Copy>;
  using WarpTile = Sm80GemmWarpTile<Config>;
  constexpr int stages = Config::stages, stage_bytes = Config::stage_bytes;
  // A block's copies are issued in turns, one a chunk, from a last step on through the other steps of the next block; with three
  // stages, which leave no time for that, in a last step alone.
  constexpr int turns = (stages > 3 ? Config::k_steps : 1) * WarpTile::chunks;
  constexpr int first_part = Loader::passes * WarpTile::chunks / turns;
  const auto next_stage = [](int stage) { return stage + stage_bytes == stages * stage_bytes ? 0 : stage + stage_bytes; };
  extern __shared__ __align__(1024) unsigned char shared_bytes[];
  Storage& storage = *reinterpret_cast<Storage*>(shared_bytes);

  const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  const int slice = warp % Config::warps_k, place = warp / Config::warps_k;  // depth slice and warp tile of this warp
  const int warp_row = place % Config::warps_m, warp_column = place / Config::warps_m;
  const int row = warp_row * Config::warp_m, column = warp_column * Config::warp_n + slice * Config::store_n;  // its outputs
  const int k_blocks = max_of(1, ceil_div(p.problem.k, Config::block_k));  // K = 0: one block of zeros

  const std::uint32_t buffer = ptx::shared_address(storage.stages);
  Loader loader(buffer, thread);
  WarpTile warp_tile(buffer, warp_row, warp_column, slice, lane);
  const auto tile_at = [&](int t) { return layout::grouped_raster(t, p.tiles_m, p.tiles_n, p.raster_group, false); };
  const auto start_loading = [&](layout::Tile tile) {
    loader.start(p.problem, tile);
    W8A8_NO_UNROLL
    for (int s = 0; s < stages - 1; ++s) {
      if (s >= k_blocks) loader.stop();
      loader.fetch(p.strides, p.problem.k, 0, s < stages - 2 ? Loader::passes : first_part, s * stage_bytes);
      if (s < stages - 2) {
        loader.next_block();
        ptx::cp_async_commit_group();
      }
    }
  };

  ptx::griddepcontrol_wait();
  ptx::griddepcontrol_launch_dependents();
  start_loading(tile_at(blockIdx.x));
  W8A8_NO_UNROLL
  for (int t = blockIdx.x; t < p.tiles; t += gridDim.x) {
    sm80_gemm_load_states<Config>(p, storage.warps[warp], tile_at(t), row, column, lane);
    ptx::cp_async_wait_group<stages - 3>();
    __syncthreads();
    warp_tile.start(0);
    int read = 0, write = (stages - 2) * stage_bytes;  // byte offsets of the stages being multiplied and being filled
    W8A8_NO_UNROLL
    for (int block = k_blocks; block > 0; --block) {
      const int next_read = next_stage(read);
      W8A8_UNROLL
      for (int step = 0; step < Config::k_steps; ++step) {
        const bool last = step == Config::k_steps - 1;
        if (last) {
          // The block being filled is complete: another group. The next block to multiply is in. And everybody is done with the
          // one before this, so its stage can be filled: with the block stages - 1 further on, if there is one.
          loader.next_block();
          ptx::cp_async_commit_group();
          ptx::cp_async_wait_group<stages - 3>();
          __syncthreads();
          write = next_stage(write);
          if (block < stages) loader.stop();
        }
        W8A8_UNROLL
        for (int chunk = 0; chunk < WarpTile::chunks; ++chunk) {
          const int turn = (last ? 0 : step + 1) * WarpTile::chunks + chunk;
          loader.fetch(p.strides, p.problem.k, min_of(Loader::passes, Loader::passes * turn / turns),
                       min_of(Loader::passes, Loader::passes * (turn + 1) / turns), write);
          warp_tile.multiply(chunk, step, read, last ? 0 : step + 1, last ? next_read : read);
        }
      }
      read = next_read;
    }
    ptx::cp_async_wait_group<0>();
    __syncthreads();
    auto& acc = warp_tile.accumulators;
    if constexpr (Config::warps_k > 1) sm80_gemm_add_slices<Config>(acc, &storage.stages[0][0], place, slice, lane);
    if (t + gridDim.x < p.tiles) start_loading(tile_at(t + gridDim.x));
    sm80_gemm_store<Config>(p, storage.warps[warp], acc, lane);
  }
}

/// Launches one configuration with one copy policy.
template <class Config, class Copy, class Out, class Epilogue>
void launch_sm80_gemm_kernel(const GemmProblem<Out>& problem, const Epilogue& epilogue, const GemmOptions& options,
                             const DeviceProperties& device, cudaStream_t stream) {
  const auto kernel = sm80_gemm_kernel<Config, Copy, Out, Epilogue>;
  Sm80GemmParameters<Out, Epilogue> p{problem, epilogue};
  p.strides = Sm80GemmLoader<Config, Copy>::strides(problem.ldx, problem.ldw);
  p.tiles_m = static_cast<int>(ceil_div<std::int64_t>(problem.m, Config::block_m));
  p.tiles_n = static_cast<int>(ceil_div<std::int64_t>(problem.n, Config::block_n));
  p.tiles = p.tiles_m * p.tiles_n;
  p.raster_group = sm80_gemm_raster_group(Config::block_m, Config::block_n, device.multiprocessors * Config::ctas_per_sm);
  p.vector_stores = is_aligned(problem.out, 16) && problem.ldo * sizeof(Out) % 16 == 0;
  LaunchConfig launch_config;
  launch_config.grid = static_cast<unsigned>(min_of(p.tiles, device.multiprocessors * Config::ctas_per_sm));
  launch_config.block = Config::threads;
  launch_config.shared_bytes = sizeof(Sm80GemmStorage<Config, Out, Epilogue>);
  launch_config.dependent_launch = options.dependent_launch && waits_for_dependencies(kernel);
  launch_config.stream = stream;
  launch("sm80_gemm", kernel, launch_config, p);
}

/// Launches one configuration with the copy policy that the alignment of x and w allows.
template <class Config, class Out, class Epilogue>
void launch_sm80_gemm_config(const GemmProblem<Out>& problem, const Epilogue& epilogue, const GemmOptions& options,
                             const DeviceProperties& device, cudaStream_t stream) {
  // Warp tiles beyond 64x64 leave no registers for the unaligned copy; such a problem runs in the tile that fits every device.
  using Unaligned =
      std::conditional_t<Config::warp_m * Config::warp_n <= 64 * 64, Config, Sm80GemmConfig<128, 256, 64, 3, 64, 64, 1, 1>>;
  if (is_aligned(problem.x, 16) && is_aligned(problem.w, 16) && problem.ldx % 16 == 0 && problem.ldw % 16 == 0) {
    launch_sm80_gemm_kernel<Config, CopyAligned>(problem, epilogue, options, device, stream);
  } else {
    launch_sm80_gemm_kernel<Unaligned, CopyUnaligned>(problem, epilogue, options, device, stream);
  }
}

}  // namespace detail

/// Why this kernel cannot run the problem; empty if it can.
template <class Out>
std::string sm80_gemm_refusal(const GemmProblem<Out>&, const DeviceProperties& device) {
  return device.compute_capability >= 80 ? ""
                                         : text("sm80_gemm needs compute capability 8.0, the device has ",
                                                device.compute_capability / 10, ".", device.compute_capability % 10);
}

/// Runs configuration `config_index` of Sm80GemmConfigs on `stream`. problem: checked, m, n >= 1.
template <class Out, class Epilogue>
void launch_sm80_gemm(const GemmProblem<Out>& problem, const Epilogue& epilogue, int config_index, const GemmOptions& options,
                      const DeviceProperties& device, cudaStream_t stream) {
  Sm80GemmConfigs::visit(config_index, [&](auto config) {
    detail::launch_sm80_gemm_config<decltype(config)>(problem, epilogue, options, device, stream);
  });
}

}  // namespace w8a8
