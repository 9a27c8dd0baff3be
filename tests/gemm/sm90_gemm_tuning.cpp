// sm90_gemm's table: how 256x192_leading divides the columns between its two launches, and when it is chosen.
#include <string>

#include "support/catch.hpp"
#include "support/random.hpp"
#include "w8a8/gemm/tuning/sm90_gemm.hpp"
#include "w8a8/support/error.hpp"

namespace {

using namespace w8a8;

DeviceProperties with_multiprocessors(int count) {
  DeviceProperties device;
  device.compute_capability = 90;
  device.multiprocessors = count;
  return device;
}

}  // namespace

TEST_CASE("sm90_gemm: the leading columns are whole tiles, and another configuration makes the rest", "[gemm]") {
  w8a8_test::Random random(1);
  const detail::Sm90GemmTuning& leading = detail::sm90_gemm_tuning[detail::sm90_gemm_leading];
  for (int i = 0; i < 20000; ++i) {
    const int m = static_cast<int>(random.integer(1, 1 << random.integer(1, 20)));
    const int n = static_cast<int>(random.integer(1, 1 << random.integer(1, 17))), k = static_cast<int>(random.integer(1, 30000));
    const DeviceProperties device = with_multiprocessors(static_cast<int>(random.integer(1, 200)));
    const detail::Sm90GemmSplit split = detail::sm90_gemm_split(m, n, k, device);
    INFO(text(m, " x ", n, " x ", k, ", ", device.multiprocessors, " multiprocessors: ", split.columns, " columns"));
    REQUIRE(split.columns >= 1);
    REQUIRE(split.columns <= n);
    REQUIRE((split.columns == n || split.columns % leading.tile_n == 0));
    REQUIRE(split.rest >= 0);
    REQUIRE(split.rest < detail::sm90_gemm_leading);
    REQUIRE(split.clocks > 0);
  }
}

TEST_CASE("sm90_gemm: many tokens and deep K lead with 256x192, few tokens do not", "[gemm]") {
  const DeviceProperties device = with_multiprocessors(132);
  CHECK(select_sm90_gemm(4096, 8192, 28672, device) == detail::sm90_gemm_leading);
  CHECK(select_sm90_gemm(4096, 4096, 14336, device) == detail::sm90_gemm_leading);
  CHECK(select_sm90_gemm(256, 4096, 14336, device) != detail::sm90_gemm_leading);
  CHECK(select_sm90_gemm(1024, 8192, 8192, device) != detail::sm90_gemm_leading);
  // 3072 columns in two rounds of 256 CTAs.
  CHECK(detail::sm90_gemm_split(4096, 4096, 14336, device).columns == 3072);
  CHECK(detail::sm90_gemm_split(4096, 6144, 4096, device).columns == 6144);
}
