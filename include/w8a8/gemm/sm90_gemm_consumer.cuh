// sm90_gemm's consumers: the main loop on wgmma, the epilogue, the ways out of the registers.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/gemm/sm90_gemm_pipeline.cuh"
#include "w8a8/layout/gate_up.hpp"
#include "w8a8/layout/swizzle.hpp"
#include "w8a8/ptx/cluster_memory.cuh"
#include "w8a8/ptx/matrix.cuh"
#include "w8a8/ptx/wgmma.cuh"

namespace w8a8::detail {

/// Two neighbouring outputs as bits.
template <class Out>
using Sm90Packed = std::conditional_t<sizeof(Out) == 2, std::uint32_t, std::uint64_t>;

/// Two neighbouring results, rounded to the output type: store_value of each, for 16-bit types in one instruction.
template <class Out, class Value>
W8A8_DEVICE Sm90Packed<Out> sm90_pack(Value first, Value second) {
  Sm90Packed<Out> bits;
  static_assert(std::is_integral_v<Out> || !std::is_same_v<Value, std::int32_t>,
                "a floating-point output needs an epilogue that dequantizes");
  if constexpr (std::is_same_v<Out, half>) {
    const __half2 pair = __floats2half2_rn(static_cast<float>(first), static_cast<float>(second));
    std::memcpy(&bits, &pair, sizeof bits);
  } else if constexpr (std::is_same_v<Out, bfloat16>) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(static_cast<float>(first), static_cast<float>(second));
    std::memcpy(&bits, &pair, sizeof bits);
  } else {
    const Sm90Pair<Out> pair{store_value<Out>(first), store_value<Out>(second)};
    std::memcpy(&bits, &pair, sizeof bits);
  }
  return bits;
}

/// The 64-row blocks [Begin, End) of a warpgroup's accumulators.
template <int Begin, int End>
struct Sm90Blocks {
  static constexpr int begin = Begin, end = End;
};

/// One consumer warpgroup: multiplies, applies the epilogue, stores.
template <class G>
struct Sm90Consumer {
  using Out = typename G::Out;
  using Packed = Sm90Packed<Out>;
  using All = Sm90Blocks<0, G::blocks_m>;
  static constexpr int chunk_columns = G::chunk_columns;
  static constexpr int chunk_pairs = chunk_columns / 4;  ///< packed pairs a lane holds of 16 rows x chunk_columns
  static constexpr int chunks = G::blocks_m * G::out_n / chunk_columns;

  typename G::Storage& shared;
  const Sm90Work<G>& work;
  const typename G::Epilogue& epilogue;
  const CUtensorMap& out_map;
  const int group, warp, lane;  ///< of the consumers; of the warpgroup; of the warp

  std::int32_t acc[G::blocks_m][G::tile_n / 2];
  Sm90Ring<G::stages> ring;
  int store_buffer = 0;
  // Deferred: this warp's part of the previous tile, converted; chunks from pending_chunk on are still to be stored.
  Packed pending[G::deferred ? G::blocks_m * G::out_n / 4 : 1];
  int pending_row = 0, pending_column = 0, pending_chunk = chunks;

  W8A8_DEVICE void run() {
    const int turns = G::pingpong ? G::consumers : 1, own_turn = G::pingpong ? group : 0;
    if (own_turn > 0) ring.advance(work.k_blocks);  // ping-pong: the other warpgroup's k-blocks
    int count = 0;
    for (int tile = work.first + own_turn * work.step; tile < work.tiles; tile += turns * work.step, ++count) {
      const layout::Tile origin = work.origin(tile);
      const bool last = tile + turns * work.step >= work.tiles;
      if constexpr (G::pingpong) wait_for_turn(count);
      const int held = multiply_tile(work.k_blocks - G::tail);
      if constexpr (G::pingpong) give_turn(), ring.advance(work.k_blocks);
      if constexpr (G::deferred) store_pending(true);
      if constexpr (G::tail > 0) {
        multiply_tail_and_finish(held, origin, count, last);
      } else {
        ptx::wgmma_wait_group<0>();
        release(held);
        touch(All{});
        if constexpr (G::split > 1) exchange_partials();
        wait_for_states(count);
        finish(All{}, origin, last);
      }
    }
    if (lane == 0) ptx::bulk_wait_group_read<0>();  // the staging buffers must outlive the stores' reads
  }

