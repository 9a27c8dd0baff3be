// Which configuration of sm90_gemm runs a problem: the one that a model of its time likes best.
//
// A launch takes rounds x (k-blocks x clocks of a k-block / efficiency + clocks of a tile) + clocks of a launch, where rounds is
// what the busiest SM has to do. (The power limit, which stretches all of them alike, is left out.) The constants describe 70
// measurements of all configurations on an H200, 25 shapes from 256x1024x8192 to 8192x6144x4096: docs/performance/sm90_gemm.md.
// Large products take two launches, of which the first one keeps all SMs busy in whole rounds: where many rows share a weight
// with 256x192 tiles, the fewest bytes a multiply-add, and so the least power.
#pragma once

#include <cmath>
#include <cstdint>

#include "w8a8/gemm/tuning/parts.hpp"
#include "w8a8/support/device.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8 {

namespace detail {

/// One configuration as the model sees it.
struct Sm90GemmTuning {
  int tile_m, tile_n;
  int split_k;        ///< CTAs that share a tile along K
  double efficiency;  ///< of the tensor cores' rate, in the main loop of a CTA that has the L2 cache to itself
  double contention;  ///< what of it is lost when all SMs load
  double per_tile;    ///< clocks of a tile outside its main loop that nothing hides
  double per_launch;  ///< clocks of the last tile's epilogue, where those of the others are hidden
};

/// In the order of Sm90GemmConfigs.
inline constexpr Sm90GemmTuning sm90_gemm_tuning[] = {
    {256, 192, 1, 0.96, 0, 8240, 0},       // 256x192: 4096x6144x14336 413.5 us (128x256_deferred 423.0)
    {128, 256, 1, 0.924, 0, 3805, 0},      // 128x256_deferred: 1024x8192x8192 83.6 us (128x128_pingpong 87.5)
    {128, 224, 1, 0.875, 0, 2944, 0},      // 128x224_deferred: 256x28672x4096 44.1 us (128x256_deferred 46.7)
    {128, 192, 1, 0.893, 0, 3348, 0},      // 128x192_deferred: 512x6144x4096 18.8 us (128x96 19.6)
    {128, 144, 1, 0.95, 0.14, 2377, 0},    // 128x144: 512x4304x1152 7.0 us (128x80 7.9)
    {128, 128, 1, 0.95, 0.12, 2510, 0},    // 128x128: 256x8192x8192 25.2 us (128x128_pingpong 26.6)
    {128, 96, 1, 0.95, 0.14, 1856, 0},     // 128x96: 256x6144x4096 11.2 us (128x80 16.9)
    {128, 80, 1, 0.80, 0, 1454, 0},        // 128x80: 256x4304x1152 5.3 us (128x96 5.7)
    {128, 64, 1, 0.645, 0, 1250, 0},       // 128x64: 256x4096x14336 25.9 us (128x80 26.2)
    {256, 144, 1, 0.897, 0, 5254, 0},      // 256x144: 1024x4304x1152 10.9 us (128x144 11.6)
    {128, 128, 1, 0.95, 0.12, 700, 2300},  // 128x128_pingpong: 8192x4304x1152 60.0 us (128x224_deferred 64.6)
    {128, 128, 2, 0.95, 0.30, 5886, 0},    // 128x128_splitk2: 256x1024x8192 14.4 us (128x80 16.4)
};

/// Clocks of an M x N x K problem, the power limit aside.
inline double sm90_gemm_clocks(const Sm90GemmTuning& config, int m, int n, int k, const DeviceProperties& device) {
  constexpr double macs_per_clock = 4096;  // int8 multiply-adds of an SM
  const double ctas = std::ceil(m / double(config.tile_m)) * std::ceil(n / double(config.tile_n)) * config.split_k;
  const double rounds = std::ceil(ctas / device.multiprocessors), busy = min_of(1.0, ctas / device.multiprocessors);
  const double efficiency = config.efficiency * (1 - config.contention * busy);
  const double k_blocks = std::ceil(std::ceil(k / 128.0) / config.split_k);
  const double block_clocks = config.tile_m * config.tile_n * 128 / macs_per_clock / efficiency;
  return rounds * (k_blocks * block_clocks + config.per_tile) + config.per_launch;
}

/// What sm90_gemm takes for columns of a product, as best_parts() asks for it.
struct Sm90GemmModel {
  static constexpr int size = sizeof sm90_gemm_tuning / sizeof *sm90_gemm_tuning;
  static constexpr double second_launch = 8000, doubt = 1;
  int m, k;
  const DeviceProperties& device;

  double clocks(int index, int n) const { return sm90_gemm_clocks(sm90_gemm_tuning[index], m, n, k, device); }
  GemmRound round(int index) const {
    return {sm90_gemm_tuning[index].tile_m, sm90_gemm_tuning[index].tile_n, device.multiprocessors};
  }
};

}  // namespace detail

/// Configurations as indices into Sm90GemmConfigs. m, n, k >= 1.
inline GemmParts select_sm90_gemm(int m, int n, int k, const DeviceProperties& device) {
  return detail::best_parts(detail::Sm90GemmModel{m, k, device}, m, n);
}

}  // namespace w8a8
