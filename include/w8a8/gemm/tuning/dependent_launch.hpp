// Where programmatic dependent launch pays. It is a permission, never an order: a kernel that a call could launch as a dependent
// is launched so where that was measured to be faster, as a layer runs it: quantize_per_token, gemm(), and so on, in one graph.
#pragma once

#include <cstdint>

namespace w8a8 {

/// Whether sm90_gemm starts beside its predecessor. tiles: of the output, for `multiprocessors` persistent CTAs; k_blocks: of
/// 128.
///
/// Between two kernels 0.5 to 1 us is to be gained. But CTAs that take SMs as they fall free stand in no order, and those that
/// share a tile of X or W no longer in one GPC, which would fetch it from L2 once for all of them: 3 to 4% of a long GEMM. And
/// the quantizer after it crowds onto the SMs that have no tile. H200, plain and dependent: 8192x6144x4096 270.7 and 280.1 us
/// (plain with CTAs out of order 275.0), 1024x4096x14336 82.6 and 84.8, 256x28672x4096 46.1 and 46.7, 1024x4304x1152 12.9
/// and 14.2; but 256x4304x1152 7.05 and 6.00, 512x1280x1280 6.56 and 5.36, 1024x6144x4096 38.1 and 37.6, 2048x4096x4096 52.4
/// and 51.9.
constexpr bool sm90_gemm_starts_early(std::int64_t m, std::int64_t tiles, std::int64_t k_blocks, int multiprocessors) {
  const std::int64_t rounds = (tiles + multiprocessors - 1) / multiprocessors;
  return k_blocks <= 16 ? rounds == 1 && m <= 512 : rounds == 2 && m >= 896 && k_blocks <= 32;
}

/// Whether a layer's quantizer lets the GEMM start before it has itself waited for what came before, given that nothing in flight
/// writes the weight.
///
/// H200, the GEMM started after that wait and before it: 16x6144x4096 8.21 and 7.78 us, 16x28672x4096 29.5 and 28.7; 64x6144x4096
/// 10.05 and 9.43, 64x4304x1152 5.02 and 4.61. What is fetched early also delays the quantizer: 32x6144x4096 9.08 and 9.44,
/// 32x4096x4096 7.60 and 8.13, 128x6144x4096 11.2 and 11.6; larger M on sm90_gemm lose, too.
constexpr bool gemm_starts_before_quantizer(std::int64_t tokens) { return tokens <= 16 || (tokens > 32 && tokens <= 64); }

}  // namespace w8a8
