// Every configuration of every GEMM kernel, as a layer uses it: dequantized, with a bias, to half.
#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/gemm/gemm.cuh"

namespace w8a8 {

using Layer = Composed<Dequantize<float, float, Device>, Bias<half, Device>>;
template void gemm(const TensorView<const std::int8_t, 2, Device>&, const TensorView<const std::int8_t, 2, Device>&, const Layer&,
                   const TensorView<half, 2, Device>&, const GemmOptions&, cudaStream_t);

}  // namespace w8a8
