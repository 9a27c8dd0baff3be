// error: calling a __host__ function.* from a __device__ function
#include "w8a8/tensor/view.hpp"

__device__ float read(w8a8::MatrixView<float, w8a8::Host> host, w8a8::MatrixView<float, w8a8::Device> device) {
#ifdef MUST_FAIL
  return host(0, 0);
#else
  return device(0, 0) + static_cast<float>(host.extent(0));
#endif
}
