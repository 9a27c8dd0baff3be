// sm80_gemm: the general INT8 GEMM, on mma.sync m16n8k32. Runs on sm_80 and everything newer, for any M, N >= 1, K >= 0, any row
// stride and any alignment of x and w.
//
// A CTA computes one output tile. Its stages of BlockM + BlockN rows of BlockK bytes are filled by cp.async, several k-blocks
// ahead, in swizzled order; warps read them with ldmatrix, one fragment ahead of the mma that needs it. Everything beyond M, N
// and K is filled with zeros, so sums stay exact and nothing outside the tensors is read. The result goes through the epilogue
// into a small staging tile of each warp and from there to global memory in 16-byte rows.
//
// Splitting K over CTAs (few tiles, long K) goes through a workspace: partial int32 tiles are added by the CTA that comes last.
// Integers: the order of arrival cannot change a bit.
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
  Sm80GemmStrides strides;
  int tiles_m, tiles_n;  ///< the grid of output tiles
  int raster_group;      ///< tile rows a raster group
  bool vector_stores;    ///< every row of `out` starts at a multiple of 16 bytes
};

/// Shared memory of one CTA. The stages are dead once the main loop is over: the depth slices and the staging tiles reuse them.
template <class Config, class Out, class Epilogue>
struct Sm80GemmStorage {
  using RowState = typename Epilogue::RowState;
  using ColumnState = typename Epilogue::ColumnState;
  /// 8 elements of padding put the eight rows that a warp writes at a time into different banks.
  static constexpr int staging_pitch = Config::store_n + 8;
  static constexpr int staging_bytes = Config::warps * 16 * staging_pitch * static_cast<int>(sizeof(Out));
  static constexpr int slice_bytes = (Config::warps_k - 1) * Config::warps * Config::warp_m * Config::store_n * 4;
  static constexpr int bytes = max_of(Config::stages * Config::stage_bytes, max_of(staging_bytes, slice_bytes));

  alignas(1024) unsigned char buffer[bytes];
  alignas(16) RowState rows[Config::block_m];
  alignas(16) ColumnState columns[Config::block_n];
  int m0, n0;  ///< where the tile begins; kept here because the main loop leaves no register for it
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
    std::uint32_t words[4] = {};
    if (before >= 4 && after >= 20) {  // the five aligned words around the piece lie inside the row
      const auto* aligned = reinterpret_cast<const std::uint32_t*>(source - misalignment);
      std::uint32_t low = aligned[0];
      W8A8_UNROLL
      for (int i = 0; i < 4; ++i) {
        const std::uint32_t high = aligned[i + 1];
        words[i] = __funnelshift_r(low, high, 8 * misalignment);
        low = high;
      }
    } else {
      W8A8_UNROLL
      for (int b = 0; b < 16; ++b) {
        if (b < valid) words[b / 4] |= static_cast<std::uint32_t>(static_cast<std::uint8_t>(source[b])) << (8 * (b % 4));
      }
    }
    ptx::st_shared_16(destination, words);
  }
};

/// Brings k-blocks of the CTA's rows of x and w into the stages. Thread t copies 16-byte piece t % pieces of row t / pieces, and
/// of every row_step-th row after it.
template <class Config, class Copy>
class Sm80GemmLoader {
  static constexpr int pieces = Config::block_k / 16, row_step = Config::threads / pieces;
  static constexpr int passes_x = ceil_div(Config::block_m, row_step), passes_w = ceil_div(Config::block_n, row_step);
  static_assert(row_step % 8 == 0, "the swizzle of a thread's rows is the same");

 public:
  static constexpr int passes = passes_x + passes_w;

  /// For the tile at (m0, n0), from depth `k_begin` on. `stages`: the shared address of the first stage.
  template <class Out>
  W8A8_DEVICE Sm80GemmLoader(const GemmProblem<Out>& problem, int m0, int n0, int k_begin, int k_end, std::uint32_t stages,
                             int thread) {
    const int row = thread / pieces, k = k_begin + thread % pieces * 16;
    x_ = problem.x + (m0 + static_cast<std::int64_t>(row)) * problem.ldx + k;
    w_ = problem.w + (n0 + static_cast<std::int64_t>(row)) * problem.ldw + k;
    rows_x_ = min_of(problem.m - m0, Config::block_m) - row;
    rows_w_ = min_of(problem.n - n0, Config::block_n) - row;
    after_ = k_end - k;
    destination_ = stages + layout::swizzled_offset<Config::block_k>(row, thread % pieces);
  }

