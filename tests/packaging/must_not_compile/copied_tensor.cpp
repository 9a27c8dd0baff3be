// error: use of deleted function
#include <utility>

#include "w8a8/tensor/tensor.hpp"

void use(w8a8::Tensor<float, 2, w8a8::Host>& tensor) {
#ifdef MUST_FAIL
  w8a8::Tensor<float, 2, w8a8::Host> copy = tensor;
#else
  w8a8::Tensor<float, 2, w8a8::Host> moved = std::move(tensor);
#endif
}
