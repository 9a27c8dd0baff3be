// mlp: the MLP of a transformer block in INT8, four kernels for x + W2 gelu(W1 norm(x) + b1) + b2: norm and quantization, fc1
// with GELU, quantization, fc2 with the residual. On the GPU where there is one, else on the CPU; compared with FP32.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <utility>
#include <vector>

#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/epilogue/residual.hpp"
#include "w8a8/math/activation.hpp"
#include "w8a8/nn/linear.hpp"
#include "w8a8/nn/w8a8_linear.cuh"
#include "w8a8/quant/fused.cuh"
#include "w8a8/quant/quantize.cuh"
#include "w8a8/support/device.hpp"

namespace {

using w8a8::Device;
using w8a8::Host;
using w8a8::Tensor;
namespace nn = w8a8::nn;

constexpr std::int64_t tokens = 64, features = 512, hidden = 2048;
constexpr float epsilon = 1e-5f;

/// A block's parameters as a checkpoint would hold them.
struct Weights {
  Tensor<half, 1, Host> norm_weight{{features}}, norm_bias{{features}};
  nn::Linear<half> fc1{features, hidden}, fc2{hidden, features};
};

/// The block in INT8, in device or host memory. Its buffers are made once, so that run() only enqueues kernels.
template <class Space>
class Mlp {
  using Layer = w8a8::W8A8OF16LinearDynamicInputScale<half, Space>;

 public:
  Mlp(const Weights& weights, std::int64_t most_tokens)
      : norm_weight_(w8a8::clone_to<Space>(weights.norm_weight.view())),
        norm_bias_(w8a8::clone_to<Space>(weights.norm_bias.view())),
        fc1_(Layer::from_linear(weights.fc1, /*init_only=*/false, {}, /*fc1=*/true)),
        fc2_(Layer::from_linear(weights.fc2)),
        codes_({most_tokens, features}),
        hidden_codes_({most_tokens, hidden}),
        scale_({most_tokens}),
        hidden_scale_({most_tokens}),
        hidden_({most_tokens, hidden}) {}

  /// x += mlp(x), for as many tokens as the block was made for.
  void run(const w8a8::MatrixView<half, Space>& x, cudaStream_t stream) {
    // 1. Layer normalisation and the quantization of its output: one read of x.
    w8a8::layer_norm_quantize(x, norm_weight_.view(), norm_bias_.view(), epsilon, codes_.view(), scale_.view(), stream);
    // 2. fc1: INT8 multiplication, dequantization, bias and GELU in one kernel.
    fc1_.forward(codes_.view(), scale_.view(), hidden_.view(), {}, stream);
    // 3. Each token of what came out gets its own scale.
    w8a8::quantize_per_token(hidden_.view(), hidden_codes_.view(), hidden_scale_.view(), stream);
    // 4. fc2, with the bias and the residual in its epilogue. What a layer does is functors of w8a8::gemm; this is one more.
    w8a8::gemm(
        hidden_codes_.view(), fc2_.weight.view(),
        w8a8::Dequantize(hidden_scale_.view(), fc2_.dequant_scale.view()) | w8a8::Bias(fc2_.bias.view()) | w8a8::Residual(x), x,
        {}, stream);
  }

 private:
  Tensor<half, 1, Space> norm_weight_, norm_bias_;
  Layer fc1_, fc2_;
  Tensor<std::int8_t, 2, Space> codes_, hidden_codes_;
  Tensor<float, 1, Space> scale_, hidden_scale_;
  Tensor<half, 2, Space> hidden_;
};

/// The output of the block for x.
template <class Space>
Tensor<half, 2, Host> run(const Weights& weights, const Tensor<half, 2, Host>& x) {
  Mlp<Space> mlp(weights, tokens);
  auto there = w8a8::clone_to<Space>(x.view());
  mlp.run(there.view(), nullptr);
  return w8a8::clone_to<Host>(there.view());  // on the stream of the kernels, so after them
}

/// Pseudo-random numbers, roughly normal.
template <int Rank>
void fill(std::uint64_t& state, const w8a8::TensorView<half, Rank, Host>& view, float mean, float sigma) {
  for (std::int64_t i = 0; i < view.size(); ++i) {
    float sum = -6.0f;
    for (int k = 0; k < 12; ++k) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      sum += static_cast<float>(state >> 40) * 0x1p-24f;
    }
    view.data()[i] = w8a8::from_float<half>(mean + sigma * sum);
  }
}

