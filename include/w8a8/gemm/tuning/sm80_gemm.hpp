// Configurations of sm80_gemm (gemm/sm80_gemm.cuh) and which of them a shape gets. Host code only.
#pragma once

#include <cstdint>
#include <string>

#include "w8a8/gemm/config_list.hpp"
#include "w8a8/gemm/tuning/parts.hpp"
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

using Sm80GemmConfigs = ConfigList<Sm80GemmConfig<256, 192, 128, 3, 64, 96, 1, 1>,  // needs 227 KB of shared memory a block
                                   Sm80GemmConfig<128, 256, 128, 4, 64, 64, 1, 1>,  // 227 KB
                                   Sm80GemmConfig<128, 256, 64, 5, 64, 64, 1, 1>,   // 163 KB
                                   Sm80GemmConfig<128, 256, 64, 3, 64, 64, 1, 1>,   // 99 KB
                                   Sm80GemmConfig<128, 160, 64, 4, 64, 80, 1, 2>,   // 99 KB; 227 KB for two CTAs an SM
                                   Sm80GemmConfig<128, 192, 128, 4, 64, 96, 2, 1>,  // 227 KB
                                   Sm80GemmConfig<160, 96, 128, 5, 80, 48, 2, 1>,   // 227 KB
                                   Sm80GemmConfig<128, 96, 128, 6, 64, 48, 2, 1>,   // 227 KB
                                   Sm80GemmConfig<96, 96, 128, 7, 48, 48, 2, 1>,    // 227 KB
                                   Sm80GemmConfig<64, 96, 128, 8, 32, 96, 4, 1>,    // 227 KB
                                   Sm80GemmConfig<64, 128, 128, 4, 64, 64, 2, 2>,   // 163 KB; 227 KB for two
                                   Sm80GemmConfig<96, 64, 128, 6, 48, 64, 4, 1>,    // 163 KB
                                   Sm80GemmConfig<64, 64, 128, 5, 64, 64, 4, 2>,    // 99 KB; 227 KB for two
                                   Sm80GemmConfig<96, 48, 128, 8, 48, 48, 2, 1>,    // 163 KB
                                   Sm80GemmConfig<32, 64, 128, 6, 32, 64, 4, 2>,    // 99 KB; 163 KB for two
                                   Sm80GemmConfig<32, 32, 128, 8, 32, 32, 4, 3>,    // 99 KB; 227 KB for three
                                   Sm80GemmConfig<16, 32, 128, 8, 16, 32, 4, 4>>;   // 99 KB; 227 KB for four

/// Those for half and bfloat16 operands (gemm/floating_gemm.cuh): few, because each costs users compile time.
using FloatingGemmConfigs =
    ConfigList<Sm80GemmConfig<128, 256, 64, 5, 64, 64, 1, 1>, Sm80GemmConfig<128, 256, 64, 3, 64, 64, 1, 1>,
               Sm80GemmConfig<64, 128, 128, 4, 64, 64, 2, 2>, Sm80GemmConfig<64, 64, 128, 5, 64, 64, 4, 2>,
               Sm80GemmConfig<16, 32, 128, 8, 16, 32, 4, 4>>;

