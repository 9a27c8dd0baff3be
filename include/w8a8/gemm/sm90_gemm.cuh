// GEMM on Hopper's wgmma and TMA, for many tokens (M > 128): sm_90a.
//
// One persistent CTA an SM, three warpgroups. Of the first, one thread keeps a ring of shared-memory stages filled with TMA boxes
// of X and W, 128 bytes of K each, and one warp stages the epilogue's row and column states. The other two warpgroups multiply:
// both on one tile, an upper and a lower half, or each on a tile of its own in turn (Sm90Schedule). Full and empty stages are
// signalled by mbarriers.
//
// X, W: 16-byte aligned, row strides multiples of 16 bytes; any K >= 1, because TMA fills with zeros what lies beyond K, M or N.
// Output: any type and alignment; half and bfloat16 whose rows are 16-byte aligned leave through stmatrix and TMA, all others
// through predicated stores. sm90_gemm_refusal() says what does not fit.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/gemm/config_list.hpp"
#include "w8a8/gemm/problem.hpp"
#include "w8a8/layout/raster.hpp"
#include "w8a8/layout/swizzle.hpp"
#include "w8a8/ptx/address.cuh"
#include "w8a8/ptx/barrier.cuh"
#include "w8a8/ptx/cache_policy.cuh"
#include "w8a8/ptx/cluster_memory.cuh"
#include "w8a8/ptx/dependent_launch.cuh"
#include "w8a8/ptx/matrix.cuh"
#include "w8a8/ptx/mbarrier.cuh"
#include "w8a8/ptx/setmaxnreg.cuh"
#include "w8a8/ptx/tma.cuh"
#include "w8a8/ptx/wgmma.cuh"
#include "w8a8/support/arch.hpp"
#include "w8a8/support/device.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/support/launch.cuh"
#include "w8a8/tensor/tensor_map.hpp"

namespace w8a8 {

/// How the two consumer warpgroups share the work.
enum class Sm90Schedule {
  cooperative,  ///< both on one tile, stacked along M; the tile is stored before the next one starts
  deferred,  ///< likewise, but the converted tile waits in registers and leaves chunk by chunk behind the next tile's main loop
  pingpong,  ///< each on tiles of its own, in turn: one stores while the other multiplies
  split_k,   ///< cooperative; a cluster of two CTAs shares a tile along K and adds its halves through distributed shared memory
};

/// The part of the output that a CTA (a warpgroup, with the ping-pong schedule) works on at a time.
template <int M, int N>
struct Sm90Tile {
  static constexpr int m = M, n = N;
};

/// StoreColumns: columns of one TMA store; a warp stores 16 rows at a time.
template <class Tile, Sm90Schedule Schedule,
          int StoreColumns = Tile::n % 128 == 0  ? 64
                             : Tile::n % 32 == 0 ? 32
                             : Tile::n % 48 == 0 ? 48
                                                 : Tile::n,
          int Tail = 2>
struct Sm90GemmConfig {
  static constexpr int tile_m = Tile::m, tile_n = Tile::n;
  static constexpr bool pingpong = Schedule == Sm90Schedule::pingpong;
  static constexpr bool deferred = Schedule == Sm90Schedule::deferred;
  static constexpr int cluster = Schedule == Sm90Schedule::split_k ? 2 : 1;
  static constexpr int consumers = 2;  ///< warpgroups that multiply
  static constexpr int threads = 128 * (1 + consumers);
  static constexpr int sharers = pingpong ? 1 : consumers;                           ///< warpgroups that share a tile
  static constexpr int warpgroup_m = tile_m / sharers, blocks_m = warpgroup_m / 64;  ///< 64-row blocks of a warpgroup
  static constexpr int store_columns = StoreColumns;
  static constexpr int store_buffers = StoreColumns >= 80   ? 1
                                       : StoreColumns == 32 ? 3
                                                            : 2;  ///< staged stores in flight, per warp
  static constexpr int tail = blocks_m == 2 && (Schedule == Sm90Schedule::cooperative || deferred) ? Tail : 0;
  static_assert(warpgroup_m % 64 == 0 && tile_n % StoreColumns == 0 && StoreColumns % 16 == 0, "Sm90GemmConfig: tile");
  static_assert(!deferred || blocks_m * tile_n <= 256, "Sm90GemmConfig: registers for the deferred tile");

