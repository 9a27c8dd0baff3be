// sm80_gemm: the general INT8 GEMM, on mma.sync m16n8k32. Runs on sm_80 and everything newer, for any M, N >= 1, K >= 0, any row
// stride and any alignment of x and w.
//
// CTAs stay and compute one output tile after another. The depth of a tile runs through a ring of stages in shared memory,
// BlockM + BlockN rows of BlockK bytes each, several k-blocks ahead and in swizzled order. In code for sm_90 and newer one thread
// has TMA fill it; older architectures, and rows that TMA does not take, have every warp copy its share with cp.async while it
// multiplies. Each warp multiplies its part of the tile with fragments that it reads with ldmatrix, one chunk ahead of the mma
// that need them. The first stages of the next tile are on their way before the epilogue of the last begins; that works in memory
// of each warp's own, and writes 16-byte pieces of rows. Large tiles of 16-bit outputs are stored by TMA instead, behind the next
// tile's main loop.
//
// What lies beyond K is filled with zeros, so sums stay exact and nothing outside the tensors is read.
//
// The parts: sm80_gemm_copy.cuh, sm80_gemm_multiply.cuh, sm80_gemm_store.cuh, and sm80_gemm_storage.cuh, which they share. With
// half and bfloat16 operands (floating_gemm.cuh) it is the same kernel with m16n8k16: x, w and K then count bytes, too.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "w8a8/gemm/problem.hpp"
#include "w8a8/gemm/sm80_gemm_copy.cuh"
#include "w8a8/gemm/sm80_gemm_multiply.cuh"
#include "w8a8/gemm/sm80_gemm_storage.cuh"
#include "w8a8/gemm/sm80_gemm_store.cuh"
#include "w8a8/gemm/tuning/parts.hpp"
#include "w8a8/gemm/tuning/sm80_gemm.hpp"
#include "w8a8/layout/raster.hpp"
#include "w8a8/ptx/address.cuh"
#include "w8a8/ptx/dependent_launch.cuh"
#include "w8a8/support/arch.hpp"
#include "w8a8/support/device.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/support/launch.cuh"
#include "w8a8/tensor/tensor_map.hpp"

