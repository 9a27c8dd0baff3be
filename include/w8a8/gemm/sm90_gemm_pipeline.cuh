// sm90_gemm's shared memory and what fills it: the ring of operand stages, and the epilogue's row and column states.
#pragma once

#include <cstdint>
#include <type_traits>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/layout/raster.hpp"
#include "w8a8/ptx/address.cuh"
#include "w8a8/ptx/barrier.cuh"
#include "w8a8/ptx/cache_policy.cuh"
#include "w8a8/ptx/dependent_launch.cuh"
#include "w8a8/ptx/mbarrier.cuh"
#include "w8a8/ptx/tma.cuh"
#include "w8a8/support/config.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8::detail {

inline constexpr int sm90_block_k = 128;              ///< bytes of K in a stage: one row of the 128-byte swizzle
inline constexpr int sm90_raster_rows = 8;            ///< tiles of a raster group, along M
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
  int first_column;  ///< of the product; n is where its columns end
  int tile_rows, tile_columns;
  layout::GroupedRaster raster;
  int tma_columns;     ///< chunks that start below leave through TMA: all, none, or all but a ragged last one
  bool paired_store;   ///< an even column is aligned to two elements
  bool stream_weight;  ///< the weight is read once: it need not stay in L2
  bool stream_output;  ///< the output is too large to stay in L2
  bool dependent_launch;
};

/// The tensor maps of one call. Tiles at the matrix' edges have maps of their own, whose boxes end there: TMA takes some four
/// clocks for a row outside of the matrix, twice as many as for one inside. Behind a low box the stage holds what it held before:
/// products that are never stored.
struct Sm90Maps {
  CUtensorMap x, w, out, last_x, last_w;
};

/// Everything that follows from the configuration, the output and the epilogue.
template <class Config, class OutType, class EpilogueType>
struct Sm90Gemm : Config {
  using Out = OutType;
  using Epilogue = EpilogueType;
  using RowState = typename Epilogue::RowState;
  using ColumnState = typename Epilogue::ColumnState;
  using ColumnPair = Sm90Pair<ColumnState>;
  using Arguments = Sm90GemmArguments<Out>;
  static constexpr bool gated = is_gated_v<Epilogue>;
  static constexpr int ratio = gated ? 2 : 1;            ///< columns of the product that make one of the output
  static constexpr int out_n = Config::tile_n / ratio;   ///< output columns of a tile
  static constexpr int share_n = out_n / Config::split;  ///< those that a CTA finishes
  static constexpr bool may_tma_store = sizeof(Out) == 2;
  /// Columns of one TMA store (a warp stores 16 rows at a time), and how many stores of a warp are in flight.
  static constexpr int store_columns = Config::accumulators >= 192 ? 32 / ratio  // hardly a register is left
                                       : share_n % 64 == 0         ? 64
                                       : share_n % 32 == 0         ? 32
                                       : share_n % 48 == 0         ? 48
                                                                   : share_n;
  static constexpr int store_buffers = store_columns >= 80 ? 1 : store_columns == 32 ? 3 : 2;
  static constexpr bool deferred = Config::deferred && may_tma_store;  // wider outputs would not fit the registers
  static constexpr int state_buffers = Config::pingpong ? Config::consumers : 1;
  static constexpr int chunk_columns = may_tma_store ? store_columns : 16 / ratio;  ///< converted and stored at a time
  static constexpr int store_bytes = may_tma_store ? 16 * store_columns * 2 : 16;

  static constexpr int stage_bytes = (Config::tile_m + Config::tile_n) * sm90_block_k;
  static constexpr int state_bytes = state_buffers * (Config::tile_n / 2 * static_cast<int>(sizeof(ColumnPair)) +
                                                      Config::tile_m * static_cast<int>(sizeof(RowState)));
  static constexpr int fixed_bytes = Config::consumers * 4 * store_buffers * store_bytes + state_bytes + 256;
  static constexpr int stages = min_of((sm90_shared_bytes - fixed_bytes) / stage_bytes, 8);
  static_assert(stages >= 2, "sm90_gemm: the epilogue's row and column states leave no room for the ring");

  /// Partial sums that a CTA of a split gets from its peer.
  static constexpr int exchange_bytes = Config::tile_m * Config::tile_n / 2 * static_cast<int>(sizeof(std::int32_t));

  struct Storage {
    alignas(1024) std::int8_t x[stages][Config::tile_m * sm90_block_k];
    alignas(1024) std::int8_t w[stages][Config::tile_n * sm90_block_k];
    alignas(1024) std::uint8_t store[Config::consumers * 4][store_buffers][store_bytes];
    ColumnPair columns[state_buffers][Config::tile_n / 2];
    RowState rows[state_buffers][Config::tile_m];
    alignas(8) std::uint64_t full[stages], empty[stages];
    std::uint64_t states_full[state_buffers], states_empty[state_buffers];
    std::uint64_t turn[2];               ///< ping-pong: whose main loop is next
    std::uint64_t peer_done, exchanged;  ///< split-K: the peer's ring is idle; the peer's partial sums have come
  };
  static_assert(sizeof(Storage) <= sm90_shared_bytes, "sm90_gemm: shared memory");
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
  if constexpr (G::split > 1) {
    init(shared.peer_done, G::sharers);
    init(shared.exchanged, 1);
  }
  ptx::fence_mbarrier_init();
  if constexpr (G::split > 1) ptx::mbarrier_arrive_expect_tx(ptx::shared_address(&shared.exchanged), G::exchange_bytes);
}

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
    if constexpr (G::split > 1) {
      rank = static_cast<int>(ptx::cluster_rank());
      first /= G::split;
      step /= G::split;
      k_begin = a.k_blocks * rank / G::split;
      k_blocks = a.k_blocks * (rank + 1) / G::split - k_begin;
    }
  }
  /// Element coordinates of a tile's first row and column.
  W8A8_DEVICE layout::Tile origin(int tile) const {
    const layout::Tile at = arguments.raster.at(tile);
    return {at.row * G::tile_m, arguments.first_column + at.column * G::tile_n};
  }
};

