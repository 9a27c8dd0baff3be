// Decode on Hopper, for the batches that are too large for sm80_decode and too small to hide the weight stream behind arithmetic.
//
// A CTA owns a tile of tokens x output channels and, in a cluster that splits K, one range of K. One producer thread keeps a deep
// ring of TMA loads in flight; each consumer warpgroup multiplies 64 rows of one operand (wgmma's M) with rows of the other (its
// N). Up to 128 tokens those are wgmma's M, although the weights are the larger operand: the channels a CTA takes are then free
// in steps of 16, which is what fills a device of 132 SMs, nothing is multiplied in vain at M = 64 and 128, and accumulators are
// row-major as the output is. Beyond 128 tokens channels are wgmma's M: tokens then come in steps of 16 instead of 64, and fewer
// warpgroups read the larger operand from shared memory again; the sums are transposed in registers before they are finished.
//
//          K ->   rank 0      rank 1                      Splitting K makes a CTA's tile wide, so that fewer bytes of tokens
//   tokens    [ 64 x K/2 ] [ 64 x K/2 ]                   pass from L2 for every byte of weights. Each rank finally owns the
//   channels  [ R  x K/2 ] [ R  x K/2 ]  -> 64 x R        outputs of every second eight tokens: the other one pushes its int32
//                                                         partial sums into its shared memory (st.async), and it adds them.
//
// TMA zero-fills what lies beyond K, so K needs no padding and nothing past a row's end is read or counted.
//
// Programmatic dependent launch (GemmOptions::dependent_launch): the weights that fit the ring are requested before
// griddepcontrol.wait; tokens, scales and everything else only after it. launch_dependents comes after the wait, never before:
// once the next kernel runs, everything older than this one has finished, so the only grid that may still be in flight beside it
// is this one, and this one writes no weights. A kernel that triggered before it waited would break that for its successor.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/gemm/config_list.hpp"
#include "w8a8/gemm/problem.hpp"
#include "w8a8/gemm/store_neighbours.cuh"
#include "w8a8/gemm/tuning/sm90_decode.hpp"
#include "w8a8/layout/gate_up.hpp"
#include "w8a8/ptx/address.cuh"
#include "w8a8/ptx/barrier.cuh"
#include "w8a8/ptx/cache_policy.cuh"
#include "w8a8/ptx/cluster_memory.cuh"
#include "w8a8/ptx/dependent_launch.cuh"
#include "w8a8/ptx/matrix.cuh"
#include "w8a8/ptx/mbarrier.cuh"
#include "w8a8/ptx/tma.cuh"
#include "w8a8/ptx/wgmma.cuh"
#include "w8a8/support/arch.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/device.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/support/launch.cuh"
#include "w8a8/tensor/tensor_map.hpp"

namespace w8a8 {

/// Which operand is wgmma's M, in steps of 64: the other one is its N, in steps of 16.
enum class Sm90DecodeRows { tokens, channels };

/// Tokens and Channels of a CTA's tile; Splits CTAs, a cluster, share K; ColumnGroups consumer warpgroups share wgmma's N of each
/// 64 of its M; CtasPerSm CTAs share an SM's memory, of which the ring takes what is left.
template <int Tokens, int Channels, int Splits, int ColumnGroups = 1, int CtasPerSm = 1,
          Sm90DecodeRows Rows = Sm90DecodeRows::tokens>
struct Sm90DecodeConfig {
  static constexpr int tokens = Tokens, channels = Channels, splits = Splits, ctas_per_sm = CtasPerSm;
  static constexpr bool token_rows = Rows == Sm90DecodeRows::tokens;
  static constexpr int row_groups = (token_rows ? Tokens : Channels) / 64;
  static constexpr int wgmma_n = (token_rows ? Channels : Tokens) / ColumnGroups;
  static constexpr int consumers = 128 * row_groups * ColumnGroups;  ///< threads
  static constexpr int threads = consumers + 32;                     ///< and the producer's warp
  static constexpr int k_block = 128;                                ///< bytes of K a stage: one 128-byte swizzle row
  static constexpr int quads = wgmma_n / 16;                         ///< of half a thread's values: sm90_decode_quad()

