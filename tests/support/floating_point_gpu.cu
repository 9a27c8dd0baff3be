#include "support/gpu.hpp"
#include "w8a8/support/floating_point.hpp"

TEST_CASE("placeholder") {
  W8A8_REQUIRE_GPU();
  CHECK(w8a8::has_cuda_device());
}