  /// The main loop: acc = X W^T over the first `k_blocks` k-blocks. The last of them is still in flight afterwards; returns its
  /// stage.
  W8A8_DEVICE int multiply_tile(int k_blocks) {
    int held = 0;
    W8A8_NO_UNROLL
    for (int k = 0; k < k_blocks; ++k, ring.advance()) {
      wait_for_stage();
      multiply_stage(All{}, ring.stage, k > 0);
      ptx::wgmma_commit_group();
      if constexpr (G::deferred) {
        if (k > 0) store_pending(false);  // hidden behind the products in flight
      }
      ptx::wgmma_wait_group<1>();  // the previous k-block has been read
      if (k > 0) release(held);
      held = ring.stage;
    }
    return held;
  }

  /// The last k-blocks of a tile of two blocks of rows: first for one block and then for the other, whose products hide the first
  /// one's epilogue.
  W8A8_DEVICE void multiply_tail_and_finish(int held, layout::Tile origin, int count, bool last) {
    using First = Sm90Blocks<0, 1>;
    using Second = Sm90Blocks<1, 2>;
    const bool accumulate = work.k_blocks > G::tail;
    int stages[G::tail > 0 ? G::tail : 1];
    W8A8_UNROLL
    for (int k = 0; k < G::tail; ++k, ring.advance()) {
      stages[k] = ring.stage;
      wait_for_stage();
      multiply_stage(First{}, stages[k], k > 0 || accumulate);
    }
    ptx::wgmma_commit_group();
    ptx::wgmma_fence();
    W8A8_UNROLL
    for (int k = 0; k < G::tail; ++k) multiply_stage(Second{}, stages[k], k > 0 || accumulate);
    ptx::wgmma_commit_group();
    wait_for_states(count);
    ptx::wgmma_wait_group<1>();
    if (accumulate) release(held);
    touch(First{});
    finish(First{}, origin, last);
    ptx::wgmma_wait_group<0>();
    W8A8_UNROLL
    for (const int stage : stages) release(stage);
    touch(Second{});
    finish(Second{}, origin, last);
  }

  W8A8_DEVICE void wait_for_stage() {
    ptx::mbarrier_wait_parity(ptx::shared_address(&shared.full[ring.stage]), ring.parity);
    ptx::wgmma_fence();
  }

  /// Adds one stage's products to some blocks. In descriptors 64 rows are 8192 bytes, a k32 step 32 bytes, both counted in 16.
  template <class Blocks>
  W8A8_DEVICE void multiply_stage(Blocks, int stage, bool accumulate) {
    const int row = G::pingpong ? 0 : group * G::warpgroup_m;
    const std::uint64_t a = ptx::wgmma_descriptor(ptx::shared_address(shared.x[stage]) + row * sm90_block_k);
    const std::uint64_t b = ptx::wgmma_descriptor(ptx::shared_address(shared.w[stage]));
    W8A8_UNROLL
    for (int k32 = 0; k32 < sm90_block_k / 32; ++k32) {
      W8A8_UNROLL
      for (int r = Blocks::begin; r < Blocks::end; ++r) {
        ptx::Wgmma<G::tile_n>::mma(acc[r], a + r * 512 + k32 * 2, b + k32 * 2, k32 > 0 || accumulate);
      }
    }
  }

  /// The products have arrived in the registers of these blocks: no use of them moves up across here.
  template <class Blocks>
  W8A8_DEVICE void touch(Blocks) {
    W8A8_UNROLL
    for (int r = Blocks::begin; r < Blocks::end; ++r) {
      W8A8_UNROLL
      for (std::int32_t& value : acc[r]) ptx::wgmma_touch(value);
    }
  }

