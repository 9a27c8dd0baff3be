// GEMM on Hopper's wgmma and TMA, for many tokens (M > 128): sm_90a.
//
// One persistent CTA an SM, three warpgroups. Of the first, one thread keeps a ring of shared-memory stages filled with TMA boxes
// of X and W, 128 bytes of K each, and one warp stages the epilogue's row and column states. The other two warpgroups multiply:
// both on one tile, an upper and a lower half, or each on a tile of its own in turn (Sm90Schedule). Full and empty stages are
// signalled by mbarriers.
//
// X, W: 16-byte aligned, row strides multiples of 16 bytes; any K >= 1, because TMA fills with zeros what lies beyond K.
// Output: any type and alignment; half and bfloat16 whose rows are 16-byte aligned leave through stmatrix and TMA, all others
// through predicated stores. A gated epilogue makes one output column of two columns of the product; a thread holds both.
// sm90_gemm_refusal() says what does not fit.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>

#include "w8a8/gemm/config_list.hpp"
#include "w8a8/gemm/problem.hpp"
#include "w8a8/gemm/sm90_gemm_consumer.cuh"
#include "w8a8/gemm/sm90_gemm_pipeline.cuh"
#include "w8a8/gemm/tuning/dependent_launch.hpp"
#include "w8a8/gemm/tuning/parts.hpp"
#include "w8a8/gemm/tuning/sm90_gemm.hpp"
#include "w8a8/ptx/barrier.cuh"
#include "w8a8/ptx/setmaxnreg.cuh"
#include "w8a8/ptx/tma.cuh"
#include "w8a8/support/arch.hpp"
#include "w8a8/support/device.hpp"
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

template <class Tile, Sm90Schedule Schedule>
struct Sm90GemmConfig {
  static constexpr int tile_m = Tile::m, tile_n = Tile::n;
  static constexpr bool pingpong = Schedule == Sm90Schedule::pingpong;
  static constexpr bool deferred = Schedule == Sm90Schedule::deferred;
  static constexpr int split = Schedule == Sm90Schedule::split_k ? 2 : 1;  ///< CTAs (a cluster) that share a tile along K
  static constexpr int consumers = 2;                                      ///< warpgroups that multiply
  static constexpr int threads = 128 * (1 + consumers);
  static constexpr int sharers = pingpong ? 1 : consumers;                           ///< warpgroups that share a tile
  static constexpr int warpgroup_m = tile_m / sharers, blocks_m = warpgroup_m / 64;  ///< 64-row blocks of a warpgroup
  static constexpr int accumulators = blocks_m * tile_n / 2;                         ///< registers of a thread
  /// k-blocks at a tile's end that are multiplied for one block of rows after the other.
  static constexpr int tail = blocks_m == 2 && sharers == 2 && split == 1 ? 2 : 0;
  static_assert(warpgroup_m % 64 == 0 && tile_n % 16 == 0, "Sm90GemmConfig: a warpgroup takes multiples of 64x16");
  static_assert(!deferred || blocks_m * tile_n <= 256, "Sm90GemmConfig: registers for the deferred tile");

  static std::string name() {
    constexpr const char* schedules[] = {"", "_deferred", "_pingpong", "_splitk2"};
    return "sm90_gemm/" + std::to_string(tile_m) + "x" + std::to_string(tile_n) + schedules[static_cast<int>(Schedule)];
  }
};

/// The shipped configurations; gemm/tuning/sm90_gemm.hpp refers to them by position.
using Sm90GemmConfigs = ConfigList<Sm90GemmConfig<Sm90Tile<256, 192>, Sm90Schedule::cooperative>,  //
                                   Sm90GemmConfig<Sm90Tile<128, 256>, Sm90Schedule::deferred>,     //
                                   Sm90GemmConfig<Sm90Tile<128, 224>, Sm90Schedule::deferred>,     //
                                   Sm90GemmConfig<Sm90Tile<128, 192>, Sm90Schedule::deferred>,     //
                                   Sm90GemmConfig<Sm90Tile<128, 144>, Sm90Schedule::cooperative>,  //
                                   Sm90GemmConfig<Sm90Tile<128, 128>, Sm90Schedule::cooperative>,  //
                                   Sm90GemmConfig<Sm90Tile<128, 96>, Sm90Schedule::cooperative>,   //
                                   Sm90GemmConfig<Sm90Tile<128, 80>, Sm90Schedule::cooperative>,   //
                                   Sm90GemmConfig<Sm90Tile<128, 64>, Sm90Schedule::cooperative>,   //
                                   Sm90GemmConfig<Sm90Tile<256, 144>, Sm90Schedule::cooperative>,  //
                                   Sm90GemmConfig<Sm90Tile<128, 128>, Sm90Schedule::pingpong>,     //
                                   Sm90GemmConfig<Sm90Tile<128, 128>, Sm90Schedule::split_k>>;