  static std::string name() {
    constexpr const char* schedules[] = {"", "_deferred", "_pingpong", "_splitk2"};
    return "sm90_gemm/" + std::to_string(tile_m) + "x" + std::to_string(tile_n) + schedules[static_cast<int>(Schedule)];
  }
};

/// The shipped configurations; gemm/tuning/sm90_gemm.hpp refers to them by position.
using Sm90GemmConfigs = ConfigList<Sm90GemmConfig<Sm90Tile<128, 256>, Sm90Schedule::deferred>,     //
                                   Sm90GemmConfig<Sm90Tile<128, 224>, Sm90Schedule::deferred>,     //
                                   Sm90GemmConfig<Sm90Tile<128, 192>, Sm90Schedule::deferred>,     //
                                   Sm90GemmConfig<Sm90Tile<128, 144>, Sm90Schedule::cooperative>,  //
                                   Sm90GemmConfig<Sm90Tile<128, 96>, Sm90Schedule::cooperative>,   //
                                   Sm90GemmConfig<Sm90Tile<128, 80>, Sm90Schedule::cooperative>,   //
                                   Sm90GemmConfig<Sm90Tile<256, 144>, Sm90Schedule::cooperative>,  //
                                   Sm90GemmConfig<Sm90Tile<128, 128>, Sm90Schedule::pingpong>,     //
                                   Sm90GemmConfig<Sm90Tile<128, 128>, Sm90Schedule::split_k>>;

namespace detail {

inline constexpr int sm90_block_k = 128;              ///< bytes of K in a stage: one row of the 128-byte swizzle
inline constexpr int sm90_shared_bytes = 227 * 1024;  ///< what a CTA of sm_90 may use

/// Two neighbouring values of a row, side by side as memory holds them.
template <class T>
struct alignas(2 * sizeof(T) <= 16 && (sizeof(T) & (sizeof(T) - 1)) == 0 ? 2 * sizeof(T) : alignof(T)) Sm90Pair {
  T first, second;
};

/// What one call hands to the kernel, beside the tensor maps and the epilogue.
template <class Out>
struct Sm90GemmArguments {
  Out* out;
  std::int64_t ldo;
  int m, n, k_blocks;
  int tile_rows, tile_columns;
  int group;          ///< tiles of a raster group, along M
  int tma_columns;    ///< chunks that start below leave through TMA: all, none, or all but a ragged last one
  bool paired_store;  ///< an even column is aligned to two elements
  bool dependent_launch;
};

/// Everything that follows from the configuration, the output and the epilogue.
template <class Config, class OutType, class EpilogueType>
struct Sm90Gemm : Config {
  using Out = OutType;
  using Epilogue = EpilogueType;
  using RowState = typename Epilogue::RowState;
  using ColumnPair = Sm90Pair<typename Epilogue::ColumnState>;
  using Arguments = Sm90GemmArguments<Out>;
  static constexpr bool may_tma_store = sizeof(Out) == 2;
  static constexpr bool deferred = Config::deferred && may_tma_store;  // wider outputs would not fit the registers
  static constexpr int state_buffers = Config::pingpong ? Config::consumers : 1;
  static constexpr int chunk_columns = may_tma_store ? Config::store_columns : 16;  ///< converted and stored at a time
  static constexpr int store_bytes = may_tma_store ? 16 * Config::store_columns * 2 : 16;

  static constexpr int stage_bytes = (Config::tile_m + Config::tile_n) * sm90_block_k;
  static constexpr int fixed_bytes = Config::consumers * 4 * Config::store_buffers * store_bytes +
                                     state_buffers * (Config::tile_n / 2 * static_cast<int>(sizeof(ColumnPair)) +
                                                      Config::tile_m * static_cast<int>(sizeof(RowState))) +
                                     256;
  static constexpr int stages = min_of((sm90_shared_bytes - fixed_bytes) / stage_bytes, 8);
  static_assert(stages >= 2, "sm90_gemm: the epilogue's row and column states leave no room for the ring");

  struct Storage {
    alignas(1024) std::int8_t x[stages][Config::tile_m * sm90_block_k];
    alignas(1024) std::int8_t w[stages][Config::tile_n * sm90_block_k];
    alignas(1024) std::uint8_t store[Config::consumers * 4][Config::store_buffers][store_bytes];
    ColumnPair columns[state_buffers][Config::tile_n / 2];
    RowState rows[state_buffers][Config::tile_m];
    alignas(8) std::uint64_t full[stages], empty[stages];
    std::uint64_t states_full[state_buffers], states_empty[state_buffers];
    std::uint64_t turn[2];  ///< ping-pong: whose main loop is next
  };
  static_assert(sizeof(Storage) <= sm90_shared_bytes, "sm90_gemm: shared memory");
  static_assert(Config::cluster == 1 || Config::blocks_m * Config::tile_n / 4 * 4 * 256 <= static_cast<int>(sizeof(Storage::x)),
                "sm90_gemm: the split-K exchange lives in the idle ring");
};

/// A place in the ring and the parity of its current round.
template <int Stages>
struct Sm90Ring {
  int stage = 0;
  unsigned parity = 0;

  W8A8_DEVICE void advance() {
    if (++stage == Stages) stage = 0, parity ^= 1;
  }
  W8A8_DEVICE void advance(int steps) {
    const int end = stage + steps;
    parity ^= (end / Stages) & 1;
    stage = end % Stages;
  }
};

/// A CTA's share of the work: every `step`-th tile of the raster, and of each the k-blocks [k_begin, k_begin + k_blocks).
template <class G>
struct Sm90Work {
  const typename G::Arguments& arguments;
  int first, step, tiles, k_begin, k_blocks, rank;

