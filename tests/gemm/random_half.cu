// Random problems with half output and bias.
#include "gemm/random_gemm.cuh"

using namespace w8a8_test;

TEST_CASE("gemm: random problems, half output and bias", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  check_random_problems<w8a8::half, Chain::bias>(11, 600, 400, 700, 1300);
}

TEST_CASE("gemm: random problems of few tokens and deep K, half output and bias", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  check_random_problems<w8a8::half, Chain::bias>(11 + 1, 150, 130, 300, 9000);
}

TEST_CASE("gemm: every configuration, half output and bias", "[gpu][gemm][sanitizer]") {
  W8A8_REQUIRE_GPU();
  check_every_configuration<w8a8::half, Chain::bias>(11 + 2, 12);
}

TEST_CASE("gemm: two configurations side by side, half output and bias", "[gpu][gemm][sanitizer]") {
  W8A8_REQUIRE_GPU();
  check_random_parts<w8a8::half, Chain::bias>(11 + 3, 60);
}
