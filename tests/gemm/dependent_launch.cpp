// Where programmatic dependent launch is used: rows that were measured, on either side.
#include "w8a8/gemm/tuning/dependent_launch.hpp"

#include "support/catch.hpp"

namespace {

using namespace w8a8;

TEST_CASE("dependent launch: sm90_gemm on 132 SMs", "[gemm]") {
  CHECK(sm90_gemm_starts_early(256, 2 * 54, 9, 132));        // 256x4304x1152, 128x80
  CHECK(!sm90_gemm_starts_early(256, 2 * 64, 32, 132));      // 256x6144x4096, 128x96
  CHECK(!sm90_gemm_starts_early(1024, 4 * 30, 9, 132));      // 1024x4304x1152, 256x144
  CHECK(!sm90_gemm_starts_early(256, 2 * 128, 32, 132));     // 256x28672x4096, 128x224
  CHECK(!sm90_gemm_starts_early(1024, 8 * 16, 112, 132));    // 1024x4096x14336, 128x256
  CHECK(!sm90_gemm_starts_early(8192, 64 * 24, 32, 132));    // 8192x6144x4096, 128x256
  CHECK(!sm90_gemm_starts_early(1 << 30, 1 << 30, 9, 132));  // no overflow
}

TEST_CASE("dependent launch: the quantizer of a layer", "[gemm]") {
  for (const int tokens : {1, 16, 33, 64}) CHECK(gemm_starts_before_quantizer(tokens));
  CHECK(quantizer_starts_early(128, 14336));
  CHECK(quantizer_starts_early(512, 1152));
  CHECK(!quantizer_starts_early(256, 4096));
  CHECK(!quantizer_starts_early(1024, 1152));
  for (const int tokens : {17, 32, 65, 1024}) CHECK(!gemm_starts_before_quantizer(tokens));
}

}  // namespace