  W8A8_DEVICE explicit Sm90Work(const typename G::Arguments& a)
      : arguments(a),
        first(blockIdx.x),
        step(gridDim.x),
        tiles(a.tile_rows * a.tile_columns),
        k_begin(0),
        k_blocks(a.k_blocks),
        rank(0) {
    if constexpr (G::cluster > 1) {
      rank = static_cast<int>(ptx::cluster_rank());
      first /= G::cluster;
      step /= G::cluster;
      k_begin = a.k_blocks * rank / G::cluster;
      k_blocks = a.k_blocks * (rank + 1) / G::cluster - k_begin;
    }
  }
  /// Element coordinates of a tile's first row and column.
  W8A8_DEVICE layout::Tile origin(int tile) const {
    const layout::Tile t = layout::grouped_raster(tile, arguments.tile_rows, arguments.tile_columns, arguments.group, false);
    return {t.row * G::tile_m, t.column * G::tile_n};
  }
};

/// The producer, one thread: fills the ring.
template <class G>
W8A8_DEVICE void sm90_produce(typename G::Storage& shared, const Sm90Work<G>& work, const CUtensorMap& x_map,
                              const CUtensorMap& w_map) {
  Sm90Ring<G::stages> ring;
  const auto load_w = [&](int stage, int k, int column) {
    const std::uint32_t full = ptx::shared_address(&shared.full[stage]);
    ptx::mbarrier_arrive_expect_tx(full, G::stage_bytes);
    ptx::tma_load_2d(ptx::shared_address(shared.w[stage]), &w_map, full, (work.k_begin + k) * sm90_block_k, column);
  };
  // With a dependent launch the weight, which no kernel in flight writes, is fetched before that kernel's results may be read.
  int ahead = 0;
  if (work.arguments.dependent_launch) {
    if (work.first < work.tiles) {
      const int column = work.origin(work.first).column;
      for (; ahead < min_of(work.k_blocks, G::stages); ++ahead) load_w(ahead, ahead, column);
    }
    ptx::griddepcontrol_launch_dependents();
    ptx::griddepcontrol_wait();
  }
  for (int tile = work.first; tile < work.tiles; tile += work.step) {
    const layout::Tile origin = work.origin(tile);
    for (int k = 0; k < work.k_blocks; ++k) {
      if (ahead > 0) {
        --ahead;
      } else {
        ptx::mbarrier_wait_parity(ptx::shared_address(&shared.empty[ring.stage]), ring.parity ^ 1);
        load_w(ring.stage, k, origin.column);
      }
      ptx::tma_load_2d(ptx::shared_address(shared.x[ring.stage]), &x_map, ptx::shared_address(&shared.full[ring.stage]),
                       (work.k_begin + k) * sm90_block_k, origin.row);
      ring.advance();
    }
  }
}

/// One warp: stages the row and column states of each tile. Rows and columns beyond the matrix repeat the last one, so that an
/// epilogue never sees an index out of range.
template <class G>
W8A8_DEVICE void sm90_stage_states(typename G::Storage& shared, const Sm90Work<G>& work, const typename G::Epilogue& epilogue) {
  const int lane = threadIdx.x % 32;
  if (work.arguments.dependent_launch) ptx::griddepcontrol_wait();
  for (int tile = work.first, i = 0; tile < work.tiles; tile += work.step, ++i) {
    const layout::Tile origin = work.origin(tile);
    const int buffer = i % G::state_buffers, use = i / G::state_buffers;
    ptx::mbarrier_wait_parity(ptx::shared_address(&shared.states_empty[buffer]), (use & 1) ^ 1);
    W8A8_UNROLL
    for (int c = lane; c < G::tile_n / 2; c += 32) {
      const int n = origin.column + 2 * c, last = work.arguments.n - 1;
      shared.columns[buffer][c] = {epilogue.column(min_of(n, last)), epilogue.column(min_of(n + 1, last))};
    }
    W8A8_UNROLL
    for (int r = lane; r < G::tile_m; r += 32)
      shared.rows[buffer][r] = epilogue.row(min_of(origin.row + r, work.arguments.m - 1));
    ptx::mbarrier_arrive(ptx::shared_address(&shared.states_full[buffer]));
  }
}

/// A part of a warpgroup's accumulators: its 64-row blocks [BlockBegin, BlockEnd), columns [ColumnBegin, ColumnEnd).
template <int BlockBegin, int BlockEnd, int ColumnBegin, int ColumnEnd>
struct Sm90Region {
  static constexpr int block_begin = BlockBegin, block_end = BlockEnd, column_begin = ColumnBegin, column_end = ColumnEnd;
};

/// One consumer warpgroup: multiplies, applies the epilogue, stores.
template <class G>
struct Sm90Consumer {
  using Out = typename G::Out;
  /// Two neighbouring outputs as bits.
  using Packed = std::conditional_t<sizeof(Out) == 2, std::uint32_t, std::uint64_t>;
  static constexpr int chunk_columns = G::chunk_columns;
  static constexpr int chunk_pairs = chunk_columns / 4;  ///< packed pairs a lane holds of 16 rows x chunk_columns

