// What GPU tests start with. A test that needs a device it does not find is skipped, never passed.
#pragma once

#include <cuda_runtime_api.h>

#include "support/catch.hpp"
#include "w8a8/support/device.hpp"

/// First line of a test case that needs a GPU.
#define W8A8_REQUIRE_GPU()                                       \
  do {                                                           \
    if (!::w8a8::has_cuda_device()) W8A8_SKIP("no CUDA device"); \
  } while (false)

/// First line of a test case that needs wgmma: a device of compute capability 9.0.
#define W8A8_REQUIRE_SM90()                                                                                  \
  do {                                                                                                       \
    if (!::w8a8::has_cuda_device()) W8A8_SKIP("no CUDA device");                                             \
    if (::w8a8::current_device().compute_capability != 90) W8A8_SKIP("no device of compute capability 9.0"); \
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
