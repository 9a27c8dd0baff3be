// The quantizers fused with their producers, and the asymmetric one, from half and bfloat16.
#include "w8a8/quant/asymmetric.cuh"
#include "w8a8/quant/fused.cuh"

namespace w8a8 {

using Codes = TensorView<std::int8_t, 2, Device>;
using Scales = TensorView<float, 1, Device>;
using Halves = TensorView<const half, 2, Device>;
using Brains = TensorView<const bfloat16, 2, Device>;

template void rms_norm_quantize(const Halves&, const TensorView<const half, 1, Device>&, float, const Codes&, const Scales&,
                                cudaStream_t, const QuantizeOptions&, const NormStreams<half, Device>&);
template void rms_norm_quantize(const Brains&, const TensorView<const bfloat16, 1, Device>&, float, const Codes&, const Scales&,
                                cudaStream_t, const QuantizeOptions&, const NormStreams<bfloat16, Device>&);
template void layer_norm_quantize(const Brains&, const TensorView<const bfloat16, 1, Device>&,
                                  const TensorView<const bfloat16, 1, Device>&, float, const Codes&, const Scales&, cudaStream_t,
                                  const QuantizeOptions&, const NormStreams<bfloat16, Device>&);
template void silu_mul_quantize(const Brains&, const Brains&, const Codes&, const Scales&, cudaStream_t, const QuantizeOptions&,
                                const MatrixView<bfloat16, Device>&);
template void gelu_quantize(const Halves&, GeluForm, const Codes&, const Scales&, cudaStream_t, const QuantizeOptions&,
                            const MatrixView<half, Device>&);
template void quantize_per_token_asymmetric(const Halves&, const Codes&, const Scales&,
                                            const TensorView<std::int32_t, 1, Device>&, cudaStream_t, const QuantizeOptions&);
template void weight_row_sum(const TensorView<const std::int8_t, 2, Device>&, const TensorView<std::int32_t, 1, Device>&,
                             cudaStream_t);

}  // namespace w8a8