  static constexpr int middle = round_up(G::tile_n / 2, chunk_columns);
  using Whole = Sm90Region<0, G::blocks_m, 0, G::tile_n>;
  using First = std::conditional_t<G::blocks_m == 2, Sm90Region<0, 1, 0, G::tile_n>, Sm90Region<0, 1, 0, middle>>;
  using Second = std::conditional_t<G::blocks_m == 2, Sm90Region<1, 2, 0, G::tile_n>, Sm90Region<0, 1, middle, G::tile_n>>;

  typename G::Storage& shared;
  const Sm90Work<G>& work;
  const typename G::Epilogue& epilogue;
  const CUtensorMap& out_map;
  const int group, warp, lane;  ///< of the consumers; of the warpgroup; of the warp

  std::int32_t acc[G::blocks_m][G::tile_n / 2];
  Sm90Ring<G::stages> ring;
  int store_buffer = 0;
  // Deferred: the previous tile of this warp, converted; chunks from pending_chunk on are still to be stored.
  Packed pending[G::deferred ? G::blocks_m * G::tile_n / 4 : 1];
  static constexpr int chunks = G::blocks_m * G::tile_n / chunk_columns;
  int pending_row = 0, pending_column = 0, pending_chunk = chunks;

  /// Adds one stage's products to a region. In descriptors 64 rows are 8192 bytes, a k32 step 32 bytes, both counted in 16.
  template <class Region>
  W8A8_DEVICE void multiply_stage(Region, int stage, bool accumulate) {
    constexpr int width = Region::column_end - Region::column_begin;
    const int row = G::pingpong ? 0 : group * G::warpgroup_m;
    const std::uint64_t a = ptx::wgmma_descriptor(ptx::shared_address(shared.x[stage]) + row * sm90_block_k);
    const std::uint64_t b = ptx::wgmma_descriptor(ptx::shared_address(shared.w[stage]) + Region::column_begin * sm90_block_k);
    W8A8_UNROLL
    for (int k32 = 0; k32 < sm90_block_k / 32; ++k32) {
      W8A8_UNROLL
      for (int r = Region::block_begin; r < Region::block_end; ++r) {
        auto& sums = reinterpret_cast<std::int32_t(&)[width / 2]>(acc[r][Region::column_begin / 2]);
        ptx::Wgmma<width>::mma(sums, a + r * 512 + k32 * 2, b + k32 * 2, k32 > 0 || accumulate);
      }
    }
  }

  /// The products have arrived in the registers of the region: no use of them moves up across here.
  template <class Region>
  W8A8_DEVICE void touch(Region) {
    W8A8_UNROLL
    for (int r = Region::block_begin; r < Region::block_end; ++r) {
      W8A8_UNROLL
      for (int i = Region::column_begin / 2; i < Region::column_end / 2; ++i) ptx::wgmma_touch(acc[r][i]);
    }
  }

  W8A8_DEVICE void release(int stage) {
    if (warp == 0 && lane == 0) ptx::mbarrier_arrive(ptx::shared_address(&shared.empty[stage]));
  }

  /// The main loop: acc = X W^T over the first `k_blocks` k-blocks. The last of them is still in flight afterwards; returns its
  /// stage.
  W8A8_DEVICE int multiply_tile(int k_blocks) {
    int previous = 0;
    W8A8_NO_UNROLL
    for (int k = 0; k < k_blocks; ++k) {
      ptx::mbarrier_wait_parity(ptx::shared_address(&shared.full[ring.stage]), ring.parity);
      ptx::wgmma_fence();
      multiply_stage(Whole{}, ring.stage, k > 0);
      ptx::wgmma_commit_group();
      if constexpr (G::deferred) {
        if (k > 0) store_pending(false);  // hidden behind the products in flight
      }
      ptx::wgmma_wait_group<1>();  // the previous k-block has been read
      if (k > 0) release(previous);
      previous = ring.stage;
      ring.advance();
    }
    return previous;
  }