  /// Issues passes first .. last - 1 of a k-block into the stage at byte `stage`, x's rows first. What lies beyond K becomes
  /// zeros. Rows beyond M and N are left as they are: they reach only sums that are not stored. Passes are taken in order, and
  /// next_block() follows the last: the pointers walk down the rows and jump back, which leaves nothing to keep but themselves.
  W8A8_DEVICE void fetch(const Sm80GemmStrides& strides, int k_end, int first, int last, int stage) {
    const int valid = max_of(0, min_of(16, after_));
    W8A8_UNROLL
    for (int p = 0; p < passes; ++p) {
      if (p < first || p >= last) continue;
      const bool is_x = p < passes_x;
      const int row = (is_x ? p : p - passes_x) * row_step;
      if (row < (is_x ? rows_x_ : rows_w_)) {
        Copy::piece(destination_ + stage + (is_x ? 0 : Config::block_m * Config::block_k) + row * Config::block_k, is_x ? x_ : w_,
                    valid, k_end - after_, after_);
      }
      x_ += p < passes_x - 1 ? strides.step_x : p == passes_x - 1 ? strides.back_x : 0;
      w_ += p < passes_x ? 0 : p < passes - 1 ? strides.step_w : strides.back_w;
    }
  }

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
  std::int32_t accumulators[tiles_m][Config::warp_n / 8][4] = {};

  W8A8_DEVICE Sm80GemmWarpTile(std::uint32_t stages, int warp_row, int warp_column, int slice, int lane) {
    const layout::Coordinate a = layout::ldmatrix_16x32(lane), b = layout::ldmatrix_2x8x32(lane);
    x_ = stages + warp_row * Config::warp_m * Config::block_k +
         layout::swizzled_offset<Config::block_k>(a.row, 2 * slice + a.column);
    w_ = stages + (Config::block_m + warp_column * Config::warp_n) * Config::block_k +
         layout::swizzled_offset<Config::block_k>(b.row, 2 * slice + b.column);
  }