namespace detail {

/// What a configuration costs, in SM clocks. A k32 step is 32 bytes of depth of one tile.
struct Sm80GemmCost {
  int step;   ///< a step, with ctas_per_sm tiles in work on the SM: the time of all their steps divided by their number
  int alone;  ///< a step of a tile that has the SM for itself
  int fixed;  ///< once a round of tiles: filling the pipeline, epilogue, what does not overlap
};

/// One entry a configuration, in the order of the list. Least squares of relative errors over 5 to 26 shapes (M = 16 ... 4096 of
/// the six layers in docs/performance/sm80_gemm.md) on an H200 with copies by TMA: 132 SMs, 1.75 GHz taken, weights from DRAM,
/// half output; shapes count less where the configuration is far behind the best. A shape and a time of the configuration stand
/// beside it; "rms" is how far the model is off over all shapes. Devices without TMA use the same figures.
inline constexpr Sm80GemmCost sm80_gemm_costs[] = {
    {593, 593, 9721},   // 4096x6144x4096: 193.8 us, 1064 TOPS; rms 1.8%
    {406, 406, 6155},   // 4096x8192x28672: 1681.4 us, 1144 TOPS; rms 1.1%
    {446, 446, 6045},   // 4096x8192x28672: 1837.7 us, 1047 TOPS; rms 1.1%
    {522, 522, 10057},  // 4096x8192x8192: 641.8 us, 857 TOPS; rms 2.3%. Only where shared memory is small
    {282, 355, 6789},   // 1024x4304x1152: 17.0 us against 18.5 with the first; rms 5.3%
    {310, 310, 8000},   // 512x6144x4096: 28.7 us, 898 TOPS; rms 2.9%
    {213, 213, 10002},  // 300x6144x4096: 21.6 us; rms 4.3%
    {175, 175, 8690},   // 256x6144x4096: 18.35 us, 702 TOPS; rms 3.0%
    {141, 141, 6608},   // 192x6144x4096: 14.9 us; rms 4.5%
    {97, 97, 8600},     // 128x6144x4096: 12.1 us, 532 TOPS, against 13.2 with four warps of 64x48; four shapes, rms 2.7%
    {124, 158, 6800},   // 256x8192x8192: 40.1 us, 858 TOPS; fitted where an SM has one or two tiles, rms 1.2%; too high beyond
    {127, 127, 7304},   // 96x8192x8192: 25.15 us; rms 9.5%
    {77, 137, 5583},    // 128x8192x8192: 28.4 us; rms 8.5%
    {104, 104, 7126},   // 96x6144x4096: 12.0 us, 403 TOPS; rms 6.4%
    {54, 110, 4379},    // 128x4096x14336: 30.95 us, 486 TOPS; rms 11%
    {28, 79, 6278},     // 64x6144x4096: 10.8 us; rms 10%
    {35, 91, 3113},     // 16x6144x4096: 9.6 us; its step is set by hand, so that more than 16 tokens take the one before
};
static_assert(sizeof sm80_gemm_costs / sizeof *sm80_gemm_costs == Sm80GemmConfigs::size, "one entry a configuration");

/// Shared memory of a CTA with epilogue states of at most 4 bytes a row and 8 a column (Dequantize | Bias).
template <class Config>
constexpr int sm80_gemm_shared_bytes() {
  const int warp = 32 * (Config::store_n + 8) + 4 * Config::warp_m + 8 * Config::store_n + 16;
  return Config::stages * (Config::stage_bytes + 16) + Config::warps * warp;
}

/// Clocks that the busiest SM needs for the tiles it gets.
template <class Config>
std::int64_t sm80_gemm_clocks(int m, int n, int k, const DeviceProperties& device, const Sm80GemmCost& cost) {
  constexpr int reserved = 1024;  // shared memory that the system takes for each CTA
  const int fit = (device.shared_memory_per_block + reserved) / (sm80_gemm_shared_bytes<Config>() + reserved);
  const std::int64_t tiles = ceil_div<std::int64_t>(m, Config::block_m) * ceil_div<std::int64_t>(n, Config::block_n);
  const std::int64_t tiles_an_sm = ceil_div<std::int64_t>(tiles, device.multiprocessors), steps = ceil_div(k, 32);
  if (fit < Config::ctas_per_sm) return tiles_an_sm * (cost.alone * steps + cost.fixed);
  const std::int64_t rounds = tiles_an_sm / Config::ctas_per_sm, rest = tiles_an_sm % Config::ctas_per_sm;
  const std::int64_t full = rounds * Config::ctas_per_sm * cost.step;
  const std::int64_t partial = rest > 0 ? max_of<std::int64_t>(rest * cost.step, cost.alone) : 0;
  return (full + partial) * steps + (rounds + (rest > 0)) * cost.fixed;
}

/// What sm80_gemm takes for columns of a product, as best_parts() asks for it: clocks of the busiest SM. k counts bytes. Configs:
/// some of Sm80GemmConfigs.
template <class Configs>
struct Sm80GemmModel {
  static constexpr int size = Configs::size;
  static constexpr double second_launch = 4000, doubt = 1.02;
  int m, k;
  const DeviceProperties& device;

  double clocks(int index, int n) const {
    double clocks = -1;
    Configs::visit(index, [&](auto config) {
      using Config = decltype(config);
      constexpr int cost = Sm80GemmConfigs::index_of<Config>();
      static_assert(cost >= 0, "its costs are known");
      if (sm80_gemm_shared_bytes<Config>() > device.shared_memory_per_block) return;
      clocks = static_cast<double>(sm80_gemm_clocks<Config>(m, n, k, device, sm80_gemm_costs[cost]));
    });
    return clocks;
  }
  GemmRound round(int index) const {
    GemmRound round{};
    Configs::visit(index, [&](auto config) {
      round = {config.block_m, config.block_n, device.multiprocessors * config.ctas_per_sm};
    });
    return round;
  }
};

}  // namespace detail

/// The configurations for a shape, as indices into Sm80GemmConfigs: those whose busiest SM is done first, among the ones that fit
/// the device's shared memory. m, n >= 1, k >= 0.
inline GemmParts select_sm80_gemm(int m, int n, int k, const DeviceProperties& device) {
  return detail::best_parts(detail::Sm80GemmModel<Sm80GemmConfigs>{m, k, device}, m, n);
}

/// Likewise for operands of half and bfloat16, always in one part: an index into FloatingGemmConfigs. k: bytes of depth.
inline int select_floating_gemm(int m, int n, int k, const DeviceProperties& device) {
  return detail::best_configuration(detail::Sm80GemmModel<FloatingGemmConfigs>{m, k, device}, n).configuration;
}

/// Tile rows a raster group: the tiles that run at a time (`slots`) then cover a nearly square part of the output.
inline int sm80_gemm_raster_group(int block_m, int block_n, int slots) {
  int group = 1;
  while ((group + 1) * (group + 1) * block_m <= slots * block_n) ++group;
  return group;
}

}  // namespace w8a8