  /// The last k-blocks of a tile, first for one region and then for the other, so that the first region's epilogue runs while the
  /// second is multiplied.
  W8A8_DEVICE void multiply_tail_and_finish(int last_stage, layout::Tile origin, int tile_count) {
    const bool accumulate = work.k_blocks > G::tail;
    int stages[G::tail];
    W8A8_UNROLL
    for (int k = 0; k < G::tail; ++k, ring.advance()) {
      stages[k] = ring.stage;
      ptx::mbarrier_wait_parity(ptx::shared_address(&shared.full[ring.stage]), ring.parity);
      ptx::wgmma_fence();
      multiply_stage(First{}, stages[k], k > 0 || accumulate);
    }
    ptx::wgmma_commit_group();
    ptx::wgmma_fence();
    W8A8_UNROLL
    for (int k = 0; k < G::tail; ++k) multiply_stage(Second{}, stages[k], k > 0 || accumulate);
    ptx::wgmma_commit_group();
    if constexpr (G::deferred) store_pending(true);
    wait_for_states(tile_count);
    ptx::wgmma_wait_group<1>();
    if (accumulate) release(last_stage);
    touch(First{});
    finish(First{}, origin);
    ptx::wgmma_wait_group<0>();
    W8A8_UNROLL
    for (const int stage : stages) release(stage);
    touch(Second{});
    finish(Second{}, origin);
  }

  /// Ping-pong: main loops alternate. The full barriers' parity depends on it too: a warpgroup may not wait two rounds ahead.
  W8A8_DEVICE void wait_for_turn(int tile_count) {
    ptx::mbarrier_wait_parity(ptx::shared_address(&shared.turn[group]), (tile_count & 1) ^ (group == 0 ? 1 : 0));
  }
  W8A8_DEVICE void give_turn() {
    if (warp == 0 && lane == 0) ptx::mbarrier_arrive(ptx::shared_address(&shared.turn[group ^ 1]));
  }

  /// Split-K: CTA r of the cluster finishes the r-th half of the columns, and gives the partial sums of the other half to its
  /// peer. They go into the peer's ring, which is idle then.
  W8A8_DEVICE void exchange_partials() {
    constexpr int half = G::tile_n / 2, quads = half / 8;  // a quad: the four values of a lane in 8 columns
    const int thread = threadIdx.x - 128;
    const auto place = [&](int r, int q) { return ((r * quads + q) * 128 * G::consumers + thread) * 16; };
    const std::uint32_t own = ptx::shared_address(shared.x), peer = ptx::mapa(own, work.rank ^ 1);
    ptx::cluster_sync();
    W8A8_UNROLL
    for (int owner = 0; owner < 2; ++owner) {
      if (owner == work.rank) continue;
      W8A8_UNROLL
      for (int r = 0; r < G::blocks_m; ++r) {
        W8A8_UNROLL
        for (int q = 0; q < quads; ++q) {
          const std::int32_t* v = &acc[r][owner * half / 2 + q * 4];
          ptx::st_shared_cluster(peer + place(r, q), v[0], v[1], v[2], v[3]);
        }
      }
    }
    ptx::cluster_sync();
    W8A8_UNROLL
    for (int owner = 0; owner < 2; ++owner) {
      if (owner != work.rank) continue;
      W8A8_UNROLL
      for (int r = 0; r < G::blocks_m; ++r) {
        W8A8_UNROLL
        for (int q = 0; q < quads; ++q) {
          const int4 v = *reinterpret_cast<const int4*>(&shared.x[0][0] + place(r, q));
          std::int32_t* sum = &acc[r][owner * half / 2 + q * 4];
          sum[0] += v.x, sum[1] += v.y, sum[2] += v.z, sum[3] += v.w;
        }
      }
    }
  }

  /// Two neighbouring results, rounded to the output type.
  template <class Value>
  static W8A8_DEVICE Packed pack(Value first, Value second) {
    Packed bits;
    if constexpr (std::is_same_v<Out, half> || std::is_same_v<Out, bfloat16>) {
      static_assert(!std::is_same_v<Value, std::int32_t>, "a floating-point output needs an epilogue that dequantizes");
      // One instruction for what store_value does in two.
      if constexpr (std::is_same_v<Out, half>) {
        const __half2 pair = __floats2half2_rn(static_cast<float>(first), static_cast<float>(second));
        std::memcpy(&bits, &pair, sizeof bits);
      } else {
        const __nv_bfloat162 pair = __floats2bfloat162_rn(static_cast<float>(first), static_cast<float>(second));
        std::memcpy(&bits, &pair, sizeof bits);
      }
    } else {
      const Sm90Pair<Out> pair{store_value<Out>(first), store_value<Out>(second)};
      std::memcpy(&bits, &pair, sizeof bits);
    }
    return bits;
  }

  /// Applies the epilogue to columns [begin, begin + chunk_columns) of block r. (row, column): the tile's first element for this
  /// warp.
  W8A8_DEVICE void convert(Packed* packed, int r, int begin, const typename G::ColumnPair* columns,
                           const typename G::RowState (&rows)[2], int row, int column) const {
    const typename G::Arguments& a = work.arguments;
    W8A8_UNROLL
    for (int j = 0; j < chunk_columns / 8; ++j) {
      const int pair = begin / 2 + j * 4 + lane % 4, n = column + 2 * pair;
      const typename G::ColumnPair states = columns[pair];
      const std::int32_t* v = &acc[r][begin / 2 + j * 4];
      W8A8_UNROLL
      for (int y = 0; y < 2; ++y) {
        const int m = min_of(row + r * 64 + lane / 4 + 8 * y, a.m - 1);
        packed[2 * j + y] = pack(epilogue.apply(v[2 * y], rows[y], states.first, m, min_of(n, a.n - 1)),
                                 epilogue.apply(v[2 * y + 1], rows[y], states.second, m, min_of(n + 1, a.n - 1)));
      }
    }
  }