/// The same in FP32, from the floating-point weights. Returns what the MLP adds to x.
std::vector<float> reference(const Weights& weights, const Tensor<half, 2, Host>& x) {
  const auto value = [](half h) { return w8a8::to_float(h); };
  std::vector<float> normalized(features), middle(hidden), all;
  for (std::int64_t m = 0; m < tokens; ++m) {
    double mean = 0.0, variance = 0.0;
    for (std::int64_t k = 0; k < features; ++k) mean += value(x(m, k)) / static_cast<double>(features);
    for (std::int64_t k = 0; k < features; ++k) variance += std::pow(value(x(m, k)) - mean, 2) / static_cast<double>(features);
    for (std::int64_t k = 0; k < features; ++k) {
      normalized[static_cast<std::size_t>(k)] =
          static_cast<float>((value(x(m, k)) - mean) / std::sqrt(variance + epsilon)) * value(weights.norm_weight(k)) +
          value(weights.norm_bias(k));
    }
    const auto row = [&](const nn::Linear<half>& linear, const std::vector<float>& in, std::int64_t n) {
      float sum = value(linear.bias(n));
      for (std::size_t k = 0; k < in.size(); ++k) sum += in[k] * value(linear.weight(n, static_cast<std::int64_t>(k)));
      return sum;
    };
    for (std::int64_t n = 0; n < hidden; ++n)
      middle[static_cast<std::size_t>(n)] = w8a8::gelu_tanh(row(weights.fc1, normalized, n));
    for (std::int64_t n = 0; n < features; ++n) all.push_back(row(weights.fc2, middle, n));
  }
  return all;
}

void mlp() {
  std::uint64_t state = 1;
  Weights weights;
  fill(state, weights.norm_weight.view(), 1.0f, 0.1f);
  fill(state, weights.norm_bias.view(), 0.0f, 0.1f);
  for (nn::Linear<half>* linear : {&weights.fc1, &weights.fc2}) {
    fill(state, linear->weight.view(), 0.0f, 1.0f / std::sqrt(static_cast<float>(linear->in_features())));
    fill(state, linear->bias.view(), 0.0f, 0.1f);
  }
  Tensor<half, 2, Host> x({tokens, features});
  fill(state, x.view(), 0.0f, 1.0f);

  const bool on_gpu = w8a8::has_cuda_device();
  const auto y = on_gpu ? run<Device>(weights, x) : run<Host>(weights, x);
  const std::vector<float> exact = reference(weights, x);
  double signal = 0.0, noise = 0.0;
  for (std::int64_t i = 0; i < y.size(); ++i) {
    const double added = static_cast<double>(w8a8::to_float(y.data()[i])) - w8a8::to_float(x.data()[i]);
    const double e = exact[static_cast<std::size_t>(i)];
    signal += e * e;
    noise += (added - e) * (added - e);
  }
  const double snr_db = 10.0 * std::log10(signal / noise);
  std::printf("%s: SNR of the MLP's output against FP32: %.1f dB\n",
              on_gpu ? w8a8::device_name(w8a8::current_device().ordinal).c_str() : "CPU", snr_db);
  if (!(snr_db > 30.0)) throw w8a8::Error("mlp", "snr_db", "more than 30", std::to_string(snr_db));
}

}  // namespace

int main() {
  try {
    mlp();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mlp: %s\n", error.what());
    return 1;
  }
}
