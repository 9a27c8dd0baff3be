// Which configuration of sm90_gemm runs a problem: the one that a model of its time likes best.
//
// time = rounds * (k_blocks * tile area / efficiency + per_tile) + per_launch, in units of the tensor cores' full rate, where
// rounds is what the busiest SM has to do. The constants are fitted to measurements of all configurations on an H200
// (docs/performance/sm90_gemm.md): `efficiency` is what a long main loop reaches of the full rate, `per_tile` the part of the
// epilogue that nothing hides.
#pragma once

#include <cstdint>

#include "w8a8/support/device.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8 {

namespace detail {

/// One configuration as the model sees it; clocks of an SM.
struct Sm90GemmTuning {
  int tile_m, tile_n;
  int split_k;        ///< CTAs that share a tile along K
  double efficiency;  ///< of the tensor cores' rate, in the main loop
  double per_tile;    ///< clocks of each tile that its successor does not hide
  double per_launch;  ///< clocks of the last tile's epilogue
};

/// In the order of Sm90GemmConfigs.
inline constexpr Sm90GemmTuning sm90_gemm_tuning[] = {
    {128, 256, 1, 0.97, 1900, 2000},  // 128x256_deferred
    {128, 224, 1, 0.95, 1800, 2000},  // 128x224_deferred
    {128, 192, 1, 0.92, 1600, 2000},  // 128x192_deferred
    {128, 144, 1, 0.85, 2000, 0},     // 128x144
    {128, 96, 1, 0.72, 1500, 0},      // 128x96
    {128, 80, 1, 0.65, 1400, 0},      // 128x80
    {256, 144, 1, 0.97, 2800, 0},     // 256x144
    {128, 128, 1, 0.80, 200, 2000},   // 128x128_pingpong
    {128, 128, 2, 0.80, 3500, 0},     // 128x128_splitk2
};

inline double sm90_gemm_clocks(const Sm90GemmTuning& config, int m, int n, int k, const DeviceProperties& device) {
  const std::int64_t tiles = ceil_div<std::int64_t>(m, config.tile_m) * ceil_div<std::int64_t>(n, config.tile_n);
  const std::int64_t rounds = ceil_div<std::int64_t>(tiles * config.split_k, device.multiprocessors);
  const double k_blocks = ceil_div(ceil_div(k, 128), config.split_k);
  const double clocks_per_block = config.tile_m * config.tile_n * 128 / 4096.0;  // 4096 multiply-adds a clock and SM
  return static_cast<double>(rounds) * (k_blocks * clocks_per_block / config.efficiency + config.per_tile) + config.per_launch;
}

}  // namespace detail

/// Index into Sm90GemmConfigs.
inline int select_sm90_gemm(int m, int n, int k, const DeviceProperties& device) {
  int best = 0, index = 0;
  double best_clocks = 0;
  for (const detail::Sm90GemmTuning& config : detail::sm90_gemm_tuning) {
    const double clocks = detail::sm90_gemm_clocks(config, m, n, k, device);
    if (index == 0 || clocks < best_clocks) best = index, best_clocks = clocks;
    ++index;
  }
  return best;
}

}  // namespace w8a8
