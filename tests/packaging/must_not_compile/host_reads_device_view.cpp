// error: no match for call to
#include "w8a8/tensor/view.hpp"

float read(w8a8::MatrixView<float, w8a8::Host> host, w8a8::MatrixView<float, w8a8::Device> device) {
  (void)device;
#ifdef MUST_FAIL
  return device(0, 0);
#endif
  return host(0, 0);
}
