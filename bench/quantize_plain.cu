#include "quantize_calls.cuh"
#include "w8a8/quant/asymmetric.cuh"
#include "w8a8/quant/quantize.cuh"

namespace w8a8::bench {

void call_quantize(const QuantizeArguments& arguments, bool dependent_launch, cudaStream_t stream) {
  QuantizeOptions options;
  options.dependent_launch = dependent_launch;
  options.early_successor = arguments.early_successor;
  const QuantizeViews v(arguments);
  switch (arguments.kind) {
    case QuantizeKind::per_token: return quantize_per_token(v.x, v.codes, v.scale, stream, options);
    case QuantizeKind::per_tensor: return quantize_per_tensor(v.x, v.codes, 0.027f, stream, options);
    case QuantizeKind::asymmetric: return quantize_per_token_asymmetric(v.x, v.codes, v.scale, v.zero_point, stream, options);
    case QuantizeKind::rms_norm:
    case QuantizeKind::layer_norm: return call_norm(arguments, options, stream);
    default: return call_activation(arguments, options, stream);
  }
}

}  // namespace w8a8::bench