namespace detail {

template <class G>
__global__ void __launch_bounds__(arch::launch_bound(arch::has_wgmma, G::threads), 1)
    sm90_gemm_kernel(const __grid_constant__ Sm90Maps maps, const typename G::Arguments arguments,
                     const typename G::Epilogue epilogue) {
  if constexpr (arch::has_wgmma) {
    extern __shared__ __align__(1024) std::uint8_t sm90_shared[];
    auto& shared = *reinterpret_cast<typename G::Storage*>(sm90_shared);
    const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0);  // uniform over the warp, and known to be
    const int lane = threadIdx.x % 32;
    const Sm90Work<G> work(arguments);
    // The producer does not wait for anybody: it initialises the barriers, says so, and starts to load.
    if (warp == 0) {
      if (lane == 0) {
        ptx::prefetch_tensormap(&maps.x);
        ptx::prefetch_tensormap(&maps.w);
        sm90_init_barriers<G>(shared);
      }
      __syncwarp();
      ptx::bar_arrive(1, G::threads);
    } else {
      if (warp == 1 && lane == 0) {  // not in the producer's way: most tiles need other maps than those of the edge
        const Sm90TileLoad<G> first(work, maps, work.first);
        ptx::prefetch_tensormap(first.x);
        ptx::prefetch_tensormap(first.w);
      }
      __syncwarp();
      ptx::bar_sync(1, G::threads);
    }
    if constexpr (G::split > 1) ptx::cluster_arrive_relaxed();  // the matching wait comes before the first word to the peer
    if (warp < 4) {
      ptx::setmaxnreg_dec<40>();
      if (warp == 0 && lane == 0) sm90_produce<G>(shared, work, maps);
      if (warp == 1) sm90_stage_states<G>(shared, work, epilogue);
    } else {
      ptx::setmaxnreg_inc<232>();
      Sm90Consumer<G>{shared, work, epilogue, maps.out, warp / 4 - 1, warp % 4, lane}.run();
    }
  }
}

