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
#include "w8a8/gemm/sm90_decode_consumer.cuh"
#include "w8a8/gemm/sm90_decode_pipeline.cuh"
#include "w8a8/gemm/tuning/sm90_decode.hpp"
#include "w8a8/layout/gate_up.hpp"
#include "w8a8/ptx/address.cuh"
#include "w8a8/ptx/barrier.cuh"
#include "w8a8/ptx/cluster_memory.cuh"
#include "w8a8/ptx/mbarrier.cuh"
#include "w8a8/ptx/tma.cuh"
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
/// 64 of its M; CtasPerSm CTAs share an SM's memory, of which the ring takes what is left, up to MaxStages. (More bytes in flight
/// than the memory needs are unequally served, and the launch ends with the last CTA: docs/performance/decode.md.)
template <int Tokens, int Channels, int Splits, int ColumnGroups = 1, int CtasPerSm = 1,
          Sm90DecodeRows Rows = Sm90DecodeRows::tokens, int MaxStages = 16>
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
  static constexpr int stages = min_of(MaxStages, (227 * 1024 / CtasPerSm - 5 * 1024 - exchange_bytes) / stage_bytes);

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
    ConfigList<Sm90DecodeConfig<64, 48, 1, 1, 1, Sm90DecodeRows::tokens, 13>,  //
               Sm90DecodeConfig<64, 64, 2, 1, 1, Sm90DecodeRows::tokens, 9>,   //
               Sm90DecodeConfig<64, 128, 2, 2>,                                //
               Sm90DecodeConfig<64, 112, 1, 1, 2>,                             //
               Sm90DecodeConfig<64, 96, 1, 2>,                                 //
               Sm90DecodeConfig<128, 64, 2>,                                   //
               Sm90DecodeConfig<128, 128, 2>,                                  //
               Sm90DecodeConfig<128, 112, 1, 1, 2>,                            //
               Sm90DecodeConfig<64, 144, 1>,                                   //
               Sm90DecodeConfig<160, 64, 2, 2, 1, Sm90DecodeRows::channels>,
               Sm90DecodeConfig<96, 64, 1, 1, 1, Sm90DecodeRows::channels>,
               Sm90DecodeConfig<112, 64, 1, 1, 1, Sm90DecodeRows::channels>,
               Sm90DecodeConfig<128, 64, 1, 1, 1, Sm90DecodeRows::channels>, Sm90DecodeConfig<192, 128, 2>,  //
               Sm90DecodeConfig<160, 128, 2, 1, 1, Sm90DecodeRows::channels>>;

namespace detail {

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

    consume_sm90_decode<Config>(storage, problem, epilogue, tile, dependent_launch);
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