  W8A8_DEVICE void release(int stage) {
    if (warp == 0 && lane == 0) ptx::mbarrier_arrive(ptx::shared_address(&shared.empty[stage]));
  }

  /// Ping-pong: main loops alternate. The full barriers' parity depends on it too: a warpgroup may not wait two rounds ahead.
  W8A8_DEVICE void wait_for_turn(int count) {
    ptx::mbarrier_wait_parity(ptx::shared_address(&shared.turn[group]), (count & 1) ^ (group == 0 ? 1 : 0));
  }
  W8A8_DEVICE void give_turn() {
    if (warp == 0 && lane == 0) ptx::mbarrier_arrive(ptx::shared_address(&shared.turn[group ^ 1]));
  }

  W8A8_DEVICE void wait_for_states(int count) {
    ptx::mbarrier_wait_parity(ptx::shared_address(&shared.states_full[G::pingpong ? group : 0]), count & 1);
  }

  /// Split-K: CTA r of the cluster finishes the r-th half of the columns, and gives the partial sums of the other half to its
  /// peer. They go into the peer's ring, which is idle then.
  W8A8_DEVICE void exchange_partials() {
    constexpr int half_tile = G::tile_n / 2, quads = half_tile / 8;  // a quad: the four values of a lane in 8 columns
    static_assert(G::exchange_bytes == G::blocks_m * quads * 128 * G::consumers * 16);
    static_assert(G::exchange_bytes <= sizeof(shared.x), "sm90_gemm: the ring holds the exchange");
    const int thread = threadIdx.x - 128;
    const auto place = [&](int r, int q) { return ((r * quads + q) * 128 * G::consumers + thread) * 16; };
    const int peer = work.rank ^ 1;
    const std::uint32_t to = ptx::mapa(ptx::shared_address(shared.x), peer);
    const std::uint32_t exchanged = ptx::mapa(ptx::shared_address(&shared.exchanged), peer);
    const auto for_half_of = [&](int rank, auto&& f) {
      W8A8_UNROLL
      for (int owner = 0; owner < 2; ++owner) {
        if (owner != rank) continue;
        W8A8_UNROLL
        for (int r = 0; r < G::blocks_m; ++r) {
          W8A8_UNROLL
          for (int q = 0; q < quads; ++q) f(&acc[r][owner * half_tile / 2 + q * 4], place(r, q));
        }
      }
    };
    ptx::cluster_wait();  // the peer's barriers are initialised
    if (warp == 0 && lane == 0) ptx::mbarrier_arrive_remote(ptx::shared_address(&shared.peer_done), peer);
    ptx::mbarrier_wait_parity(ptx::shared_address(&shared.peer_done), 0);
    for_half_of(peer, [&](const std::int32_t* v, int at) { ptx::st_async(to + at, exchanged, v[0], v[1], v[2], v[3]); });
    ptx::mbarrier_wait_parity_cluster(ptx::shared_address(&shared.exchanged), 0);
    for_half_of(work.rank, [&](std::int32_t* sum, int at) {
      const int4 v = *reinterpret_cast<const int4*>(&shared.x[0][0] + at);
      sum[0] += v.x, sum[1] += v.y, sum[2] += v.z, sum[3] += v.w;
    });
  }

  /// Applies the epilogue to some blocks of the tile and stores them: now, or behind the next tile's main loop if there is one.
  template <class Blocks>
  W8A8_DEVICE void finish(Blocks, layout::Tile origin, bool last) {
    const int buffer = G::pingpong ? group : 0;
    const int warp_row = (G::pingpong ? 0 : group * G::warpgroup_m) + warp * 16;  // within the tile
    const int row = origin.row + warp_row, column = origin.column / G::ratio;
    W8A8_UNROLL
    for (int r = Blocks::begin; r < Blocks::end; ++r) {
      const typename G::RowState* states = &shared.rows[buffer][warp_row + r * 64 + lane / 4];
      const typename G::RowState rows[2] = {states[0], states[8]};
      W8A8_UNROLL
      for (int begin = 0; begin < G::out_n; begin += chunk_columns) {
        if (G::split > 1 && begin / G::share_n != work.rank) continue;
        Packed now[chunk_pairs];
        Packed* const packed = G::deferred ? &pending[(r * G::out_n + begin) / 4] : now;
        convert(packed, r, begin, shared.columns[buffer], rows, row, origin.column);
        if (!G::deferred || last) store(packed, row + r * 64, column + begin);
      }
    }
    if (G::deferred && !last) pending_row = row, pending_column = column, pending_chunk = 0;
    if (Blocks::end == G::blocks_m) {
      __syncwarp();
      if (lane == 0) ptx::mbarrier_arrive(ptx::shared_address(&shared.states_empty[buffer]));
    }
  }

