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
/// and 14.2; but 256x4304x1152 7.05 and 6.00, 512x1280x1280 6.56 and 5.36.
constexpr bool sm90_gemm_starts_early(std::int64_t m, std::int64_t tiles, std::int64_t k_blocks, int multiprocessors) {
  return m <= 512 && k_blocks <= 16 && tiles <= multiprocessors;
}

/// Whether a layer's quantizer starts beside its predecessor and lets the GEMM start. Where the GEMM then does not, it costs 0.1
/// to 0.2 us: 256x6144x4096 13.05 us without, 13.27 with.
constexpr bool quantizer_starts_early(std::int64_t tokens, std::int64_t in_features) {
  return tokens <= 128 || (tokens <= 512 && in_features <= 2048);
}

/// Whether a layer's quantizer lets the GEMM start before it has itself waited for what came before, given that nothing in flight
/// writes the weight.
///
/// H200, the GEMM started after that wait and before it: 16x6144x4096 8.13 and 7.68 us, 16x28672x4096 29.1 and 28.5; 64x6144x4096
/// 10.1 and 9.34, 64x4304x1152 5.01 and 4.61. What is fetched early also delays the quantizer: 32x6144x4096 9.00 and 9.29,
/// 32x4096x4096 7.39 and 8.03, 128x6144x4096 11.1 and 11.7.
constexpr bool gemm_starts_before_quantizer(std::int64_t tokens) { return tokens <= 16 || (tokens > 32 && tokens <= 64); }

}  // namespace w8a8
