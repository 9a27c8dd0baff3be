// Random problems with float output and bias.
#include "gemm/random_gemm.cuh"

using namespace w8a8_test;

TEST_CASE("gemm: random problems, float output and bias", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  check_random_problems<float, Chain::bias>(41, 300, 400, 700, 1300);
}

TEST_CASE("gemm: random problems of few tokens and deep K, float output and bias", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  check_random_problems<float, Chain::bias>(41 + 1, 60, 130, 300, 9000);
}

TEST_CASE("gemm: every configuration, float output and bias", "[gpu][gemm][sanitizer]") {
  W8A8_REQUIRE_GPU();
  check_every_configuration<float, Chain::bias>(41 + 2, 6);
}
