// Random problems whose epilogue ends in a gate: half the columns.
#include "gemm/random_gemm.cuh"

using namespace w8a8_test;

TEST_CASE("gemm: random problems, gated", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  check_random_problems<w8a8::half, Chain::gated>(61, 300, 400, 700, 1300);
}

TEST_CASE("gemm: random problems of few tokens and deep K, gated", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  check_random_problems<w8a8::half, Chain::gated>(61 + 1, 60, 130, 300, 9000);
}

TEST_CASE("gemm: every configuration, gated", "[gpu][gemm][sanitizer]") {
  W8A8_REQUIRE_GPU();
  check_every_configuration<w8a8::half, Chain::gated>(61 + 2, 8);
}

TEST_CASE("gemm: two configurations side by side, gated", "[gpu][gemm][sanitizer]") {
  W8A8_REQUIRE_GPU();
  check_random_parts<w8a8::half, Chain::gated>(61 + 3, 60);
}
