#include "quantize_calls.cuh"
#include "w8a8/quant/fused.cuh"

namespace w8a8::bench {

void call_activation(const QuantizeArguments& arguments, const QuantizeOptions& options, cudaStream_t stream) {
  const QuantizeViews v(arguments);
  const MatrixView<half, Device> values = QuantizeViews::output(arguments.values, arguments);
  if (arguments.kind == QuantizeKind::silu_mul) {
    silu_mul_quantize(v.x, v.y, v.codes, v.scale, stream, options, values);
  } else {
    const GeluForm form = arguments.kind == QuantizeKind::gelu_tanh ? GeluForm::tanh : GeluForm::erf;
    gelu_quantize(v.x, form, v.codes, v.scale, stream, options, values);
  }
}

}  // namespace w8a8::bench