  /// Stores 16 rows x chunk_columns of this warp at (row, column).
  W8A8_DEVICE void store(const Packed* packed, int row, int column) {
    if constexpr (G::may_tma_store) {
      if (column < work.arguments.tma_columns) return store_through_tma(packed, row, column);
    }
    store_directly(packed, row, column);
  }

  W8A8_DEVICE void store_through_tma(const Packed* packed, int row, int column) {
    constexpr int pitch = chunk_columns * 2;
    const std::uint32_t buffer = ptx::shared_address(shared.store[group * 4 + warp][0]) + store_buffer * G::store_bytes;
    if (++store_buffer == G::store_buffers) store_buffer = 0;
    if (lane == 0) ptx::bulk_wait_group_read<G::store_buffers - 1>();
    __syncwarp();
    W8A8_UNROLL
    for (int j = 0; j < chunk_columns / 16; ++j) {
      const int stored_row = lane % 16, piece = 2 * j + lane / 16;
      int offset = stored_row * pitch + piece * 16;  // an odd multiple of 32 bytes a row spreads over the banks by itself
      if constexpr (pitch == 32 || pitch == 64 || pitch == 128) offset = layout::swizzled_offset<pitch>(stored_row, piece);
      ptx::stmatrix_x4(buffer + offset, packed[4 * j], packed[4 * j + 1], packed[4 * j + 2], packed[4 * j + 3]);
    }
    ptx::fence_proxy_async();
    __syncwarp();
    if (lane == 0) {
      ptx::tma_store_2d(&out_map, buffer, column, row);
      ptx::bulk_commit_group();
    }
  }

  W8A8_DEVICE void store_directly(const Packed* packed, int row, int column) const {
    const typename G::Arguments& a = work.arguments;
    __syncwarp();  // keeps the compiler from loading the states of all chunks at once, which would spill
    W8A8_UNROLL
    for (int i = 0; i < chunk_pairs; ++i) {
      const int m = row + lane / 4 + 8 * (i % 2), n = column + 8 * (i / 2) + 2 * (lane % 4);
      if (m >= a.m || n >= a.n) continue;
      Out* const out = a.out + m * a.ldo + n;
      if (a.paired_store && n + 1 < a.n) {
        *reinterpret_cast<Packed*>(out) = packed[i];
      } else {
        Sm90Pair<Out> pair;
        std::memcpy(&pair, &packed[i], sizeof pair);
        out[0] = pair.first;
        if (n + 1 < a.n) out[1] = pair.second;
      }
    }
  }

  /// Stores the next chunk of the deferred tile, or all that are left.
  W8A8_DEVICE void store_pending(bool all) {
    if (pending_chunk == chunks) return;
    W8A8_UNROLL
    for (int chunk = 0; chunk < chunks; ++chunk) {
      constexpr int per_block = G::tile_n / chunk_columns;
      if (all ? chunk >= pending_chunk : chunk == pending_chunk) {
        store(&pending[chunk * chunk_pairs], pending_row + chunk / per_block * 64,
              pending_column + chunk % per_block * chunk_columns);
      }
    }
    pending_chunk = all ? chunks : pending_chunk + 1;
  }

  W8A8_DEVICE void wait_for_states(int tile_count) {
    ptx::mbarrier_wait_parity(ptx::shared_address(&shared.states_full[G::pingpong ? group : 0]), tile_count & 1);
  }

  /// Applies the epilogue to a region of the tile and stores it, now or later.
  template <class Region>
  W8A8_DEVICE void finish(Region, layout::Tile origin) {
    const int buffer = G::pingpong ? group : 0;
    const int warp_row = (G::pingpong ? 0 : group * G::warpgroup_m) + warp * 16;  // within the tile
    const int row = origin.row + warp_row;
    W8A8_UNROLL
    for (int r = Region::block_begin; r < Region::block_end; ++r) {
      const typename G::RowState* states = &shared.rows[buffer][warp_row + r * 64 + lane / 4];
      const typename G::RowState rows[2] = {states[0], states[8]};
      W8A8_UNROLL
      for (int begin = Region::column_begin; begin < Region::column_end; begin += chunk_columns) {
        if (G::cluster > 1 && begin / (G::tile_n / G::cluster) != work.rank) continue;
        if constexpr (G::deferred) {
          convert(&pending[(r * G::tile_n + begin) / 4], r, begin, shared.columns[buffer], rows, row, origin.column);
        } else {
          Packed packed[chunk_pairs];
          convert(packed, r, begin, shared.columns[buffer], rows, row, origin.column);
          store(packed, row + r * 64, origin.column + begin);
        }
      }
    }
    if constexpr (G::deferred) pending_row = row, pending_column = origin.column, pending_chunk = 0;
    if (Region::block_end == G::blocks_m && Region::column_end == G::tile_n) {
      __syncwarp();
      if (lane == 0) ptx::mbarrier_arrive(ptx::shared_address(&shared.states_empty[buffer]));
    }
  }