/// What a tile's loads have in common.
template <class G>
struct Sm90TileLoad {
  layout::Tile origin;
  const CUtensorMap *x, *w;
  int bytes;  ///< of a stage

  W8A8_DEVICE Sm90TileLoad(const Sm90Work<G>& work, const Sm90Maps& maps, int tile) : origin(work.origin(tile)) {
    const int rows = min_of(work.arguments.m - origin.row, G::tile_m),
              columns = min_of(work.arguments.n - origin.column, G::tile_n);
    x = rows < G::tile_m ? &maps.last_x : &maps.x;
    w = columns < G::tile_n ? &maps.last_w : &maps.w;
    bytes = (rows + columns) * sm90_block_k;
  }
};

/// The producer, one thread: fills the ring.
template <class G>
W8A8_DEVICE void sm90_produce(typename G::Storage& shared, const Sm90Work<G>& work, const Sm90Maps& maps) {
  Sm90Ring<G::stages> ring;
  const auto load_w = [&](int stage, int k, const Sm90TileLoad<G>& load) {
    const std::uint32_t full = ptx::shared_address(&shared.full[stage]), to = ptx::shared_address(shared.w[stage]);
    const int x = (work.k_begin + k) * sm90_block_k;
    ptx::mbarrier_arrive_expect_tx(full, load.bytes);
    if (work.arguments.stream_weight) {
      ptx::tma_load_2d(to, load.w, full, x, load.origin.column, ptx::evict_first);
    } else {
      ptx::tma_load_2d(to, load.w, full, x, load.origin.column);
    }
  };
  // With a dependent launch the weight, which no kernel in flight writes, is fetched before that kernel's results may be read.
  int ahead = 0;
  if (work.arguments.dependent_launch) {
    const Sm90TileLoad<G> load(work, maps, work.first);
    for (; ahead < min_of(work.k_blocks, G::stages); ++ahead) load_w(ahead, ahead, load);
    ptx::griddepcontrol_wait();
    // Never before the wait: the successor's weight may be what a kernel before this one still writes.
    ptx::griddepcontrol_launch_dependents();
  }
  for (int tile = work.first; tile < work.tiles; tile += work.step) {
    const Sm90TileLoad<G> load(work, maps, tile);
    for (int k = 0; k < work.k_blocks; ++k, ring.advance()) {
      if (ahead > 0) {
        --ahead;
      } else {
        ptx::mbarrier_wait_parity(ptx::shared_address(&shared.empty[ring.stage]), ring.parity ^ 1);
        load_w(ring.stage, k, load);
      }
      ptx::tma_load_2d(ptx::shared_address(shared.x[ring.stage]), load.x, ptx::shared_address(&shared.full[ring.stage]),
                       (work.k_begin + k) * sm90_block_k, load.origin.row);
    }
  }
}

/// One warp: stages the row and column states of each tile. Rows and columns beyond the matrix repeat the last one, so that an
/// epilogue never sees an index out of range.
template <class G>
W8A8_DEVICE void sm90_stage_states(typename G::Storage& shared, const Sm90Work<G>& work, const typename G::Epilogue& epilogue) {
  const int lane = threadIdx.x % 32, last_row = work.arguments.m - 1, last_column = work.arguments.n - 1;
  if (work.arguments.dependent_launch) ptx::griddepcontrol_wait();
  for (int tile = work.first, i = 0; tile < work.tiles; tile += work.step, ++i) {
    const layout::Tile origin = work.origin(tile);
    const int buffer = i % G::state_buffers, use = i / G::state_buffers;
    ptx::mbarrier_wait_parity(ptx::shared_address(&shared.states_empty[buffer]), (use & 1) ^ 1);
#pragma unroll 2  // more would not fit this warpgroup's 40 registers
    for (int c = lane; c < G::tile_n / 2; c += 32) {
      const int n = origin.column + 2 * c;
      shared.columns[buffer][c] = {epilogue.column(min_of(n, last_column)), epilogue.column(min_of(n + 1, last_column))};
    }
    W8A8_UNROLL
    for (int r = lane; r < G::tile_m; r += 32) shared.rows[buffer][r] = epilogue.row(min_of(origin.row + r, last_row));
    ptx::mbarrier_arrive(ptx::shared_address(&shared.states_full[buffer]));
  }
}

}  // namespace w8a8::detail
