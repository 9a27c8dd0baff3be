#include "quantize_calls.cuh"
#include "w8a8/quant/fused.cuh"

namespace w8a8::bench {

void call_norm(const QuantizeArguments& arguments, const QuantizeOptions& options, cudaStream_t stream) {
  constexpr float epsilon = 1e-5f;
  const QuantizeViews v(arguments);
  const NormStreams<half, Device> streams{QuantizeViews::output(arguments.residual, arguments),
                                          QuantizeViews::output(arguments.values, arguments)};
  if (arguments.kind == QuantizeKind::rms_norm) {
    rms_norm_quantize(v.x, v.weight, epsilon, v.codes, v.scale, stream, options, streams);
  } else {
    layer_norm_quantize(v.x, v.weight, v.bias, epsilon, v.codes, v.scale, stream, options, streams);
  }
}

}  // namespace w8a8::bench
