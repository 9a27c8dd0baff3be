// Every configuration of the quantization kernels, from half.
#include "w8a8/quant/quantize.cuh"

namespace w8a8 {

using Codes = TensorView<std::int8_t, 2, Device>;
using Input = TensorView<const half, 2, Device>;

template void quantize_per_token(const Input&, const Codes&, const TensorView<float, 1, Device>&, cudaStream_t,
                                 const QuantizeOptions&);
template void quantize_per_channel(const Input&, const Codes&, const TensorView<half, 1, Device>&, cudaStream_t,
                                   const QuantizeOptions&);
template void quantize_per_tensor(const Input&, const Codes&, float, cudaStream_t, const QuantizeOptions&);

}  // namespace w8a8
