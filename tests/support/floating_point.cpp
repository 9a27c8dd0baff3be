#include "w8a8/support/floating_point.hpp"

#include "support/catch.hpp"

using namespace w8a8;

TEST_CASE("float_bits and float_from_bits are inverse") {
  for (const std::uint32_t bits : {0u, 0x80000000u, 0x3f800000u, 0x7f800000u, 0x7fffffffu, 0xffffffffu, 1u}) {
    CHECK(float_bits(float_from_bits(bits)) == bits);
  }
}
