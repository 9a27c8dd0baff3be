// error: x and w have one element type
#include "w8a8/host.hpp"

using namespace w8a8;

void use(MatrixView<const std::int8_t, Host> x, MatrixView<const std::int8_t, Host> w, VectorView<const float, Host> scale,
         MatrixView<half, Host> out, MatrixView<std::int32_t, Host> sums) {
  gemm(x, w, Dequantize{scale, scale}, out);
  gemm(x, w, Identity{}, sums);
#ifdef MUST_FAIL
  gemm(MatrixView<const float, Host>(), w, Dequantize{scale, scale}, out);
#endif
}
