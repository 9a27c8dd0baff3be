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

TEST_CASE("Divisor divides", "[support]") {
  int wrong = 0;
  const auto check = [&](int divisor, std::int64_t n) {
    if (n >= 0 && n <= 0x7fffffff) wrong += Divisor(divisor).divide(static_cast<int>(n)) != n / divisor;
  };
  const int divisors[] = {1, 2, 3, 5, 7, 11, 48, 129, 641, 4095, 4096, 65537, 1000003, 0x3fffffff, 0x40000000, 0x7fffffff};
  for (const int divisor : divisors) {
    for (std::int64_t n = 0; n < 2000; ++n) check(divisor, n), check(divisor, 0x7fffffff - n);
    for (std::int64_t q = 0; q < 2000; ++q) check(divisor, q * divisor - 1), check(divisor, q * divisor);
  }
  for (int divisor = 1; divisor < 300; ++divisor) {
    for (int n = 0; n < 3000; ++n) check(divisor, n);
  }
  CHECK(wrong == 0);
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