  static constexpr int exchange_bytes = (Splits - 1) * quads * consumers * 16;
  static constexpr int stage_bytes = (Tokens + Channels) * k_block;
  static constexpr int stages = min_of(16, (227 * 1024 / CtasPerSm - 5 * 1024 - exchange_bytes) / stage_bytes);

  /// A warpgroup starts on a block of K before the one before it is finished, and so frees a slot of the ring a block later: with
  /// fewer slots that costs more than the tensor cores' short wait.
  static constexpr bool overlaps = stages >= 8;

  static_assert((token_rows ? Tokens : Channels) % 64 == 0 && (token_rows ? Channels : Tokens) % (16 * ColumnGroups) == 0,
                "Sm90DecodeConfig: wgmma's M comes in steps of 64, its N in steps of 16");
  static_assert(Tokens <= 256 && Channels <= 256 && Splits <= 2 && stages >= 3,
                "Sm90DecodeConfig: boxes of 256 rows, at most two splits, three stages of shared memory");

  static std::string name() {
    return text("sm90_decode/", Tokens, "x", Channels, "_split", Splits, ColumnGroups > 1 ? text("_g", ColumnGroups) : "",
                CtasPerSm > 1 ? text("_o", CtasPerSm) : "", token_rows ? "" : "_swap");
  }
};

/// The shipped configurations; tuning/sm90_decode.hpp chooses among them.
using Sm90DecodeConfigs =
    ConfigList<Sm90DecodeConfig<64, 48, 1>,          //
               Sm90DecodeConfig<64, 64, 2>,          //
               Sm90DecodeConfig<64, 128, 2, 2>,      //
               Sm90DecodeConfig<64, 112, 1, 1, 2>,   //
               Sm90DecodeConfig<64, 96, 1, 2>,       //
               Sm90DecodeConfig<128, 64, 2>,         //
               Sm90DecodeConfig<128, 128, 2>,        //
               Sm90DecodeConfig<128, 112, 1, 1, 2>,  //
               Sm90DecodeConfig<64, 144, 1>,         //
               Sm90DecodeConfig<160, 64, 2, 2, 1, Sm90DecodeRows::channels>,
               Sm90DecodeConfig<96, 64, 1, 1, 1, Sm90DecodeRows::channels>,
               Sm90DecodeConfig<112, 64, 1, 1, 1, Sm90DecodeRows::channels>,
               Sm90DecodeConfig<128, 64, 1, 1, 1, Sm90DecodeRows::channels>, Sm90DecodeConfig<192, 128, 2>,  //
               Sm90DecodeConfig<160, 128, 2, 1, 1, Sm90DecodeRows::channels>>;

namespace detail {

template <class Config>
struct alignas(1024) Sm90DecodeStage {
  std::int8_t weights[Config::channels][Config::k_block];  // 128-byte swizzle, as TMA writes it
  std::int8_t tokens[Config::tokens][Config::k_block];     // likewise
};

template <class Config, class Epilogue>
struct Sm90DecodeStorage {
  Sm90DecodeStage<Config> ring[Config::stages];
  // Partial sums of the rows that this CTA owns, from the other one of its cluster.
  alignas(16) std::int32_t exchange[Config::splits > 1 ? Config::quads : 1][Config::splits > 1 ? Config::consumers : 1][4];
  std::uint64_t full[Config::stages], empty[Config::stages], exchanged;
  typename Epilogue::ColumnState columns[Config::channels];
  typename Epilogue::RowState rows[Config::tokens];
};

// How a problem is cut into tiles of equal height and width, the last ones aside.
struct Sm90DecodeTiling {
  int tokens, token_tiles;
  int channels;
};

// Where a CTA's tile lies.
struct Sm90DecodeTile {
  int m0, n0;               // first token and channel
  int rows, columns;        // tokens and channels that exist and are this tile's
  int first_block, blocks;  // this rank's range of K, in blocks of 128
};

template <class Config>
W8A8_DEVICE Sm90DecodeTile sm90_decode_tile(int m, int n, int k, const Sm90DecodeTiling& tiling) {
  const int cluster = blockIdx.x / Config::splits, rank = blockIdx.x % Config::splits;
  const int stripe = tiling.token_tiles == 1 ? cluster : cluster / tiling.token_tiles;
  Sm90DecodeTile tile;
  tile.m0 = (cluster - stripe * tiling.token_tiles) * tiling.tokens;
  tile.n0 = stripe * tiling.channels;
  tile.rows = min_of(m - tile.m0, tiling.tokens);
  tile.columns = min_of(n - tile.n0, tiling.channels);
  const int blocks = ceil_div(k, Config::k_block), each = ceil_div(blocks, Config::splits);
  tile.first_block = min_of(rank * each, blocks);
  tile.blocks = min_of(blocks - tile.first_block, each);
  return tile;
}

// One thread: all loads. Tokens go first in a stage, because TMA works in order and weights come from further away. x_map's box
// has the tile's rows, w_map's the tiling's channels.
template <class Config, class Storage>
W8A8_DEVICE void produce_sm90_decode(Storage& storage, const CUtensorMap* x_map, const CUtensorMap* w_map,
                                     const Sm90DecodeTile& tile, int box_channels, bool dependent_launch) {
  const std::uint32_t bytes = (tile.rows + box_channels) * Config::k_block;
  const auto load_tokens = [&](int slot, int block) {
    ptx::tma_load_2d(ptx::shared_address(storage.ring[slot].tokens), x_map, ptx::shared_address(&storage.full[slot]),
                     (tile.first_block + block) * Config::k_block, tile.m0, ptx::evict_last);
  };
  const auto load_weights = [&](int slot, int block) {
    ptx::tma_load_2d(ptx::shared_address(storage.ring[slot].weights), w_map, ptx::shared_address(&storage.full[slot]),
                     (tile.first_block + block) * Config::k_block, tile.n0, ptx::evict_first);
  };
  const int prefill = min_of(tile.blocks, Config::stages);
  for (int s = 0; s < prefill; ++s) {
    ptx::mbarrier_arrive_expect_tx(ptx::shared_address(&storage.full[s]), bytes);
    if (!dependent_launch) load_tokens(s, s);
    load_weights(s, s);
  }
  if (dependent_launch) {
    ptx::griddepcontrol_wait();
    for (int s = 0; s < prefill; ++s) load_tokens(s, s);
  }
  for (int i = Config::stages, slot = 0, parity = 0; i < tile.blocks; ++i) {
    ptx::mbarrier_wait_parity(ptx::shared_address(&storage.empty[slot]), parity);
    ptx::mbarrier_arrive_expect_tx(ptx::shared_address(&storage.full[slot]), bytes);
    load_tokens(slot, i);
    load_weights(slot, i);
    if (++slot == Config::stages) slot = 0, parity ^= 1;
  }
  if (dependent_launch) ptx::griddepcontrol_launch_dependents();
}

// A consumer warpgroup's sums over this rank's range of K: 64 tokens x wgmma_n channels, or 64 channels x wgmma_n tokens. Where a
// block is multiplied before the one before it is finished, the compiler must not see other writes to the accumulators.
template <class Config, class Storage>
W8A8_DEVICE void multiply_sm90_decode(Storage& storage, int blocks, int row_group, int column_group,
                                      std::int32_t (&accumulator)[Config::wgmma_n / 2]) {
  const auto release = [&](int slot) {
    if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(ptx::shared_address(&storage.empty[slot]));
  };
  if constexpr (!Config::overlaps) {
    W8A8_UNROLL
    for (int v = 0; v < Config::wgmma_n / 2; ++v) accumulator[v] = 0;
  }
  for (int i = 0, slot = 0, parity = 0; i < blocks; ++i) {
    ptx::mbarrier_wait_parity(ptx::shared_address(&storage.full[slot]), parity);
    const auto& stage = storage.ring[slot];
    const auto* const rows = Config::token_rows ? stage.tokens : stage.weights;
    const auto* const columns = Config::token_rows ? stage.weights : stage.tokens;
    const std::uint64_t a = ptx::wgmma_descriptor(ptx::shared_address(rows[64 * row_group]));
    const std::uint64_t b = ptx::wgmma_descriptor(ptx::shared_address(columns[Config::wgmma_n * column_group]));
    ptx::wgmma_fence();
    W8A8_UNROLL
    for (int k = 0; k < Config::k_block / 32; ++k) {
      ptx::Wgmma<Config::wgmma_n>::mma(accumulator, a + 2 * k, b + 2 * k, !Config::overlaps || i > 0 || k > 0);
    }
    ptx::wgmma_commit_group();
    if constexpr (Config::overlaps) {
      ptx::wgmma_wait_group<1>();
      if (i > 0) release(slot > 0 ? slot - 1 : Config::stages - 1);
    } else {
      ptx::wgmma_wait_group<0>();
      release(slot);
    }
    if (++slot == Config::stages) slot = 0, parity ^= 1;
  }
  ptx::wgmma_wait_group<0>();
  W8A8_UNROLL
  for (int v = 0; v < Config::wgmma_n / 2; ++v) {
    ptx::wgmma_touch(accumulator[v]);
    if (Config::overlaps && blocks == 0) accumulator[v] = 0;
  }
}

// Quad q of one half of a thread's sums: its four of 8 tokens x 16 channels. Tokens as wgmma's M: the half is one of the thread's
// two rows (lane / 4, and eight below), the quad two neighbouring channels and the two eight channels on. Channels as wgmma's M:
// the half is every second eight tokens, the quad two neighbouring tokens of channel lane / 4, and those of the channel eight
// below.
template <class Config>
W8A8_DEVICE void sm90_decode_quad(const std::int32_t (&accumulator)[Config::wgmma_n / 2], int q, bool lower,
                                  std::int32_t (&quad)[4]) {
  const std::int32_t* const v = accumulator + 8 * q;
  constexpr int step = Config::token_rows ? 2 : 4, second = Config::token_rows ? 4 : 2;
  W8A8_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int at = i % 2 + i / 2 * second;
    quad[i] = lower ? v[at + step] : v[at];
  }
}

// Makes of a warp's quads with channels as wgmma's M those with tokens as it: transposes two 8x8 matrices of 32-bit values, by
// halves.
W8A8_DEVICE void transpose_sm90_decode_quad(std::int32_t (&quad)[4]) {
  W8A8_UNROLL
  for (int i = 0; i < 4; i += 2) {
    const std::uint32_t low = ptx::movmatrix_trans(__byte_perm(quad[i], quad[i + 1], 0x5410));
    const std::uint32_t high = ptx::movmatrix_trans(__byte_perm(quad[i], quad[i + 1], 0x7632));
    quad[i] = __byte_perm(low, high, 0x5410), quad[i + 1] = __byte_perm(low, high, 0x7632);
  }
}

// Sends the partial sums of the rows that the cluster's other CTA owns.
template <class Config, class Storage>
W8A8_DEVICE void send_sm90_decode(Storage& storage, int rank, const std::int32_t (&accumulator)[Config::wgmma_n / 2]) {
  const int other = rank ^ 1;
  const std::uint32_t barrier = ptx::mapa(ptx::shared_address(&storage.exchanged), other);
  const std::uint32_t to = ptx::mapa(ptx::shared_address(storage.exchange[0][threadIdx.x]), other);
  W8A8_UNROLL
  for (int q = 0; q < Config::quads; ++q) {
    std::int32_t quad[4];
    sm90_decode_quad<Config>(accumulator, q, other == 1, quad);
    ptx::st_async(to + q * Config::consumers * 16, barrier, quad[0], quad[1], quad[2], quad[3]);
  }
}

// The outputs of a quad. Lanes swap one of their two pairs with the neighbour, so that each holds four neighbouring outputs, and
// four lanes 16 of them. With a gated epilogue the pairs are gate and up of two outputs.
template <class Config, class Out, class Epilogue, int Outputs>
W8A8_DEVICE void finish_sm90_decode_quad(const Sm90DecodeStorage<Config, Epilogue>& storage, const Epilogue& epilogue,
                                         const Sm90DecodeTile& tile, int row, int column, const std::int32_t (&sum)[4],
                                         Out (&out)[Outputs]) {
  const int m = min_of(row, tile.rows - 1);
  const auto value = [&](int v) {
    const int n = min_of(column + v % 2 + 8 * (v / 2), tile.columns - 1);
    return epilogue.apply(sum[v], storage.rows[m], storage.columns[n], tile.m0 + m, tile.n0 + n);
  };
  if constexpr (is_gated_v<Epilogue>) {
    const int to = layout::gated_column(tile.n0 + min_of(column, tile.columns - 2));
    W8A8_UNROLL
    for (int j = 0; j < 2; ++j) {
      out[j] = store_value<Out>(epilogue.combine(value(j), value(2 + j), storage.rows[m], tile.m0 + m, to + j));
    }
  } else {
    W8A8_UNROLL
    for (int v = 0; v < 4; ++v) out[v] = store_value<Out>(value(v));
    swap_with_neighbour(out);
  }
}

template <class Config, class Out, class Epilogue>
__global__ void __launch_bounds__(arch::launch_bound(arch::has_wgmma, Config::threads), arch::has_wgmma ? Config::ctas_per_sm : 1)
    sm90_decode_kernel(const __grid_constant__ GemmProblem<Out> problem, const Sm90DecodeTiling tiling, bool dependent_launch,
                       const __grid_constant__ Epilogue epilogue, const __grid_constant__ CUtensorMap x_map,
                       const __grid_constant__ CUtensorMap last_x_map, const __grid_constant__ CUtensorMap w_map) {
  if constexpr (arch::has_wgmma) {
    using Storage = Sm90DecodeStorage<Config, Epilogue>;
    extern __shared__ __align__(1024) std::uint8_t shared_bytes[];
    Storage& storage = *reinterpret_cast<Storage*>(shared_bytes);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const Sm90DecodeTile tile = sm90_decode_tile<Config>(problem.m, problem.n, problem.k, tiling);
    const CUtensorMap* const x_box = tile.rows == tiling.tokens ? &x_map : &last_x_map;

    if (warp == Config::consumers / 32 && lane == 0) {
      ptx::prefetch_tensormap(&w_map);
      ptx::prefetch_tensormap(x_box);
      for (int s = 0; s < Config::stages; ++s) {
        ptx::mbarrier_init(ptx::shared_address(&storage.full[s]), 1);
        ptx::mbarrier_init(ptx::shared_address(&storage.empty[s]), Config::consumers / 32);
      }
      ptx::mbarrier_init(ptx::shared_address(&storage.exchanged), 1);
      ptx::fence_mbarrier_init();
      if (Config::splits > 1) {
        ptx::mbarrier_arrive_expect_tx(ptx::shared_address(&storage.exchanged), Config::exchange_bytes);
      }
    }
    // The producer only says that the barriers are there: it has nothing to wait for.
    if (warp == Config::consumers / 32) {
      __syncwarp();
      ptx::bar_arrive(1, Config::threads);
    } else {
      ptx::bar_sync(1, Config::threads);
    }
    if (Config::splits > 1) ptx::cluster_arrive_relaxed();  // the matching wait comes before the first st.async

    if (warp == Config::consumers / 32) {
      if (lane == 0) produce_sm90_decode<Config>(storage, x_box, &w_map, tile, tiling.channels, dependent_launch);
      __syncwarp();
      if (Config::splits > 1) ptx::cluster_wait();
      return;
    }

    if (dependent_launch) ptx::griddepcontrol_wait();
    W8A8_NO_UNROLL
    for (int i = threadIdx.x; i < tile.columns; i += Config::consumers) storage.columns[i] = epilogue.column(tile.n0 + i);
    W8A8_NO_UNROLL
    for (int i = threadIdx.x; i < tile.rows; i += Config::consumers) storage.rows[i] = epilogue.row(tile.m0 + i);

    const int group = warp / 4, row_group = group % Config::row_groups, column_group = group / Config::row_groups;
    std::int32_t accumulator[Config::wgmma_n / 2];
    multiply_sm90_decode<Config>(storage, tile.blocks, row_group, column_group, accumulator);

    const int rank = blockIdx.x % Config::splits;
    if constexpr (Config::splits > 1) {
      ptx::cluster_wait();
      send_sm90_decode<Config>(storage, rank, accumulator);
    }
    ptx::bar_sync(2, Config::consumers);  // the states are written
    if constexpr (Config::splits > 1) ptx::mbarrier_wait_parity_cluster(ptx::shared_address(&storage.exchanged), 0);
    constexpr int halves = Config::splits > 1 ? 1 : 2, outputs = is_gated_v<Epilogue> ? 2 : 4;
    Out out[halves][Config::quads][outputs];
    const int along_m = 64 * row_group + 16 * (warp % 4), along_n = Config::wgmma_n * column_group;  // of wgmma
    const int first_row = (Config::token_rows ? along_m : along_n) + lane / 4 + (Config::splits > 1 ? 8 * rank : 0);
    const int first_column = Config::token_rows ? along_n : along_m;
    constexpr int row_step = Config::token_rows ? 0 : 16, column_step = Config::token_rows ? 16 : 0;  // from quad to quad
    W8A8_UNROLL
    for (int half = 0; half < halves; ++half) {
      W8A8_UNROLL
      for (int q = 0; q < Config::quads; ++q) {
        std::int32_t sum[4];
        sm90_decode_quad<Config>(accumulator, q, Config::splits > 1 ? rank == 1 : half == 1, sum);
        if constexpr (Config::splits > 1) {
          const int4 part = *reinterpret_cast<const int4*>(storage.exchange[q][threadIdx.x]);
          sum[0] += part.x, sum[1] += part.y, sum[2] += part.z, sum[3] += part.w;
        }
        if constexpr (!Config::token_rows) transpose_sm90_decode_quad(sum);
        finish_sm90_decode_quad<Config>(storage, epilogue, tile, first_row + row_step * q + 8 * half,
                                        first_column + column_step * q + lane % 4 * 2, sum, out[half][q]);
      }
    }
    // Which of a quad's 16 channels (gated: eight outputs) a lane stores first.
    const int own = is_gated_v<Epilogue> ? lane % 4 * 2 : lane % 2 * 8 + lane % 4 / 2 * 4;
    W8A8_UNROLL
    for (int half = 0; half < halves; ++half) {
      W8A8_UNROLL
      for (int q = 0; q < Config::quads; ++q) {
        const int row = first_row + row_step * q + 8 * half;
        const int column = (first_column + column_step * q) / (is_gated_v<Epilogue> ? 2 : 1) + own;
        if (row >= tile.rows) continue;
        store_neighbours(problem.out + (tile.m0 + row) * problem.ldo + tile.n0 / (is_gated_v<Epilogue> ? 2 : 1) + column,
                         out[half][q], tile.columns / (is_gated_v<Epilogue> ? 2 : 1) - column);
      }
    }
  }
}

}  // namespace detail

