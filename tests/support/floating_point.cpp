// The rounding steps of the numerics contract against definitions that share no code with them.
#include "w8a8/support/floating_point.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "support/catch.hpp"
#include "support/random.hpp"

using namespace w8a8;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

/// x to `fraction_bits` fraction bits and a smallest exponent, ties to even, in doubles; infinite where it overflows.
double rounded(float x, int fraction_bits, int smallest_exponent, double overflow) {
  if (x == 0.0f) return x;
  const int exponent = std::max(std::ilogb(x), smallest_exponent);
  const double quantum = std::ldexp(1.0, exponent - fraction_bits);
  const double value = std::nearbyint(static_cast<double>(x) / quantum) * quantum;
  return std::fabs(value) >= overflow ? std::copysign(infinity, x) : value;
}

std::uint16_t bits_of(half x) {
  std::uint16_t bits;
  std::memcpy(&bits, &x, 2);
  return bits;
}
std::uint16_t bits_of(bfloat16 x) {
  std::uint16_t bits;
  std::memcpy(&bits, &x, 2);
  return bits;
}

template <class T>
T of_bits(std::uint16_t bits) {
  T x;
  std::memcpy(static_cast<void*>(&x), &bits, 2);
  return x;
}

/// Any float, each exponent alike, no NaN or infinity.
float any_float(w8a8_test::Random& random) {
  for (;;) {
    const float x = float_from_bits(static_cast<std::uint32_t>(random.bits() >> 32));
    if (std::isfinite(x)) return x;
  }
}

}  // namespace

TEST_CASE("float_bits and float_from_bits are inverse", "[support]") {
  for (const std::uint32_t bits : {0u, 0x80000000u, 0x3f800000u, 0x7f800000u, 0x7fffffffu, 0xffc00001u, 1u}) {
    CHECK(float_bits(float_from_bits(bits)) == bits);
  }
  CHECK(float_bits(1.0f) == 0x3f800000u);
}

TEST_CASE("multiply, add, divide and fused_multiply_add round once, to nearest even", "[support]") {
  w8a8_test::Random random(1);
  int wrong = 0;
  for (int i = 0; i < 200000; ++i) {
    const float a = random.normal() * 100.0f, b = random.normal(), c = random.normal() * 10.0f;
    // A product of two floats is exact in double, so one rounding is left. Sum and quotient: rounding to double first is
    // harmless, double having more than 2 * 24 + 2 bits.
    wrong += multiply(a, b) != static_cast<float>(static_cast<double>(a) * b);
    wrong += add(a, b) != static_cast<float>(static_cast<double>(a) + b);
    wrong += b != 0.0f && divide(a, b) != static_cast<float>(static_cast<double>(a) / b);
    wrong += fused_multiply_add(a, b, c) != std::fma(a, b, c);
  }
  CHECK(wrong == 0);
}

TEST_CASE("multiply followed by add is two roundings", "[support]") {
  // (1 + 2^-12)^2 = 1 + 2^-11 + 2^-24: the last term is lost when the product is rounded, and shows when it is not.
  volatile float a = 1.0f + 0x1p-12f;
  volatile float c = -(1.0f + 0x1p-11f);
  CHECK(add(multiply(a, a), c) == 0.0f);
  CHECK(fused_multiply_add(a, a, c) == 0x1p-24f);
}

TEST_CASE("round_to_int rounds ties to even", "[support]") {
  CHECK(round_to_int(0.5f) == 0);
  CHECK(round_to_int(1.5f) == 2);
  CHECK(round_to_int(2.5f) == 2);
  CHECK(round_to_int(-0.5f) == 0);
  CHECK(round_to_int(-1.5f) == -2);
  CHECK(round_to_int(126.5f) == 126);
  CHECK(round_to_int(126.49999f) == 126);
  CHECK(round_to_int(126.50001f) == 127);
}

TEST_CASE("int_to_float rounds to nearest even", "[support]") {
  CHECK(int_to_float(16777216) == 16777216.0f);
  CHECK(int_to_float(16777217) == 16777216.0f);
  CHECK(int_to_float(16777219) == 16777220.0f);
  CHECK(int_to_float(-2147483647) == -2147483648.0f);
}

TEST_CASE("every half and bfloat16 survives to_float and from_float", "[support]") {
  int wrong = 0;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const half h = of_bits<half>(static_cast<std::uint16_t>(bits));
    const float fh = to_float(h);
    wrong += std::isnan(fh) ? bits_of(from_float<half>(fh)) != 0x7fff : bits_of(from_float<half>(fh)) != bits;
    const bfloat16 b = of_bits<bfloat16>(static_cast<std::uint16_t>(bits));
    const float fb = to_float(b);
    wrong += std::isnan(fb) ? bits_of(from_float<bfloat16>(fb)) != 0x7fff : bits_of(from_float<bfloat16>(fb)) != bits;
  }
  CHECK(wrong == 0);
}

TEST_CASE("from_float rounds once, to nearest even, subnormals and overflow included", "[support]") {
  w8a8_test::Random random(2);
  int wrong = 0;
  const auto check = [&](float x) {
    wrong += to_float(from_float<half>(x)) != rounded(x, 10, -14, 65536.0);
    wrong += to_float(from_float<bfloat16>(x)) != rounded(x, 7, -126, std::ldexp(1.0, 128));
    wrong += float_bits(from_float<float>(x)) != float_bits(x);
  };
  for (int i = 0; i < 300000; ++i) {
    check(any_float(random));
    check(random.normal());
    check(random.normal() * 0x1p-20f);
  }
  for (int i = 0; i < 65536; ++i) {  // ties: halfway between two neighbouring halves, and to either side
    const float low = to_float(of_bits<half>(static_cast<std::uint16_t>(i)));
    const float high = to_float(of_bits<half>(static_cast<std::uint16_t>(i + 1)));
    if (!std::isfinite(low) || !std::isfinite(high)) continue;
    const float middle = 0.5f * (low + high);
    check(middle);
    check(std::nextafter(middle, infinity));
    check(std::nextafter(middle, -infinity));
  }
  check(65519.996f);
  check(65520.0f);
  CHECK(wrong == 0);
}

TEST_CASE("a NaN of any sign and payload is stored as the canonical one", "[support]") {
  for (const std::uint32_t bits : {0x7fc00000u, 0xffc00000u, 0x7f800001u, 0xffffffffu}) {
    const float nan = float_from_bits(bits);
    CHECK(float_bits(from_float<float>(nan)) == 0x7fffffffu);
    CHECK(bits_of(from_float<half>(nan)) == 0x7fff);
    CHECK(bits_of(from_float<bfloat16>(nan)) == 0x7fff);
  }
}

TEST_CASE("is_floating_v", "[support]") {
  STATIC_REQUIRE(is_floating_v<float>);
  STATIC_REQUIRE(is_floating_v<half>);
  STATIC_REQUIRE(is_floating_v<bfloat16>);
  STATIC_REQUIRE_FALSE(is_floating_v<double>);
  STATIC_REQUIRE_FALSE(is_floating_v<std::int8_t>);
}
