// Defect 7 of the replaced kernels: a launch that the device refuses is an error, and no later call's.
#include <cuda_runtime_api.h>

#include <cstddef>

#include "support/catch.hpp"
#include "support/gpu.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/launch.cuh"
#include "w8a8/tensor/tensor.hpp"

using namespace w8a8_test;

namespace {

__global__ void write_one(int* out) { *out = 1; }

}  // namespace

TEST_CASE("defect 7: a launch that the device refuses throws, and the next one is none the worse", "[gpu][support][defect]") {
  W8A8_REQUIRE_GPU();
  const Stream stream;
  auto value = w8a8::Tensor<int, 1, w8a8::Device>({1});
  w8a8::check_cuda(cudaMemset(value.data(), 0, sizeof(int)), "cudaMemset");
  w8a8::check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  const auto launch = [&](w8a8::LaunchConfig config) {
    config.stream = stream;
    w8a8::launch("write_one", write_one, config, value.data());
  };
  w8a8::LaunchConfig too_much_memory, too_many_threads, no_grid;
  too_much_memory.shared_bytes = std::size_t{1} << 20;
  too_many_threads.block = 4096;
  no_grid.grid = 0;
  for (const w8a8::LaunchConfig& config : {too_much_memory, too_many_threads, no_grid}) {
    try {
      launch(config);
      FAIL_CHECK("not refused");
    } catch (const w8a8::CudaError& error) {
      CHECK(error.code() != cudaSuccess);
      CHECK(cudaGetLastError() == cudaSuccess);
    }
    stream.synchronize();
    CHECK(w8a8::clone_to<w8a8::Host>(value.view())(0) == 0);
  }
  launch({});
  stream.synchronize();
  CHECK(w8a8::clone_to<w8a8::Host>(value.view())(0) == 1);
}
