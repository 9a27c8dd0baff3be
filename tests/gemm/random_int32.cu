// Random problems with raw int32 output.
#include "gemm/random_gemm.cuh"

using namespace w8a8_test;

TEST_CASE("gemm: random problems, raw int32 output", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  check_random_problems<std::int32_t, Chain::dequantize>(51, 300, 400, 700, 1300);
}

TEST_CASE("gemm: random problems of few tokens and deep K, raw int32 output", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  check_random_problems<std::int32_t, Chain::dequantize>(51 + 1, 60, 130, 300, 9000);
}

TEST_CASE("gemm: every configuration, raw int32 output", "[gpu][gemm][sanitizer]") {
  W8A8_REQUIRE_GPU();
  check_every_configuration<std::int32_t, Chain::dequantize>(51 + 2, 6);
}
