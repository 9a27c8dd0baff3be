// Random problems with bfloat16 output and bias.
#include "gemm/random_gemm.cuh"

using namespace w8a8_test;

TEST_CASE("gemm: random problems, bfloat16 output and bias", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  check_random_problems<w8a8::bfloat16, Chain::bias>(31, 300, 400, 700, 1300);
}

TEST_CASE("gemm: random problems of few tokens and deep K, bfloat16 output and bias", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  check_random_problems<w8a8::bfloat16, Chain::bias>(31 + 1, 60, 130, 300, 9000);
}

TEST_CASE("gemm: every configuration, bfloat16 output and bias", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  check_every_configuration<w8a8::bfloat16, Chain::bias>(31 + 2, 6);
}