  /// Loads the fragments of the first chunk.
  W8A8_DEVICE void start() {
    W8A8_UNROLL
    for (int i = 0; i < tiles_m; ++i) load_a(a_[i], i, 0, 0);
    load_b(b_, 0, 0, 0);
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
/// first store_n / 8 column tiles of its accumulators. `buffer` is free before and after.
template <class Config>
W8A8_DEVICE void sm80_gemm_add_slices(std::int32_t (&acc)[Config::warp_m / 16][Config::warp_n / 8][4], unsigned char* buffer,
                                      int tile, int slice, int lane) {
  constexpr int tiles_m = Config::warp_m / 16, tiles_n = Config::store_n / 8, slices = Config::warps_k;
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

/// Epilogue and store of one warp's sums, 16 rows at a time: fragments to the warp's staging tile, from there to `out`.
/// (row, column): where the warp's outputs begin in the CTA's tile at (m0, n0).
template <class Config, class Out, class Epilogue>
W8A8_DEVICE void sm80_gemm_store(const Sm80GemmParameters<Out, Epilogue>& p, Sm80GemmStorage<Config, Out, Epilogue>& storage,
                                 const std::int32_t (&acc)[Config::warp_m / 16][Config::warp_n / 8][4], int row, int column,
                                 int warp, int lane) {
  using Storage = Sm80GemmStorage<Config, Out, Epilogue>;
  struct alignas(2 * sizeof(Out)) Pair {
    Out first, second;
  };
  constexpr int pitch = Storage::staging_pitch, vector = 16 / static_cast<int>(sizeof(Out)), vectors = Config::store_n / vector;
  Out* const staging = reinterpret_cast<Out*>(storage.buffer) + warp * 16 * pitch;
  const std::int64_t m0 = storage.m0, n0 = storage.n0, columns_left = p.problem.n - n0 - column;
  W8A8_UNROLL
  for (int i = 0; i < Config::warp_m / 16; ++i) {
    const int block_row = row + 16 * i;
    const std::int64_t rows_left = p.problem.m - m0 - block_row;
    if (rows_left <= 0 || columns_left <= 0) return;
    __syncwarp();
    W8A8_UNROLL
    for (int v1 = 0; v1 < 2; ++v1) {
      W8A8_UNROLL
      for (int j = 0; j < Config::store_n / 8; ++j) {
        const layout::Coordinate at = layout::mma_c(lane, 2 * v1);
        const int r = block_row + at.row, c = column + 8 * j + at.column;
        const auto value = [&](int v0) {
          return store_value<Out>(
              p.epilogue.apply(acc[i][j][2 * v1 + v0], storage.rows[r], storage.columns[c + v0], m0 + r, n0 + c + v0));
        };
        *reinterpret_cast<Pair*>(staging + at.row * pitch + 8 * j + at.column) = Pair{value(0), value(1)};
      }
    }
    __syncwarp();
    Out* const out = p.problem.out + (m0 + block_row) * p.problem.ldo + n0 + column;
    if (p.vector_stores) {
      W8A8_UNROLL
      for (int t = 0; t < ceil_div(16 * vectors, 32); ++t) {
        const int r = (lane + 32 * t) / vectors, c = (lane + 32 * t) % vectors * vector;
        if (r >= 16 || r >= rows_left) continue;
        const Out* const from = staging + r * pitch + c;
        Out* const to = out + r * p.problem.ldo + c;
        if (c + vector <= columns_left) {
          *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from);
        } else {
          for (int e = 0; c + e < columns_left; ++e) to[e] = from[e];
        }
      }
    } else {
      W8A8_NO_UNROLL
      for (int t = lane; t < 16 * Config::store_n; t += 32) {
        const int r = t / Config::store_n, c = t % Config::store_n;
        if (r < rows_left && c < columns_left) out[r * p.problem.ldo + c] = staging[r * pitch + c];
      }
    }
  }
}

template <class Config, class Copy, class Out, class Epilogue>
__global__ void __launch_bounds__(Config::threads, Config::ctas_per_sm)
    sm80_gemm_kernel(const __grid_constant__ Sm80GemmParameters<Out, Epilogue> p) {
  using Storage = Sm80GemmStorage<Config, Out, Epilogue>;
  using Loader = Sm80GemmLoader<Config, Copy>;
  using WarpTile = Sm80GemmWarpTile<Config>;
  constexpr int stages = Config::stages, stage_bytes = Config::stage_bytes, last_step = Config::k_steps - 1;
  extern __shared__ __align__(1024) unsigned char shared_bytes[];
  Storage& storage = *reinterpret_cast<Storage*>(shared_bytes);

  const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  const int slice = warp % Config::warps_k, tile = warp / Config::warps_k;  // depth slice and warp tile of this warp
  const int warp_row = tile % Config::warps_m, warp_column = tile / Config::warps_m;
  const layout::Tile at = layout::grouped_raster(blockIdx.x, p.tiles_m, p.tiles_n, p.raster_group, false);
  const int m0 = at.row * Config::block_m, n0 = at.column * Config::block_n;
  const int k_blocks = max_of(1, ceil_div(p.problem.k, Config::block_k));  // K = 0: one block of zeros

  ptx::griddepcontrol_wait();
  ptx::griddepcontrol_launch_dependents();
  const std::uint32_t buffer = ptx::shared_address(storage.buffer);
  Loader loader(p.problem, m0, n0, 0, p.problem.k, buffer, thread);
  W8A8_NO_UNROLL
  for (int s = 0; s < stages - 1; ++s) {
    loader.fetch(p.strides, p.problem.k, 0, Loader::passes, s * stage_bytes);
    loader.next_block();
    ptx::cp_async_commit_group();
  }
  // Each state is loaded once a CTA, while the first stages are under way. Rows and columns beyond the edge repeat the last one.
  if constexpr (!std::is_empty_v<typename Storage::RowState>) {
    for (int r = thread; r < Config::block_m; r += Config::threads)
      storage.rows[r] = p.epilogue.row(min_of(r, p.problem.m - 1 - m0) + static_cast<std::int64_t>(m0));
  }
  if constexpr (!std::is_empty_v<typename Storage::ColumnState>) {
    for (int c = thread; c < Config::block_n; c += Config::threads)
      storage.columns[c] = p.epilogue.column(min_of(c, p.problem.n - 1 - n0) + static_cast<std::int64_t>(n0));
  }

  if (thread == 0) storage.m0 = m0, storage.n0 = n0;

  WarpTile warp_tile(buffer, warp_row, warp_column, slice, lane);
  ptx::cp_async_wait_group<stages - 2>();
  __syncthreads();
  warp_tile.start();
  int read = 0, write = (stages - 1) * stage_bytes;  // byte offsets of the stage being multiplied and of the one to be filled
  W8A8_NO_UNROLL
  for (int block = k_blocks; block > 0; --block) {
    const int next_read = read + stage_bytes == stages * stage_bytes ? 0 : read + stage_bytes;
    W8A8_UNROLL
    for (int step = 0; step < Config::k_steps; ++step) {
      const bool last = step == last_step;
      if (last) {  // the next block is in, and everybody is done with the one before this: its stage may be filled
        ptx::cp_async_wait_group<stages - 3>();
        __syncthreads();
      }
      W8A8_UNROLL
      for (int chunk = 0; chunk < WarpTile::chunks; ++chunk) {
        if (last)
          loader.fetch(p.strides, p.problem.k, Loader::passes * chunk / WarpTile::chunks,
                       Loader::passes * (chunk + 1) / WarpTile::chunks, write);
        warp_tile.multiply(chunk, step, read, last ? 0 : step + 1, last ? next_read : read);
      }
    }
    loader.next_block();
    ptx::cp_async_commit_group();
    write = read;
    read = next_read;
  }
  ptx::cp_async_wait_group<0>();
  __syncthreads();

  auto& acc = warp_tile.accumulators;
  if constexpr (Config::warps_k > 1) sm80_gemm_add_slices<Config>(acc, storage.buffer, tile, slice, lane);
  sm80_gemm_store<Config>(p, storage, acc, warp_row * Config::warp_m, warp_column * Config::warp_n + slice * Config::store_n,
                          warp, lane);
}

/// Launches one configuration.
template <class Config, class Out, class Epilogue>
void launch_sm80_gemm_config(const GemmProblem<Out>& problem, const Epilogue& epilogue, const GemmOptions& options,
                             const DeviceProperties& device, cudaStream_t stream) {
  const auto run = [&](auto copy) {
    const auto kernel = sm80_gemm_kernel<Config, decltype(copy), Out, Epilogue>;
    Sm80GemmParameters<Out, Epilogue> p{problem, epilogue, {}, 0, 0, 0, 0, false};
    p.strides = detail::Sm80GemmLoader<Config, decltype(copy)>::strides(problem.ldx, problem.ldw);
    p.tiles_m = static_cast<int>(ceil_div<std::int64_t>(problem.m, Config::block_m));
    p.tiles_n = static_cast<int>(ceil_div<std::int64_t>(problem.n, Config::block_n));
    p.raster_group = sm80_gemm_raster_group(Config::block_m, Config::block_n, device.multiprocessors * Config::ctas_per_sm);
    p.vector_stores = is_aligned(problem.out, 16) && problem.ldo * sizeof(Out) % 16 == 0;
    LaunchConfig launch_config;
    launch_config.grid = static_cast<unsigned>(static_cast<std::int64_t>(p.tiles_m) * p.tiles_n);
    launch_config.block = Config::threads;
    launch_config.shared_bytes = sizeof(Sm80GemmStorage<Config, Out, Epilogue>);
    launch_config.dependent_launch = options.dependent_launch && waits_for_dependencies(kernel);
    launch_config.stream = stream;
    launch("sm80_gemm", kernel, launch_config, p);
  };
  const bool aligned = is_aligned(problem.x, 16) && is_aligned(problem.w, 16) && problem.ldx % 16 == 0 && problem.ldw % 16 == 0;
  aligned ? run(CopyAligned{}) : run(CopyUnaligned{});
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