  /// Makes output columns [begin, begin + chunk_columns) of block r. (row, column): the tile's first element of the product for
  /// this warp.
  W8A8_DEVICE void convert(Packed* packed, int r, int begin, const typename G::ColumnPair* columns,
                           const typename G::RowState (&rows)[2], int row, int column) const {
    const typename G::Arguments& a = work.arguments;
    W8A8_UNROLL
    for (int j = 0; j < chunk_columns / 8; ++j) {
      if constexpr (G::gated) {
        convert_gated(packed + 2 * j, r, begin / 8 + j, columns, rows, row, column);
        continue;
      }
      const int pair = begin / 2 + j * 4 + lane % 4, n = column + 2 * pair;
      const typename G::ColumnPair states = columns[pair];
      const std::int32_t* v = &acc[r][begin / 2 + j * 4];
      W8A8_UNROLL
      for (int y = 0; y < 2; ++y) {
        const int m = min_of(row + r * 64 + lane / 4 + 8 * y, a.m - 1);
        packed[2 * j + y] = sm90_pack<Out>(epilogue.apply(v[2 * y], rows[y], states.first, m, min_of(n, a.n - 1)),
                                           epilogue.apply(v[2 * y + 1], rows[y], states.second, m, min_of(n + 1, a.n - 1)));
      }
    }
  }

  /// Makes the n8-th eight output columns from the sixteen of the product that hold their gates and ups: the lane's values of
  /// both are of the same rows and output columns.
  W8A8_DEVICE void convert_gated(Packed* packed, int r, int n8, const typename G::ColumnPair* columns,
                                 const typename G::RowState (&rows)[2], int row, int column) const {
    const typename G::Arguments& a = work.arguments;
    const int pair = n8 * layout::gate_block + lane % 4, n = column + 2 * pair;
    const typename G::ColumnPair gates = columns[pair], ups = columns[pair + layout::gate_block / 2];
    W8A8_UNROLL
    for (int y = 0; y < 2; ++y) {
      const int m = min_of(row + r * 64 + lane / 4 + 8 * y, a.m - 1);
      const auto output = [&](int i, const typename G::ColumnState& gate, const typename G::ColumnState& up) {
        const int gate_n = min_of(n + i, a.n - layout::gate_block - 1), v = n8 * layout::gate_block + 2 * y + i;
        return epilogue.combine(epilogue.apply(acc[r][v], rows[y], gate, m, gate_n),
                                epilogue.apply(acc[r][v + 4], rows[y], up, m, gate_n + layout::gate_block), rows[y], m,
                                layout::gated_column(gate_n));
      };
      packed[y] = sm90_pack<Out>(output(0, gates.first, ups.first), output(1, gates.second, ups.second));
    }
  }

  /// Stores the next chunk of the deferred tile, or all that are left.
  W8A8_DEVICE void store_pending(bool all) {
    if (pending_chunk == chunks) return;
    W8A8_UNROLL
    for (int chunk = 0; chunk < chunks; ++chunk) {
      constexpr int per_block = G::out_n / chunk_columns;
      if (all ? chunk >= pending_chunk : chunk == pending_chunk) {
        store(&pending[chunk * chunk_pairs], pending_row + chunk / per_block * 64,
              pending_column + chunk % per_block * chunk_columns);
      }
    }
    pending_chunk = all ? chunks : pending_chunk + 1;
  }

