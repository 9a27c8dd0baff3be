// Decode on Hopper, for the batches that are too large for sm80_decode and too small to hide the weight stream behind arithmetic.
//
// A CTA owns a tile of tokens x output channels and, in a cluster that splits K, one range of K. One producer thread keeps a deep
// ring of TMA loads in flight; each consumer warpgroup multiplies 64 tokens (wgmma's M) with the tile's channels (its N). Tokens
// as wgmma's M, although the weights are the larger operand: the channels a CTA takes are then free in steps of 16, which is what
// fills a device of 132 SMs, nothing is multiplied in vain at M = 64 and 128, and accumulators are row-major as the output is.
//
//          K ->   rank 0      rank 1                      Splitting K makes a CTA's tile wide, so that fewer bytes of tokens
//   tokens    [ 64 x K/2 ] [ 64 x K/2 ]                   pass from L2 for every byte of weights. Each rank finally owns the
//   channels  [ R  x K/2 ] [ R  x K/2 ]  -> 64 x R        outputs of R / splits of the channels: the others push their int32
//                                                         partial sums into its shared memory (st.async), and it adds them.
//
// TMA zero-fills what lies outside the matrices, so K needs no padding and nothing past a row's end is read or counted.
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
#include "w8a8/gemm/tuning/sm90_decode.hpp"
#include "w8a8/layout/mma_fragment.hpp"
#include "w8a8/ptx/address.cuh"
#include "w8a8/ptx/barrier.cuh"
#include "w8a8/ptx/cache_policy.cuh"
#include "w8a8/ptx/cluster_memory.cuh"
#include "w8a8/ptx/dependent_launch.cuh"
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

/// Tokens (64 or 128) and Channels of a CTA's tile; Splits CTAs, a cluster, share K; ChannelGroups consumer warpgroups share the
/// channels of each 64 tokens; CtasPerSm CTAs share an SM's memory, of which the ring takes what is left.
template <int Tokens, int Channels, int Splits, int ChannelGroups = 1, int CtasPerSm = 1>
struct Sm90DecodeConfig {
  static constexpr int tokens = Tokens, channels = Channels, splits = Splits, ctas_per_sm = CtasPerSm;
  static constexpr int token_groups = Tokens / 64, channel_groups = ChannelGroups;
  static constexpr int consumers = 128 * token_groups * channel_groups;  ///< threads
  static constexpr int threads = consumers + 64;  ///< and a warp that loads, and one that reads the epilogue's states
  static constexpr int k_block = 128;             ///< bytes of K a stage: one 128-byte swizzle row
  static constexpr int wgmma_n = Channels / ChannelGroups;
  static constexpr int groups = wgmma_n / 8;            ///< of eight channels, in a warpgroup's accumulators
  static constexpr int owned_groups = groups / Splits;  ///< of them, those whose sums this CTA stores

  static constexpr int exchange_bytes = (Splits - 1) * owned_groups * consumers * 16;
  static constexpr int stage_bytes = (Tokens + Channels) * k_block;
  static constexpr int stages = min_of(16, (227 * 1024 / CtasPerSm - 5 * 1024 - exchange_bytes) / stage_bytes);

  static_assert(Tokens % 64 == 0 && Channels % (8 * ChannelGroups * Splits) == 0 && stages >= 3,
                "Sm90DecodeConfig: tiles of 64 tokens, channels that the splits share in eights, three stages of shared memory");

  static std::string name() {
    return text("sm90_decode/", Tokens, "x", Channels, "_split", Splits, ChannelGroups > 1 ? text("_g", ChannelGroups) : "",
                CtasPerSm > 1 ? text("_o", CtasPerSm) : "");
  }
};

/// The shipped configurations; tuning/sm90_decode.hpp chooses among them.
using Sm90DecodeConfigs = ConfigList<Sm90DecodeConfig<64, 48, 1>,     // 0
                                     Sm90DecodeConfig<64, 96, 2>,     // 1
                                     Sm90DecodeConfig<64, 224, 1>,    // 2
                                     Sm90DecodeConfig<128, 96, 2>,    // 3
                                     Sm90DecodeConfig<128, 192, 4>,   // 4
                                     Sm90DecodeConfig<128, 224, 1>>;  // 5

