// error: no matching function for call to
#include "w8a8/tensor/view.hpp"

void use(w8a8::MatrixView<float, w8a8::Host> host, w8a8::MatrixView<float, w8a8::Device> device) {
  (void)host.mdspan();
  (void)device;
#ifdef MUST_FAIL
  (void)device.mdspan();
#endif
}
