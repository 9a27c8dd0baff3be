#include "w8a8/support/integer_math.hpp"

#include <cstdint>

#include "support/catch.hpp"

using namespace w8a8;

TEST_CASE("ceil_div and round_up agree with their definitions", "[support]") {
  int wrong = 0;
  for (int a = 0; a <= 300; ++a) {
    for (int b = 1; b <= 70; ++b) {
      int quotient = 0;
      while (quotient * b < a) ++quotient;
      wrong += ceil_div(a, b) != quotient;
      wrong += round_up(a, b) != quotient * b;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("ceil_div takes 64-bit sizes", "[support]") {
  constexpr std::int64_t big = std::int64_t{1} << 40;
  STATIC_REQUIRE(ceil_div<std::int64_t>(big + 1, 128) == big / 128 + 1);
}

TEST_CASE("min_of and max_of", "[support]") {
  STATIC_REQUIRE(min_of(3, 5) == 3);
  STATIC_REQUIRE(min_of(5, 3) == 3);
  STATIC_REQUIRE(max_of(-3, -5) == -3);
  STATIC_REQUIRE(max_of(-5, -3) == -3);
}

TEST_CASE("is_aligned", "[support]") {
  alignas(64) char bytes[64];
  CHECK(is_aligned(bytes, 64));
  CHECK(is_aligned(bytes + 16, 16));
  CHECK_FALSE(is_aligned(bytes + 16, 32));
  CHECK_FALSE(is_aligned(bytes + 1, 2));
  CHECK(is_aligned(bytes + 1, 1));
}
