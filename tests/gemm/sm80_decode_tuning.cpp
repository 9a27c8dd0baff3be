// Where in K the CTAs of sm80_decode start.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "support/catch.hpp"
#include "w8a8/gemm/tuning/sm80_decode.hpp"

using w8a8::DeviceProperties;
using w8a8::sm80_decode_first_step;
using w8a8::sm80_decode_share;

namespace {

DeviceProperties h200() {
  DeviceProperties device;
  device.compute_capability = 90;
  device.multiprocessors = 132;
  device.shared_memory_per_block = 227 * 1024;
  return device;
}

std::uint32_t spread_of(std::int64_t row_stride) { return sm80_decode_share(8192, row_stride, 64, 150000, 1, 4, h200()).spread; }

}  // namespace

TEST_CASE("sm80_decode: CTAs start evenly spread over K where rows lie a multiple of 8 KB apart", "[gemm]") {
  for (const std::int64_t row_stride : {8192, 16384, 24576}) {
    const std::uint32_t spread = spread_of(row_stride);
    for (int steps = 1; steps <= 64; ++steps) {
      for (int ctas = 1; ctas <= 4 * steps; ++ctas) {
        std::vector<int> starts(static_cast<std::size_t>(steps));
        for (int cta = 0; cta < ctas; ++cta) {
          const int step = sm80_decode_first_step(static_cast<std::uint32_t>(cta), steps, spread);
          REQUIRE(step >= 0);
          REQUIRE(step < steps);
          ++starts[static_cast<std::size_t>(step)];
        }
        const auto [least, most] = std::minmax_element(starts.begin(), starts.end());
        REQUIRE(*most - *least <= 3);
      }
    }
  }
}

TEST_CASE("sm80_decode: elsewhere all CTAs start at the start of K", "[gemm]") {
  for (const std::int64_t row_stride : {16, 1152, 4096, 4304, 14336, 28672}) {
    for (std::uint32_t cta = 0; cta < 200; ++cta) REQUIRE(sm80_decode_first_step(cta, 32, spread_of(row_stride)) == 0);
  }
}

TEST_CASE("sm80_decode: a K of no chunk has no other start", "[gemm]") {
  CHECK(sm80_decode_first_step(5, 0, spread_of(8192)) == 0);
}
