// Every configuration of every GEMM kernel with raw int32 output.
#include "w8a8/epilogue/concept.hpp"
#include "w8a8/gemm/gemm.cuh"

namespace w8a8 {

template void gemm(const TensorView<const std::int8_t, 2, Device>&, const TensorView<const std::int8_t, 2, Device>&,
                   const Identity&, const TensorView<std::int32_t, 2, Device>&, const GemmOptions&, cudaStream_t);

}  // namespace w8a8