  /// Stores 16 rows x chunk_columns of this warp at (row, column).
  W8A8_DEVICE void store(const Packed* packed, int row, int column) {
    if constexpr (G::may_tma_store) {
      store_staged(packed, row, column);
    } else {
      store_directly(packed, row, column);
    }
  }

  /// Through the warp's staging memory: by TMA, or piece by piece where it cannot. Only loops for the latter: a tile's epilogue
  /// is straight-line code that runs once, and what it jumps over still has to be fetched.
  W8A8_DEVICE void store_staged(const Packed* packed, int row, int column) {
    constexpr int pitch = chunk_columns * 2;
    std::uint8_t* const staging = shared.store[group * 4 + warp][0] + store_buffer * G::store_bytes;
    const std::uint32_t buffer = ptx::shared_address(staging);
    // An odd multiple of 16 or 32 bytes a row spreads over the banks by itself.
    const auto offset = [&](int stored_row, int piece) {
      if constexpr (pitch == 32 || pitch == 64 || pitch == 128) return layout::swizzled_offset<pitch>(stored_row, piece);
      return stored_row * pitch + piece * 16;
    };
    if (++store_buffer == G::store_buffers) store_buffer = 0;
    if (lane == 0) ptx::bulk_wait_group_read<G::store_buffers - 1>();
    __syncwarp();
    W8A8_UNROLL
    for (int j = 0; j < ceil_div(chunk_columns, 16); ++j) {
      const std::uint32_t to = buffer + offset(lane % 16, 2 * j + lane / 16);
      if (16 * j + 16 <= chunk_columns) {
        ptx::stmatrix_x4(to, packed[4 * j], packed[4 * j + 1], packed[4 * j + 2], packed[4 * j + 3]);
      } else {
        ptx::stmatrix_x2(to, packed[4 * j], packed[4 * j + 1]);
      }
    }
    const typename G::Arguments& a = work.arguments;
    if (column < a.tma_columns) {
      ptx::fence_proxy_async();
      __syncwarp();
      if (lane != 0) return;
      if (a.stream_output) {
        ptx::tma_store_2d(&out_map, buffer, column, row, ptx::evict_first);
      } else {
        ptx::tma_store_2d(&out_map, buffer, column, row);
      }
      ptx::bulk_commit_group();
      return;
    }
    if (lane == 0) ptx::bulk_commit_group();  // an empty one: buffers are counted in groups
    __syncwarp();
    const int rows_left = min_of(a.m - row, 16), columns_left = a.n / G::ratio - column;
    W8A8_NO_UNROLL
    for (int i = lane; i < 16 * chunk_columns / 2; i += 32) {
      const int r = i / (chunk_columns / 2), c = i % (chunk_columns / 2) * 2;
      if (r >= rows_left || c >= columns_left) continue;
      store_pair(a.out + (row + r) * a.ldo + column + c, *reinterpret_cast<const Packed*>(staging + offset(r, c / 8) + c % 8 * 2),
                 c + 1 < columns_left);
    }
  }

  W8A8_DEVICE void store_directly(const Packed* packed, int row, int column) const {
    const typename G::Arguments& a = work.arguments;
    __syncwarp();  // keeps the compiler from loading the states of all chunks at once, which would spill
    W8A8_UNROLL
    for (int i = 0; i < chunk_pairs; ++i) {
      const int m = row + lane / 4 + 8 * (i % 2), n = column + 8 * (i / 2) + 2 * (lane % 4);
      if (m < a.m && n < a.n / G::ratio) store_pair(a.out + m * a.ldo + n, packed[i], n + 1 < a.n / G::ratio);
    }
  }

  /// Stores two neighbours of a row, or only the first of them.
  W8A8_DEVICE void store_pair(Out* out, Packed values, bool both) const {
    if (work.arguments.paired_store && both) {
      *reinterpret_cast<Packed*>(out) = values;
    } else {
      Sm90Pair<Out> pair;
      std::memcpy(&pair, &values, sizeof pair);
      out[0] = pair.first;
      if (both) out[1] = pair.second;
    }
  }
};

}  // namespace w8a8::detail