/// Why sm90_decode cannot run the problem on the device; "" where it can.
template <class Out>
std::string sm90_decode_refusal(const GemmProblem<Out>& problem, const DeviceProperties& device) {
  if (device.compute_capability != 90) return "a device of compute capability 9.0";
  if (!is_aligned(problem.x, 16) || !is_aligned(problem.w, 16)) return "x and w aligned to 16 bytes";
  if (problem.ldx % 16 != 0 || problem.ldw % 16 != 0) return "row strides of x and w that are multiples of 16";
  return "";
}

/// True where the program holds this kernel for the current device: it was compiled for sm_90a.
template <class Config, class Out, class Epilogue>
bool sm90_decode_is_compiled() {
  return is_compiled_for_device(detail::sm90_decode_kernel<Config, Out, Epilogue>, Config::threads);
}

/// Enqueues the problem with configuration `config_index` of Sm90DecodeConfigs. m, n >= 1. Throws CudaError where the launch is
/// refused.
template <class Configs = Sm90DecodeConfigs, class Out, class Epilogue>
void launch_sm90_decode(const GemmProblem<Out>& problem, const Epilogue& epilogue, int config_index, const GemmOptions& options,
                        const DeviceProperties& device, cudaStream_t stream) {
  Configs::visit(config_index, [&](auto config) {
    using Config = decltype(config);
    using Storage = detail::Sm90DecodeStorage<Config, Epilogue>;
    static_assert(sizeof(Storage) * Config::ctas_per_sm <= 227 * 1024,
                  "sm90_decode: the epilogue's states exceed the shared memory");
    // Tiles of tokens are equally high, to eight tokens, as far as that goes.
    detail::Sm90DecodeTiling tiling;
    tiling.tokens = sm90_decode_tokens_per_cta(problem.m, Config::tokens);
    tiling.token_tiles = ceil_div(problem.m, tiling.tokens);
    tiling.channels = sm90_decode_channels_per_cta(problem.n, Config::channels, Config::splits, Config::ctas_per_sm,
                                                   tiling.token_tiles, is_gated_v<Epilogue> ? 2 * layout::gate_block : 8, device);
    // No box of tokens is taller than its tile: rows outside of the matrix are filled with zeros, and that was measured to halve
    // the speed of the loads. What the ring holds in the rows of tokens that do not exist only reaches outputs that do not exist.
    const int last_tokens = problem.m - (tiling.token_tiles - 1) * tiling.tokens;
    CUtensorMap x_map{}, last_x_map{}, w_map{};
    if (problem.k > 0) {  // without it there is nothing to load, and perhaps no pointer
      const auto map = [&](const std::int8_t* matrix, int rows, std::int64_t stride, int box_rows) {
        return encode_tensor_map<2>(CU_TENSOR_MAP_DATA_TYPE_UINT8, matrix,
                                    {static_cast<std::uint64_t>(problem.k), static_cast<std::uint64_t>(rows)},
                                    {static_cast<std::uint64_t>(stride)}, {Config::k_block, static_cast<std::uint32_t>(box_rows)},
                                    {CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B});
      };
      x_map = map(problem.x, problem.m, problem.ldx, tiling.tokens);
      if (last_tokens < tiling.tokens) last_x_map = map(problem.x, problem.m, problem.ldx, last_tokens);
      w_map = map(problem.w, problem.n, problem.ldw, tiling.channels);
    }
    LaunchConfig launch_config;
    launch_config.grid =
        static_cast<unsigned>(ceil_div(problem.n, tiling.channels)) * static_cast<unsigned>(tiling.token_tiles * Config::splits);
    launch_config.block = Config::threads;
    launch_config.cluster = Config::splits;
    launch_config.shared_bytes = sizeof(Storage);
    launch_config.dependent_launch = options.dependent_launch;
    launch_config.stream = stream;
    launch("sm90_decode", detail::sm90_decode_kernel<Config, Out, Epilogue>, launch_config, problem, tiling,
           options.dependent_launch, epilogue, x_map, last_x_map, w_map);
  });
}

}  // namespace w8a8