namespace detail {

template <class Config>
struct alignas(1024) Sm90DecodeStage {
  std::int8_t weights[Config::channels][Config::k_block];  // 128-byte swizzle, as TMA writes it
  std::int8_t tokens[Config::tokens][Config::k_block];     // likewise
};

// A warp's sums on their way from accumulator order to rows. The pitch spreads the four rows that half a warp writes at once over
// all banks.
template <class Config>
struct Sm90DecodeStaging {
  static constexpr int columns = 8 * Config::owned_groups;
  alignas(16) std::int32_t sums[16][columns + (columns % 16 == 0 ? 8 : 0)];
};

template <class Config, class Epilogue>
struct Sm90DecodeStorage {
  union {
    Sm90DecodeStage<Config> ring[Config::stages];
    Sm90DecodeStaging<Config> staging[Config::consumers / 32];  // once the ring is drained
  };
  // [sender][group][thread]: partial sums of the channels that this CTA owns, from the other ranks of the cluster.
  alignas(16) std::int32_t exchange[max_of(Config::splits - 1, 1)][Config::splits > 1 ? Config::owned_groups : 1]
                                   [Config::splits > 1 ? Config::consumers : 1][4];
  std::uint64_t full[Config::stages], empty[Config::stages], exchanged;
  typename Epilogue::ColumnState columns[Config::channels];
  typename Epilogue::RowState rows[Config::tokens];
};

// Where a CTA's tile lies.
struct Sm90DecodeTile {
  int m0, n0;               // first token and channel
  int rows, columns;        // tokens and channels that exist and are this tile's
  int first_block, blocks;  // this rank's range of K, in blocks of 128
};

template <class Config>
W8A8_DEVICE Sm90DecodeTile sm90_decode_tile(int m, int n, int k, int channels_per_cta, int token_tiles) {
  const int cluster = blockIdx.x / Config::splits, rank = blockIdx.x % Config::splits;
  const int stripe = token_tiles == 1 ? cluster : cluster / token_tiles;
  Sm90DecodeTile tile;
  tile.m0 = (cluster - stripe * token_tiles) * Config::tokens;
  tile.n0 = stripe * channels_per_cta;
  tile.rows = min_of(m - tile.m0, Config::tokens);
  tile.columns = min_of(n - tile.n0, channels_per_cta);
  const int blocks = ceil_div(k, Config::k_block), each = ceil_div(blocks, Config::splits);
  tile.first_block = min_of(rank * each, blocks);
  tile.blocks = min_of(blocks - tile.first_block, each);
  return tile;
}

// The one thread that loads. Tokens go first in a stage, because TMA works in order and weights come from further away.
template <class Config, class Storage>
class Sm90DecodeProducer {
 public:
  W8A8_DEVICE Sm90DecodeProducer(Storage& storage, const CUtensorMap* x_map, const CUtensorMap* w_map, const Sm90DecodeTile& tile,
                                 int channels_per_cta)
      : storage_(storage),
        x_map_(x_map),
        w_map_(w_map),
        tile_(tile),
        bytes_((Config::tokens + channels_per_cta) * Config::k_block),
        prefill_(min_of(tile.blocks, Config::stages)) {}

  /// Fills the ring, but with the weights alone where the tokens may not be written yet.
  W8A8_DEVICE void fill_ring(bool weights_only) const {
    for (int s = 0; s < prefill_; ++s) load(s, s, !weights_only);
  }

  W8A8_DEVICE void load_remaining(bool tokens_of_ring) const {
    if (tokens_of_ring) {
      for (int s = 0; s < prefill_; ++s) load_tokens(s, s);
    }
    for (int i = Config::stages, slot = 0, parity = 0; i < tile_.blocks; ++i) {
      ptx::mbarrier_wait_parity(ptx::shared_address(&storage_.empty[slot]), parity);
      load(slot, i, true);
      if (++slot == Config::stages) slot = 0, parity ^= 1;
    }
  }

