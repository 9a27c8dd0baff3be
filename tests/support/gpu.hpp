// What GPU tests start with. A test that needs a device it does not find is skipped, never passed.
#pragma once

#include <cuda_runtime_api.h>

#include "support/catch.hpp"
#include "w8a8/support/arch.hpp"
#include "w8a8/support/device.hpp"
#include "w8a8/support/launch.cuh"

/// First line of a test case that needs a GPU.
#define W8A8_REQUIRE_GPU()                                       \
  do {                                                           \
    if (!::w8a8::has_cuda_device()) W8A8_SKIP("no CUDA device"); \
  } while (false)

namespace w8a8_test {

/// Bounded for 128 threads in code for sm_90a alone.
template <int = 0>
__global__ void __launch_bounds__(w8a8::arch::launch_bound(w8a8::arch::has_wgmma, 128)) hopper_probe() {}

/// Whether the Hopper kernels can run: the device is one, and this program holds code for sm_90a.
inline bool runs_hopper_code() {
  return w8a8::current_device().compute_capability == 90 && w8a8::is_compiled_for_device(hopper_probe<0>, 128);
}

}  // namespace w8a8_test

/// First line of a test case that needs wgmma, stmatrix or TMA of its own: a Hopper GPU and code for it.
#define W8A8_REQUIRE_SM90()                                                                                        \
  do {                                                                                                             \
    if (!::w8a8::has_cuda_device()) W8A8_SKIP("no CUDA device");                                                   \
    if (!::w8a8_test::runs_hopper_code()) W8A8_SKIP("no device of compute capability 9.0, or no code for sm_90a"); \
  } while (false)

namespace w8a8_test {

/// A stream of its own, which does not synchronise with the default stream.
class Stream {
 public:
  Stream() { w8a8::check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags"); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  operator cudaStream_t() const { return stream_; }
  void synchronize() const { w8a8::check_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace w8a8_test