namespace w8a8 {
namespace detail {

template <class Config, class Copy, class Operand, class Out, class Epilogue>
__global__ void __launch_bounds__(Config::threads, Config::ctas_per_sm)
    sm80_gemm_kernel(const __grid_constant__ Sm80GemmParameters<Out, Epilogue> p) {
  using Storage = Sm80GemmStorage<Config, Out, Epilogue>;
  using Outputs = Sm80GemmOutputs<Config, Epilogue>;
  using WarpTile = Sm80GemmWarpTile<Config, Operand>;
  using Place = Sm80GemmPlace<Config>;
  extern __shared__ __align__(1024) unsigned char shared_bytes[];
  Storage& storage = *reinterpret_cast<Storage*>(shared_bytes);

  const int k_blocks = max_of(1, ceil_div(p.problem.k, Config::block_k));  // K = 0: one block of zeros

  constexpr bool in_boxes = arch::has_tma && Copy::allows_tma && Sm80GemmBoxes<Config, Out, Epilogue>::used;
  Sm80GemmRing<Config, Copy, in_boxes> ring(p, storage);
  const Place at;
  WarpTile warp_tile(ptx::shared_address(storage.stages), at.row, at.column, at.slice, at.lane);
  ptx::griddepcontrol_wait();
  ptx::griddepcontrol_launch_dependents();
  ring.start(p, p.raster.at(blockIdx.x), k_blocks);
  W8A8_NO_UNROLL
  for (int t = blockIdx.x; t < p.tiles; t += gridDim.x) {
    sm80_gemm_load_states<Config>(p, storage.warps[Place().warp], p.raster.at(t));
    if constexpr (in_boxes) {
      if (t != static_cast<int>(blockIdx.x)) ring.release();
    }
    ring.wait_first();
    warp_tile.start(ring.stage());
    W8A8_NO_UNROLL
    for (int left = k_blocks; left > 0; --left) {
      W8A8_UNROLL
      for (int step = 0; step < Config::k_steps; ++step) {
        const bool last = step == Config::k_steps - 1;
        W8A8_UNROLL
        for (int chunk = 0; chunk < WarpTile::chunks; ++chunk) {
          ring.work(p, step, chunk, left);
          warp_tile.multiply(chunk, step, ring.stage(), last ? 0 : step + 1, last ? ring.next_stage() : ring.stage());
        }
      }
      ring.advance(left);
    }
    ring.finish();
    auto& acc = warp_tile.accumulators;
    if constexpr (Config::warps_k > 1) {
      const Place place;
      sm80_gemm_add_slices<Config, Outputs::columns>(acc, &storage.stages[0][0], place.tile, place.slice, place.lane);
    }
    if (t + gridDim.x < p.tiles) ring.start(p, p.raster.at(t + gridDim.x), k_blocks);
    const Place place;
    if constexpr (in_boxes) {
      if (p.box_stores) {
        sm80_gemm_store_boxes(p, storage, acc, ring.last_stage(), place);
        continue;
      }
    }
    sm80_gemm_store<Config>(p, storage.warps[place.warp], storage.staging + place.warp * Storage::Warp::staging_bytes, acc,
                            place.slice, place.lane);
  }
  if constexpr (in_boxes) ring.release();  // shared memory outlives what TMA reads from it
}

/// The tensor map of an operand, whose boxes are block_rows rows of block_k bytes, swizzled as ldmatrix reads them.
inline CUtensorMap sm80_gemm_map(const std::int8_t* data, int rows, int k, std::int64_t stride, int block_rows, int block_k) {
  TensorMapBox box;
  box.swizzle = block_k == 128 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B;
  return encode_tensor_map<2>(
      CU_TENSOR_MAP_DATA_TYPE_UINT8, data, {static_cast<std::uint64_t>(k), static_cast<std::uint64_t>(rows)},
      {static_cast<std::uint64_t>(stride)}, {static_cast<std::uint32_t>(block_k), static_cast<std::uint32_t>(block_rows)}, box);
}

/// The tensor map of an output of 16-bit elements, whose boxes are rows x columns, swizzled as stmatrix writes them.
template <class Out>
CUtensorMap sm80_gemm_out_map(const GemmProblem<Out>& problem, int rows, int columns) {
  TensorMapBox box;
  box.swizzle = CU_TENSOR_MAP_SWIZZLE_64B;
  return encode_tensor_map<2>(CU_TENSOR_MAP_DATA_TYPE_UINT16, problem.out,
                              {static_cast<std::uint64_t>(problem.n), static_cast<std::uint64_t>(problem.m)},
                              {static_cast<std::uint64_t>(problem.ldo) * sizeof(Out)},
                              {static_cast<std::uint32_t>(columns), static_cast<std::uint32_t>(rows)}, box);
}

/// Launches a part in one configuration, with one copy policy. problem: x, w, their leading dimensions and k count bytes, of
/// elements of type Operand.
template <class Config, class Copy, class Operand, class Out, class Epilogue>
void launch_sm80_gemm_kernel(const GemmProblem<Out>& problem, const Epilogue& epilogue, const GemmPart& part,
                             const GemmOptions& options, const DeviceProperties& device, cudaStream_t stream) {
  const auto kernel = sm80_gemm_kernel<Config, Copy, Operand, Out, Epilogue>;
  Sm80GemmParameters<Out, Epilogue> p{problem, epilogue};
  p.problem.n = part.end;
  p.first_column = part.begin;
  p.strides = Sm80GemmAsyncRing<Config, Copy>::strides(problem.ldx, problem.ldw);
  p.vector_stores = is_aligned(problem.out, 16) && problem.ldo * sizeof(Out) % 16 == 0;
  if (Copy::allows_tma && copies_with_tma(kernel)) {
    const int rows_x = min_of(problem.m, Config::block_m), rows_w = min_of(part.end - part.begin, Config::block_n);
    p.maps.x = sm80_gemm_map(problem.x, problem.m, problem.k, problem.ldx, rows_x, Config::block_k);
    p.maps.w = sm80_gemm_map(problem.w, part.end, problem.k, problem.ldw, rows_w, Config::block_k);
    p.box_bytes = (rows_x + rows_w) * Config::block_k;
    if constexpr (Sm80GemmBoxes<Config, Out, Epilogue>::used) {
      // TMA writes whole pieces of 16 bytes: an N that is no multiple of 8 would have it overwrite what follows the row.
      p.box_stores = p.vector_stores && part.end % 8 == 0;
      if (p.box_stores) p.maps.out = sm80_gemm_out_map(p.problem, Config::warp_m, Sm80GemmBoxes<Config, Out, Epilogue>::columns);
    }
  }
  const int tiles_m = static_cast<int>(ceil_div<std::int64_t>(problem.m, Config::block_m));
  const int tiles_n = static_cast<int>(ceil_div<std::int64_t>(part.end - part.begin, Config::block_n));
  p.raster = layout::GroupedRaster(
      tiles_m, tiles_n, sm80_gemm_raster_group(Config::block_m, Config::block_n, device.multiprocessors * Config::ctas_per_sm));
  p.tiles = tiles_m * tiles_n;
  LaunchConfig launch_config;
  launch_config.grid = static_cast<unsigned>(min_of(p.tiles, device.multiprocessors * Config::ctas_per_sm));
  launch_config.block = Config::threads;
  launch_config.shared_bytes = sizeof(Sm80GemmStorage<Config, Out, Epilogue>);
  launch_config.dependent_launch = options.dependent_launch && waits_for_dependencies(kernel);
  launch_config.stream = stream;
  launch("sm80_gemm", kernel, launch_config, p);
}

/// Launches a part in one configuration, with the copy policy that the alignment of x and w allows. problem: as above, in bytes.
template <class Config, class Operand, class Out, class Epilogue>
void launch_sm80_gemm_config(const GemmProblem<Out>& problem, const Epilogue& epilogue, const GemmPart& part,
                             const GemmOptions& options, const DeviceProperties& device, cudaStream_t stream) {
  // Warp tiles beyond 64x64 leave no registers for the unaligned copy; such a problem runs in the tile that fits every device.
  // The heights in between are worth their compile time on the fast path only: 64x128 fits every device that they fit.
  constexpr bool large = Config::warp_m * Config::warp_n > 64 * 64, between = Config::block_m > 64 && Config::block_m % 64 != 0;
  using Unaligned = std::conditional_t<large, Sm80GemmConfig<128, 256, 64, 3, 64, 64, 1, 1>,
                                       std::conditional_t<between, Sm80GemmConfig<64, 128, 128, 4, 64, 64, 2, 2>, Config>>;
  if (is_aligned(problem.x, 16) && is_aligned(problem.w, 16) && problem.ldx % 16 == 0 && problem.ldw % 16 == 0 &&
      problem.k % 16 == 0 && problem.k > 0) {
    launch_sm80_gemm_kernel<Config, CopyAligned, Operand>(problem, epilogue, part, options, device, stream);
  } else {
    launch_sm80_gemm_kernel<Unaligned, CopyUnaligned, Operand>(problem, epilogue, part, options, device, stream);
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

/// Makes a part of the product on `stream`, in a configuration of Sm80GemmConfigs. problem: checked, m, n >= 1.
template <class Out, class Epilogue>
void launch_sm80_gemm(const GemmProblem<Out>& problem, const Epilogue& epilogue, const GemmPart& part, const GemmOptions& options,
                      const DeviceProperties& device, cudaStream_t stream) {
  Sm80GemmConfigs::visit(part.configuration, [&](auto config) {
    detail::launch_sm80_gemm_config<decltype(config), std::int8_t>(problem, epilogue, part, options, device, stream);
  });
}

}  // namespace w8a8
