#include "w8a8/support/device.hpp"

#include "support/catch.hpp"
#include "w8a8/support/arch.hpp"
#include "w8a8/support/config.hpp"

using namespace w8a8;

TEST_CASE("device queries either answer or throw CudaError", "[support]") {
  if (!has_cuda_device()) {
    CHECK_THROWS_AS(current_device(), CudaError);
    CHECK_THROWS_AS(device_name(0), CudaError);
  } else {
    const DeviceProperties device = current_device();
    CHECK(device.compute_capability >= 30);
    CHECK(device.multiprocessors > 0);
    CHECK(device.shared_memory_per_block >= 48 * 1024);
    CHECK(device.l2_bytes > 0);
    CHECK_FALSE(device_name(device.ordinal).empty());
    CHECK_THROWS_AS(device_name(1 << 20), CudaError);
    CHECK(cudaGetLastError() == cudaSuccess);  // a failed query leaves nothing behind for the caller's next check
  }
}

TEST_CASE("host code has no device capability", "[support]") {
  STATIC_REQUIRE_FALSE(arch::has_int8_mma_sync);
  STATIC_REQUIRE_FALSE(arch::has_wgmma);
  STATIC_REQUIRE_FALSE(arch::has_dependent_launch);
  STATIC_REQUIRE(arch::launch_bound(true, 384) == 384);
  STATIC_REQUIRE(arch::launch_bound(false, 384) == 1);
}

TEST_CASE("the version is three numbers", "[support]") {
  CHECK(W8A8_VERSION_MAJOR >= 0);
  CHECK(W8A8_VERSION_MINOR >= 0);
  CHECK(W8A8_VERSION_PATCH >= 0);
}
