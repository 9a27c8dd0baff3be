// Random problems with half output without bias.
#include "gemm/random_gemm.cuh"

using namespace w8a8_test;

TEST_CASE("gemm: random problems, half output without bias", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  check_random_problems<w8a8::half, Chain::dequantize>(21, 300, 400, 700, 1300);
}

TEST_CASE("gemm: random problems of few tokens and deep K, half output without bias", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  check_random_problems<w8a8::half, Chain::dequantize>(21 + 1, 60, 130, 300, 9000);
}

TEST_CASE("gemm: every configuration, half output without bias", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  check_every_configuration<w8a8::half, Chain::dequantize>(21 + 2, 6);
}