template <class Config, class Out, class Epilogue>
void launch_sm90_config(const GemmProblem<Out>& problem, const Epilogue& epilogue, const GemmPart& part,
                        const GemmOptions& options, const DeviceProperties& device, cudaStream_t stream) {
  using G = Sm90Gemm<Config, Out, Epilogue>;
  const std::uint64_t m = problem.m, n = problem.n, k = problem.k;
  const auto operand_map = [&](const std::int8_t* data, std::uint64_t rows, std::int64_t stride, int box_rows) {
    return encode_tensor_map<2>(CU_TENSOR_MAP_DATA_TYPE_UINT8, data, {k, rows}, {static_cast<std::uint64_t>(stride)},
                                {sm90_block_k, static_cast<std::uint32_t>(box_rows)});
  };
  Sm90Maps maps{};
  maps.x = operand_map(problem.x, m, problem.ldx, Config::tile_m);
  maps.w = operand_map(problem.w, n, problem.ldw, Config::tile_n);
  const int last_rows = problem.m % Config::tile_m, last_columns = (part.end - part.begin) % Config::tile_n;
  if (last_rows > 0) maps.last_x = operand_map(problem.x, m, problem.ldx, last_rows);
  if (last_columns > 0) maps.last_w = operand_map(problem.w, n, problem.ldw, last_columns);
  const bool tma_store = G::may_tma_store && is_aligned(problem.out, 16) && problem.ldo % 8 == 0;
  if (tma_store) {
    constexpr int bytes = G::store_columns * 2;
    TensorMapBox box;
    box.swizzle = bytes == 128  ? CU_TENSOR_MAP_SWIZZLE_128B
                  : bytes == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
                  : bytes == 32 ? CU_TENSOR_MAP_SWIZZLE_32B
                                : CU_TENSOR_MAP_SWIZZLE_NONE;
    // Any 16-bit type would do: the map only moves bits.
    maps.out = encode_tensor_map<2>(CU_TENSOR_MAP_DATA_TYPE_UINT16, problem.out, {n / G::ratio, m},
                                    {static_cast<std::uint64_t>(problem.ldo) * 2},
                                    {static_cast<std::uint32_t>(G::store_columns), 16}, box);
  }
  Sm90GemmArguments<Out> arguments{};
  arguments.out = problem.out;
  arguments.ldo = problem.ldo;
  arguments.m = problem.m;
  arguments.n = part.end;
  arguments.first_column = part.begin;
  // A tail or a split counts on two k-blocks; what lies beyond K arrives as zeros.
  arguments.k_blocks = max_of(ceil_div(problem.k, sm90_block_k), Config::tail > 0 || Config::split > 1 ? 2 : 1);
  arguments.tile_rows = ceil_div(problem.m, Config::tile_m);
  arguments.tile_columns = ceil_div(part.end - part.begin, Config::tile_n);
  // TMA writes whole 16-byte pieces: the last chunk of an N that is no multiple of 8 would overwrite what follows the row.
  const int columns = problem.n / G::ratio;
  arguments.tma_columns = !tma_store ? 0 : columns % 8 == 0 ? columns : columns - G::store_columns + 1;
  arguments.paired_store = is_aligned(problem.out, 2 * sizeof(Out)) && problem.ldo % 2 == 0;
  arguments.stream_weight = arguments.tile_rows <= 4;  // few readers of a weight tile, and they run side by side
  arguments.stream_output = problem.m * problem.ldo * static_cast<std::int64_t>(sizeof(Out)) > device.l2_bytes / 2;
  const int tiles = arguments.tile_rows * arguments.tile_columns;
  // Where all tiles run at once and for long, smaller groups are faster: 1024x4096x14336 71.0 to 70.6 us,
  // 1024x2048x8192 22.8 to 22.6, but 1024x4096x4096 23.3 to 23.4.
  const bool small_groups =
      tiles <= device.multiprocessors && arguments.tile_rows == sm90_raster_rows && arguments.k_blocks >= 64;
  arguments.raster = {arguments.tile_rows, arguments.tile_columns, sm90_raster_rows / (small_groups ? 2 : 1)};
  arguments.dependent_launch =
      options.dependent_launch && sm90_gemm_starts_early(problem.m, tiles, arguments.k_blocks, device.multiprocessors);

  LaunchConfig config;
  // Persistent, except that split-K has no second tile: its ring becomes the exchange buffer.
  config.grid = static_cast<unsigned>(Config::split > 1 ? tiles * Config::split : min_of(tiles, device.multiprocessors));
  config.block = Config::threads;
  config.cluster = Config::split;
  config.shared_bytes = sizeof(typename G::Storage);
  config.dependent_launch = arguments.dependent_launch;
  config.stream = stream;
  launch(Config::name().c_str(), sm90_gemm_kernel<G>, config, maps, arguments, epilogue);
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

/// Makes a part of out = epilogue(X W^T), asynchronously on `stream`, in a configuration of Sm90GemmConfigs. Preconditions: m, n
/// >= 1, sm90_gemm_refusal() is empty. Throws CudaError where the launch is refused.
template <class Out, class Epilogue>
void launch_sm90_gemm(const GemmProblem<Out>& problem, const Epilogue& epilogue, const GemmPart& part, const GemmOptions& options,
                      const DeviceProperties& device, cudaStream_t stream) {
  Sm90GemmConfigs::visit(part.configuration, [&](auto config) {
    detail::launch_sm90_config<decltype(config)>(problem, epilogue, part, options, device, stream);
  });
}

}  // namespace w8a8
