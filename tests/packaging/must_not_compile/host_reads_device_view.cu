// error: calling a __device__ function.* from a __host__ function
#include "w8a8/tensor/view.hpp"

__device__ float read_on_device(w8a8::MatrixView<float, w8a8::Device> view) { return view(0, 0); }

float read_on_host(w8a8::MatrixView<float, w8a8::Device> view) {
#ifdef MUST_FAIL
  return view(0, 0);
#else
  return view.data() != nullptr ? 1.0f : 0.0f;
#endif
}