  W8A8_DEVICE void run() {
    const int turns = G::pingpong ? G::consumers : 1, own_turn = G::pingpong ? group : 0;
    if (own_turn > 0) ring.advance(work.k_blocks);  // ping-pong: the other warpgroup's k-blocks
    int tile_count = 0;
    for (int tile = work.first + own_turn * work.step; tile < work.tiles; tile += turns * work.step, ++tile_count) {
      const layout::Tile origin = work.origin(tile);
      if constexpr (G::tail > 0) {
        const int last_stage = multiply_tile(work.k_blocks - G::tail);
        multiply_tail_and_finish(last_stage, origin, tile_count);
      } else {
        if constexpr (G::pingpong) wait_for_turn(tile_count);
        const int last_stage = multiply_tile(work.k_blocks);
        if constexpr (G::pingpong) give_turn(), ring.advance(work.k_blocks);
        ptx::wgmma_wait_group<0>();
        release(last_stage);
        touch(Whole{});
        if constexpr (G::cluster > 1) exchange_partials();
        if constexpr (G::deferred) store_pending(true);
        wait_for_states(tile_count);
        finish(Whole{}, origin);
      }
    }
    if constexpr (G::deferred) store_pending(true);
    if (lane == 0) ptx::bulk_wait_group_read<0>();  // the staging buffers must outlive the stores' reads
  }
};

template <class G>
W8A8_DEVICE void sm90_init_barriers(typename G::Storage& shared) {
  const auto init = [](std::uint64_t& barrier, int arrivals) { ptx::mbarrier_init(ptx::shared_address(&barrier), arrivals); };
  for (int stage = 0; stage < G::stages; ++stage) {
    init(shared.full[stage], 1);
    init(shared.empty[stage], G::sharers);
  }
  for (int buffer = 0; buffer < G::state_buffers; ++buffer) {
    init(shared.states_full[buffer], 32);
    init(shared.states_empty[buffer], G::sharers * 4);
  }
  for (std::uint64_t& turn : shared.turn) init(turn, 1);
  ptx::fence_mbarrier_init();
}

template <class G>
__global__ void __launch_bounds__(arch::launch_bound(arch::has_wgmma, G::threads), 1)
    sm90_gemm_kernel(const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map,
                     const __grid_constant__ CUtensorMap out_map, const typename G::Arguments arguments,
                     const typename G::Epilogue epilogue) {
  if constexpr (arch::has_wgmma) {
    extern __shared__ __align__(1024) std::uint8_t sm90_shared[];
    auto& shared = *reinterpret_cast<typename G::Storage*>(sm90_shared);
    const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0),
              lane = threadIdx.x % 32;  // uniform over the warp, and known to be
    const Sm90Work<G> work(arguments);
    // The producer does not wait for anybody: it initialises the barriers, says so, and starts to load.
    if (warp == 0) {
      if (lane == 0) {
        ptx::prefetch_tensormap(&x_map);
        ptx::prefetch_tensormap(&w_map);
        sm90_init_barriers<G>(shared);
      }
      __syncwarp();
      ptx::bar_arrive(1, G::threads);
    } else {
      ptx::bar_sync(1, G::threads);
    }
    if (warp < 4) {
      ptx::setmaxnreg_dec<40>();
      if (warp == 0 && lane == 0) sm90_produce<G>(shared, work, x_map, w_map);
      if (warp == 1) sm90_stage_states<G>(shared, work, epilogue);
    } else {
      ptx::setmaxnreg_inc<232>();
      Sm90Consumer<G>{shared, work, epilogue, out_map, warp / 4 - 1, warp % 4, lane}.run();
    }
  }
}

template <class Config, class Out, class Epilogue>
void launch_sm90_config(const GemmProblem<Out>& problem, const Epilogue& epilogue, const GemmOptions& options,
                        const DeviceProperties& device, cudaStream_t stream) {
  using G = Sm90Gemm<Config, Out, Epilogue>;
  const std::uint64_t m = problem.m, n = problem.n, k = problem.k;
  const auto operand_map = [&](const std::int8_t* data, std::uint64_t rows, std::int64_t stride, std::uint32_t box_rows) {
    return encode_tensor_map<2>(CU_TENSOR_MAP_DATA_TYPE_UINT8, data, {k, rows}, {static_cast<std::uint64_t>(stride)},
                                {sm90_block_k, box_rows});
  };
  const CUtensorMap x_map = operand_map(problem.x, m, problem.ldx, Config::tile_m);
  const CUtensorMap w_map = operand_map(problem.w, n, problem.ldw, Config::tile_n);
  CUtensorMap out_map{};
  const bool tma_store = G::may_tma_store && is_aligned(problem.out, 16) && problem.ldo % 8 == 0;
  if (tma_store) {
    constexpr int bytes = Config::store_columns * 2;
    TensorMapBox box;
    box.swizzle = bytes == 128  ? CU_TENSOR_MAP_SWIZZLE_128B
                  : bytes == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
                  : bytes == 32 ? CU_TENSOR_MAP_SWIZZLE_32B
                                : CU_TENSOR_MAP_SWIZZLE_NONE;
    // Any 16-bit type would do: the map only moves bits.
    out_map =
        encode_tensor_map<2>(CU_TENSOR_MAP_DATA_TYPE_UINT16, problem.out, {n, m}, {static_cast<std::uint64_t>(problem.ldo) * 2},
                             {static_cast<std::uint32_t>(Config::store_columns), 16}, box);
  }
  Sm90GemmArguments<Out> arguments{};
  arguments.out = problem.out;
  arguments.ldo = problem.ldo;
  arguments.m = problem.m;
  arguments.n = problem.n;
  // The consumers count on two k-blocks; what lies beyond K arrives as zeros.
  arguments.k_blocks = max_of(ceil_div(problem.k, sm90_block_k), 2);
  arguments.tile_rows = ceil_div(problem.m, Config::tile_m);
  arguments.tile_columns = ceil_div(problem.n, Config::tile_n);
  arguments.group = 8;
  // TMA writes whole 16-byte pieces: the last chunk of an N that is no multiple of 8 would overwrite what follows the row.
  arguments.tma_columns = !tma_store ? 0 : problem.n % 8 == 0 ? problem.n : problem.n - Config::store_columns + 1;
  arguments.paired_store = is_aligned(problem.out, 2 * sizeof(Out)) && problem.ldo % 2 == 0;
  arguments.dependent_launch = options.dependent_launch;

  const int tiles = arguments.tile_rows * arguments.tile_columns;
  LaunchConfig config;
  // Persistent, except that split-K has no second tile: its ring becomes the exchange buffer.
  config.grid = static_cast<unsigned>(Config::cluster > 1 ? tiles * Config::cluster : min_of(tiles, device.multiprocessors));
  config.block = Config::threads;
  config.cluster = Config::cluster;
  config.shared_bytes = sizeof(typename G::Storage);
  config.dependent_launch = options.dependent_launch;
  config.stream = stream;
  launch(Config::name().c_str(), sm90_gemm_kernel<G>, config, x_map, w_map, out_map, arguments, epilogue);
}

}  // namespace detail

