// Configurations of sm80_gemm (gemm/sm80_gemm.cuh) and which of them a shape gets. Host code only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "w8a8/gemm/config_list.hpp"
#include "w8a8/support/device.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8 {

/// One configuration: a CTA computes BlockM x BlockN outputs, BlockK bytes of depth a stage, with warps of WarpM x WarpN outputs.
/// WarpsK > 1: that many warps share each WarpM x WarpN tile and split every k-block among them; they add up at the end.
/// CtasPerSm bounds the registers so that this many CTAs fit an SM.
template <int BlockM, int BlockN, int BlockK, int Stages, int WarpM, int WarpN, int WarpsK, int CtasPerSm>
struct Sm80GemmConfig {
  static constexpr int block_m = BlockM, block_n = BlockN, block_k = BlockK, stages = Stages;
  static constexpr int warp_m = WarpM, warp_n = WarpN, warps_k = WarpsK, ctas_per_sm = CtasPerSm;
  static constexpr int warps_m = BlockM / WarpM, warps_n = BlockN / WarpN;
  static constexpr int warps = warps_m * warps_n * warps_k, threads = 32 * warps;
  static constexpr int k_steps = BlockK / 32 / WarpsK;  ///< k32 steps of one warp in a k-block
  static constexpr int store_n = WarpN / WarpsK;        ///< output columns of one warp once the depth slices are added up
  static constexpr int stage_bytes = (BlockM + BlockN) * BlockK;

  static_assert(BlockK == 64 || BlockK == 128, "a row of a stage is one 64- or 128-byte swizzle row");
  static_assert(BlockM % WarpM == 0 && BlockN % WarpN == 0 && WarpM % 16 == 0 && WarpN % 16 == 0, "whole mma tiles");
  static_assert(WarpsK == 1 || WarpsK == 2 || WarpsK == 4, "the depth slices are picked by address bits");
  static_assert(BlockK % (32 * WarpsK) == 0 && WarpN % (8 * WarpsK) == 0, "whole k32 steps and whole n8 columns a warp");
  static_assert(Stages >= 3, "one stage being read, one complete, one in flight");

  static std::string name() {
    return "sm80_gemm/" + std::to_string(BlockM) + "x" + std::to_string(BlockN) + "x" + std::to_string(BlockK) + "_s" +
           std::to_string(Stages) + (WarpsK > 1 ? "_k" + std::to_string(WarpsK) : "");
  }
};

using Sm80GemmConfigs = ConfigList<Sm80GemmConfig<256, 192, 64, 4, 64, 96, 1, 1>,  //
                                   Sm80GemmConfig<128, 256, 64, 4, 64, 64, 1, 1>,  //
                                   Sm80GemmConfig<128, 192, 64, 4, 64, 96, 1, 2>,  //
                                   Sm80GemmConfig<128, 128, 64, 4, 64, 64, 1, 2>,  //
                                   Sm80GemmConfig<128, 64, 128, 4, 64, 64, 2, 2>,  //
                                   Sm80GemmConfig<64, 64, 128, 5, 64, 64, 4, 2>,   //
                                   Sm80GemmConfig<16, 64, 128, 6, 16, 64, 4, 3>>;

namespace detail {

/// What a configuration costs, in SM clocks.
struct Sm80GemmCost {
  int step;   ///< a k32 step of one CTA while the SM holds ctas_per_sm of them, divided by their number
  int alone;  ///< a k32 step of a CTA that has the SM for itself
  int fixed;  ///< once a CTA: start, filling the pipeline, epilogue
};

/// One entry a configuration, in the order of the list.
inline constexpr Sm80GemmCost sm80_gemm_costs[] = {{640, 640, 8000}, {450, 450, 6000}, {330, 380, 6000}, {230, 280, 5000},
                                                   {130, 150, 5000}, {80, 90, 4000},   {30, 40, 3000}};
static_assert(sizeof sm80_gemm_costs / sizeof *sm80_gemm_costs == Sm80GemmConfigs::size, "one entry a configuration");

/// Clocks that the busiest SM needs for the tiles it gets.
template <class Config>
std::int64_t sm80_gemm_clocks(int m, int n, int k, const DeviceProperties& device, const Sm80GemmCost& cost) {
  const std::int64_t tiles = ceil_div<std::int64_t>(m, Config::block_m) * ceil_div<std::int64_t>(n, Config::block_n);
  const std::int64_t tiles_an_sm = ceil_div<std::int64_t>(tiles, device.multiprocessors);
  const std::int64_t rounds = tiles_an_sm / Config::ctas_per_sm, rest = tiles_an_sm % Config::ctas_per_sm;
  const std::int64_t steps = ceil_div(k, 32);
  const std::int64_t full = rounds * Config::ctas_per_sm * cost.step,
                     partial = rest > 0 ? max_of<std::int64_t>(rest * cost.step, cost.alone) : 0;
  return (full + partial) * steps + (rounds + (rest > 0)) * cost.fixed;
}

}  // namespace detail

/// The configuration for a shape: the one whose busiest SM is done first, among those that fit the device's shared memory.
/// m, n >= 1. Returns an index into Sm80GemmConfigs.
inline int select_sm80_gemm(int m, int n, int k, const DeviceProperties& device) {
  int best = -1;
  std::int64_t best_clocks = 0;
  for (int index = 0; index < Sm80GemmConfigs::size; ++index) {
    Sm80GemmConfigs::visit(index, [&](auto config) {
      using Config = decltype(config);
      // Beside the stages: the states of the epilogue's rows and columns.
      const int shared_bytes = Config::stages * Config::stage_bytes + 8 * (Config::block_m + Config::block_n);
      if (shared_bytes > device.shared_memory_per_block) return;
      const std::int64_t clocks = detail::sm80_gemm_clocks<Config>(m, n, k, device, detail::sm80_gemm_costs[index]);
      if (best < 0 || clocks < best_clocks) best = index, best_clocks = clocks;
    });
  }
  return best;
}

/// Bytes of workspace that a shape can make use of.
inline std::size_t sm80_gemm_workspace_bytes(int, int, int, const DeviceProperties&) { return 0; }

/// Tile rows a raster group: the tiles that run at a time (`slots`) then cover a nearly square part of the output.
inline int sm80_gemm_raster_group(int block_m, int block_n, int slots) {
  int group = 1;
  while ((group + 1) * (group + 1) * block_m <= slots * block_n) ++group;
  return group;
}

}  // namespace w8a8
