// error: a destination that is not const
#include "w8a8/tensor/tensor.hpp"

using namespace w8a8;

void use(MatrixView<const float, Host> from, MatrixView<float, Host> to, MatrixView<const float, Host> constant) {
  copy(from, to);
  (void)constant;
#ifdef MUST_FAIL
  copy(from, constant);
#endif
}