 private:
  W8A8_DEVICE void load(int slot, int block, bool tokens) const {
    const std::uint32_t full = ptx::shared_address(&storage_.full[slot]);
    ptx::mbarrier_arrive_expect_tx(full, bytes_);
    if (tokens) load_tokens(slot, block);
    ptx::tma_load_2d(ptx::shared_address(storage_.ring[slot].weights), w_map_, full,
                     (tile_.first_block + block) * Config::k_block, tile_.n0, ptx::evict_first);
  }

  W8A8_DEVICE void load_tokens(int slot, int block) const {
    ptx::tma_load_2d(ptx::shared_address(storage_.ring[slot].tokens), x_map_, ptx::shared_address(&storage_.full[slot]),
                     (tile_.first_block + block) * Config::k_block, tile_.m0, ptx::evict_last);
  }

  Storage& storage_;
  const CUtensorMap *x_map_, *w_map_;
  const Sm90DecodeTile& tile_;
  std::uint32_t bytes_;
  int prefill_;
};

// A consumer warpgroup's sums over this rank's range of K: 64 tokens x wgmma_n channels.
template <class Config, class Storage>
W8A8_DEVICE void multiply_sm90_decode(Storage& storage, int blocks, int token_group, int channel_group,
                                      std::int32_t (&accumulator)[Config::wgmma_n / 2]) {
  for (int i = 0, slot = 0, parity = 0; i < blocks; ++i) {
    ptx::mbarrier_wait_parity(ptx::shared_address(&storage.full[slot]), parity);
    const auto& stage = storage.ring[slot];
    const std::uint64_t a = ptx::wgmma_descriptor(ptx::shared_address(stage.tokens[64 * token_group]));
    const std::uint64_t b = ptx::wgmma_descriptor(ptx::shared_address(stage.weights[Config::wgmma_n * channel_group]));
    ptx::wgmma_fence();
    W8A8_UNROLL
    for (int k = 0; k < Config::k_block / 32; ++k) ptx::Wgmma<Config::wgmma_n>::mma(accumulator, a + 2 * k, b + 2 * k, 1);
    ptx::wgmma_commit_group();
    ptx::wgmma_wait_group<0>();  // not one behind: a slot freed a block later costs more than the tensor cores' short wait
    if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(ptx::shared_address(&storage.empty[slot]));
    if (++slot == Config::stages) slot = 0, parity ^= 1;
  }
  W8A8_UNROLL
  for (int v = 0; v < Config::wgmma_n / 2; ++v) ptx::wgmma_touch(accumulator[v]);
}

// Sends the partial sums of the channels that other ranks own, and adds what they send to `sum`, this rank's own ones.
template <class Config, class Storage>
W8A8_DEVICE void exchange_sm90_decode(Storage& storage, int rank, const std::int32_t (&accumulator)[Config::wgmma_n / 2],
                                      std::int32_t (&sum)[4 * Config::owned_groups]) {
  W8A8_UNROLL
  for (int g = 0; g < Config::groups; ++g) {
    const int owner = g / Config::owned_groups;
    if (owner == rank) {
      W8A8_UNROLL
      for (int v = 0; v < 4; ++v) sum[g % Config::owned_groups * 4 + v] = accumulator[4 * g + v];
    } else {
      const int sender = rank > owner ? rank - 1 : rank;
      const std::uint32_t to = ptx::shared_address(storage.exchange[sender][g % Config::owned_groups][threadIdx.x]);
      ptx::st_async(ptx::mapa(to, owner), ptx::mapa(ptx::shared_address(&storage.exchanged), owner), accumulator[4 * g],
                    accumulator[4 * g + 1], accumulator[4 * g + 2], accumulator[4 * g + 3]);
    }
  }
  ptx::mbarrier_wait_parity_cluster(ptx::shared_address(&storage.exchanged), 0);
  W8A8_UNROLL
  for (int s = 0; s < Config::splits - 1; ++s) {
    W8A8_UNROLL
    for (int g = 0; g < Config::owned_groups; ++g) {
      const int4 part = *reinterpret_cast<const int4*>(storage.exchange[s][g][threadIdx.x]);
      sum[4 * g] += part.x, sum[4 * g + 1] += part.y, sum[4 * g + 2] += part.z, sum[4 * g + 3] += part.w;
    }
  }
}

// Epilogue and store of one warp's 16 tokens x owned channels, which start at `row` and `column` of the tile. The sums pass
// through shared memory so that this is a short loop over 16-byte pieces of rows: every CTA runs it exactly once, at the very
// end, and straight-line code over all accumulators would spend most of its time waiting for instructions.
template <class Config, class Out, class Epilogue>
W8A8_DEVICE void store_sm90_decode(Sm90DecodeStorage<Config, Epilogue>& storage, const GemmProblem<Out>& problem,
                                   const Epilogue& epilogue, const Sm90DecodeTile& tile, int row, int column,
                                   const std::int32_t (&sum)[4 * Config::owned_groups]) {
  using Staging = Sm90DecodeStaging<Config>;
  const int lane = threadIdx.x % 32;
  Staging& staging = storage.staging[threadIdx.x / 32];
  W8A8_UNROLL
  for (int v = 0; v < 4 * Config::owned_groups; v += 2) {
    const layout::Coordinate c = layout::wgmma_c(0, lane, v);
    *reinterpret_cast<int2*>(&staging.sums[c.row][c.column]) = int2{sum[v], sum[v + 1]};
  }
  __syncwarp();
  constexpr int piece = 16 / sizeof(Out), pieces = Staging::columns / piece;
  struct alignas(16) Piece {
    Out value[piece];
  };
  W8A8_NO_UNROLL
  for (int i = lane; i < 16 * pieces; i += 32) {
    const int r = i / pieces, c = i % pieces * piece, m = row + r, n = column + c, existing = tile.columns - n;
    if (m >= tile.rows || existing <= 0) continue;
    Out* const to = problem.out + (tile.m0 + m) * problem.ldo + tile.n0 + n;
    const auto value = [&](int j) {
      return store_value<Out>(
          epilogue.apply(staging.sums[r][c + j], storage.rows[m], storage.columns[n + j], tile.m0 + m, tile.n0 + n + j));
    };
    if (existing >= piece && reinterpret_cast<std::uintptr_t>(to) % 16 == 0) {
      Piece values;
      W8A8_UNROLL
      for (int j = 0; j < piece; ++j) values.value[j] = value(j);
      *reinterpret_cast<Piece*>(to) = values;
    } else {
      W8A8_NO_UNROLL
      for (int j = 0; j < min_of(piece, existing); ++j) to[j] = value(j);
    }
  }
}

template <class Config, class Out, class Epilogue>
__global__ void __launch_bounds__(arch::launch_bound(arch::has_wgmma, Config::threads), arch::has_wgmma ? Config::ctas_per_sm : 1)
    sm90_decode_kernel(const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map,
                       const __grid_constant__ GemmProblem<Out> problem, const __grid_constant__ Epilogue epilogue,
                       int channels_per_cta, int token_tiles, bool dependent_launch) {
  if constexpr (arch::has_wgmma) {
    using Storage = Sm90DecodeStorage<Config, Epilogue>;
    extern __shared__ __align__(1024) std::uint8_t shared_bytes[];
    Storage& storage = *reinterpret_cast<Storage*>(shared_bytes);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const Sm90DecodeTile tile = sm90_decode_tile<Config>(problem.m, problem.n, problem.k, channels_per_cta, token_tiles);

    constexpr int producer_warp = Config::consumers / 32, states_warp = producer_warp + 1;
    const Sm90DecodeProducer<Config, Storage> producer(storage, &x_map, &w_map, tile, channels_per_cta);

    if (warp == producer_warp) {
      if (lane < Config::stages) {
        ptx::mbarrier_init(ptx::shared_address(&storage.full[lane]), 1);
        ptx::mbarrier_init(ptx::shared_address(&storage.empty[lane]), Config::consumers / 32);
      }
      if (Config::splits > 1 && lane == 0) {
        ptx::mbarrier_init(ptx::shared_address(&storage.exchanged), 1);
        ptx::mbarrier_arrive_expect_tx(ptx::shared_address(&storage.exchanged), Config::exchange_bytes);
      }
      ptx::fence_mbarrier_init();
    }
    __syncthreads();
    if (Config::splits > 1) ptx::cluster_arrive();  // the matching wait comes before the first st.async: every rank has started

    if (warp >= producer_warp) {
      if (warp == producer_warp && lane == 0) producer.fill_ring(dependent_launch);
      if (dependent_launch) ptx::griddepcontrol_wait();
      if (warp == states_warp) {  // a warp of its own, so that no multiplication waits for a scale
        for (int i = lane; i < tile.columns; i += 32) storage.columns[i] = epilogue.column(tile.n0 + i);
        for (int i = lane; i < tile.rows; i += 32) storage.rows[i] = epilogue.row(tile.m0 + i);
        ptx::bar_arrive(1, Config::consumers + 32);
      } else if (lane == 0) {
        producer.load_remaining(dependent_launch);
        if (dependent_launch) ptx::griddepcontrol_launch_dependents();
      }
      __syncwarp();
      if (Config::splits > 1) ptx::cluster_wait();
      return;
    }

    const int group = warp / 4, token_group = group % Config::token_groups, channel_group = group / Config::token_groups;
    std::int32_t accumulator[Config::wgmma_n / 2] = {};
    multiply_sm90_decode<Config>(storage, tile.blocks, token_group, channel_group, accumulator);

    std::int32_t sum[4 * Config::owned_groups];
    const int rank = blockIdx.x % Config::splits;
    if constexpr (Config::splits > 1) {
      ptx::cluster_wait();
      exchange_sm90_decode<Config>(storage, rank, accumulator, sum);
    } else {
      W8A8_UNROLL
      for (int v = 0; v < Config::wgmma_n / 2; ++v) sum[v] = accumulator[v];
    }
    ptx::bar_sync(1, Config::consumers + 32);  // states are written, and the ring is drained by all: the staging takes its place
    const int row = 64 * token_group + 16 * (warp % 4);
    const int column = Config::wgmma_n * channel_group + 8 * Config::owned_groups * rank;
    if (row < tile.rows && column < tile.columns) store_sm90_decode<Config>(storage, problem, epilogue, tile, row, column, sum);
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
    const int token_tiles = ceil_div(problem.m, Config::tokens);
    const int channels =
        sm90_decode_channels_per_cta(problem.n, Config::channels, Config::splits, Config::ctas_per_sm, token_tiles, device);
    CUtensorMap x_map{}, w_map{};
    if (problem.k > 0) {  // without it there is nothing to load, and perhaps no pointer
      const auto map = [&](const std::int8_t* matrix, int rows, std::int64_t stride, int box_rows) {
        return encode_tensor_map<2>(CU_TENSOR_MAP_DATA_TYPE_UINT8, matrix,
                                    {static_cast<std::uint64_t>(problem.k), static_cast<std::uint64_t>(rows)},
                                    {static_cast<std::uint64_t>(stride)}, {Config::k_block, static_cast<std::uint32_t>(box_rows)},
                                    {CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B});
      };
      x_map = map(problem.x, problem.m, problem.ldx, Config::tokens);
      w_map = map(problem.w, problem.n, problem.ldw, channels);
    }
    LaunchConfig launch_config;
    launch_config.grid =
        static_cast<unsigned>(ceil_div(problem.n, channels)) * static_cast<unsigned>(token_tiles * Config::splits);
    launch_config.block = Config::threads;
    launch_config.cluster = Config::splits;
    launch_config.shared_bytes = sizeof(Storage);
    launch_config.dependent_launch = options.dependent_launch;
    launch_config.stream = stream;
    launch("sm90_decode", detail::sm90_decode_kernel<Config, Out, Epilogue>, launch_config, x_map, w_map, problem, epilogue,
           channels, token_tiles, options.dependent_launch);
  });
}

}  // namespace w8a8