/// Why this kernel cannot run the problem on the device; empty if it can.
template <class Out>
std::string sm90_gemm_refusal(const GemmProblem<Out>& problem, const DeviceProperties& device) {
  if (device.compute_capability != 90)
    return text("sm90_gemm needs compute capability 9.0, the device has ", device.compute_capability / 10, ".",
                device.compute_capability % 10);
  if (device.shared_memory_per_block < detail::sm90_shared_bytes) return "sm90_gemm needs 227 KB of shared memory a block";
  if (problem.k < 1) return "sm90_gemm needs K >= 1";
  if (!is_aligned(problem.x, 16) || problem.ldx % 16 != 0) return "sm90_gemm needs x and its row stride aligned to 16 bytes";
  if (!is_aligned(problem.w, 16) || problem.ldw % 16 != 0) return "sm90_gemm needs w and its row stride aligned to 16 bytes";
  // Tile coordinates are ints, and so is the number of tiles.
  constexpr std::int64_t limit = 0x7fffffff - 512;
  if (problem.m > limit || problem.n > limit) return text("sm90_gemm needs M and N of at most ", limit);
  if (ceil_div<std::int64_t>(problem.m, 64) * ceil_div<std::int64_t>(problem.n, 64) > limit / 2)
    return "sm90_gemm needs fewer than 2^30 tiles";
  return "";
}

/// True where the program holds code of this kernel for the current device.
template <class Config, class Out, class Epilogue>
bool sm90_gemm_is_compiled() {
  return is_compiled_for_device(detail::sm90_gemm_kernel<detail::Sm90Gemm<Config, Out, Epilogue>>, Config::threads);
}

/// out = epilogue(X W^T), asynchronously on `stream`. Preconditions: m, n >= 1, sm90_gemm_refusal() is empty, config_index is a
/// position in Sm90GemmConfigs. Throws CudaError where the launch is refused.
template <class Out, class Epilogue>
void launch_sm90_gemm(const GemmProblem<Out>& problem, const Epilogue& epilogue, int config_index, const GemmOptions& options,
                      const DeviceProperties& device, cudaStream_t stream) {
  Sm90GemmConfigs::visit(config_index, [&](auto config) {
    detail::launch_sm90_config<decltype(config)>(problem, epilogue, options, device, stream);
  });
}

}  // namespace w8a8
