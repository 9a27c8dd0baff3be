// whole_model: what INT8 costs a model, tried in floating point first; then the model converted, saved, and loaded again.
//
// A residual MLP as a user would write it, with random weights, on the CPU. Prints the error against the floating-point model.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "w8a8/io/state_dict.hpp"
#include "w8a8/nn/fake_w8a8_linear.hpp"
#include "w8a8/nn/progress_bar.hpp"
#include "w8a8/nn/quantized_linear.hpp"
#include "w8a8/nn/sequential.hpp"

namespace {

using w8a8::half;
using w8a8::Host;
using w8a8::Tensor;
namespace nn = w8a8::nn;

constexpr std::int64_t features = 256, hidden = 1024, blocks = 4, tokens = 32;

/// Pseudo-random numbers, roughly normal with standard deviation 1.
class Random {
 public:
  float next() {
    float sum = 0.0f;
    for (int i = 0; i < 12; ++i) {
      state_ = state_ * 6364136223846793005u + 1442695040888963407u;
      sum += static_cast<float>(state_ >> 40) * 0x1p-24f;
    }
    return sum - 6.0f;
  }

 private:
  std::uint64_t state_ = 1;
};

template <int Rank>
void fill(Random& random, const w8a8::TensorView<half, Rank, Host>& view, float sigma) {
  for (std::int64_t i = 0; i < view.size(); ++i) view.data()[i] = w8a8::from_float<half>(sigma * random.next());
}

nn::ModulePtr<> random_linear(Random& random, std::int64_t in, std::int64_t out) {
  auto linear = std::make_unique<nn::Linear<half>>(in, out);
  fill(random, linear->weight.view(), 1.0f / std::sqrt(static_cast<float>(in)));
  fill(random, linear->bias.view(), 0.1f);
  return linear;
}

/// y = x + fc2(gelu(fc1(x))). Listing fc1 and fc2 as children is all it takes to be converted.
class Mlp : public nn::Module<half, Host> {
 public:
  explicit Mlp(Random& random) {
    auto layers = std::make_unique<nn::Sequential<half, Host>>();
    layers->append(random_linear(random, features, hidden));
    layers->append(std::make_unique<nn::GeluActivation<half>>());
    layers->append(random_linear(random, hidden, features));
    layers_ = std::move(layers);
  }

  std::vector<Child> children() override { return {{"mlp", layers_}}; }
  std::int64_t out_features(std::int64_t in_features) const override { return layers_->out_features(in_features); }
  std::size_t workspace_bytes(std::int64_t m, std::int64_t in_features) const override {
    return layers_->workspace_bytes(m, in_features);
  }

  void forward(const w8a8::MatrixView<const half, Host>& x, const w8a8::MatrixView<half, Host>& y,
               const w8a8::VectorView<std::byte, Host>& workspace, cudaStream_t stream) const override {
    layers_->forward(x, y, workspace, stream);
    for (std::int64_t m = 0; m < x.extent(0); ++m) {
      for (std::int64_t k = 0; k < x.extent(1); ++k)
        y(m, k) = w8a8::from_float<half>(w8a8::to_float(x(m, k)) + w8a8::to_float(y(m, k)));
    }
  }

 private:
  nn::ModulePtr<> layers_;
};

nn::ModulePtr<> make_model() {
  Random random;
  auto model = std::make_unique<nn::Sequential<half, Host>>();
  for (std::int64_t i = 0; i < blocks; ++i) model->append(std::make_unique<Mlp>(random));
  return model;
}

Tensor<half, 2, Host> run(const nn::ModulePtr<>& model, const Tensor<half, 2, Host>& x) {
  Tensor<half, 2, Host> y({x.extent(0), model->out_features(x.extent(1))});
  Tensor<std::byte, 1, Host> workspace({static_cast<std::int64_t>(model->workspace_bytes(x.extent(0), x.extent(1)))});
  model->forward(x.view(), y.view(), workspace.view(), nullptr);
  return y;
}

double snr_db(const Tensor<half, 2, Host>& reference, const Tensor<half, 2, Host>& actual) {
  double signal = 0.0, noise = 0.0;
  for (std::int64_t i = 0; i < reference.size(); ++i) {
    const double r = w8a8::to_float(reference.data()[i]), e = w8a8::to_float(actual.data()[i]) - r;
    signal += r * r;
    noise += e * e;
  }
  return 10.0 * std::log10(signal / noise);
}

void whole_model() {
  Tensor<half, 2, Host> x({tokens, features});
  Random random;
  fill(random, x.view(), 1.0f);
  const auto reference = run(make_model(), x);

  // 1. What would it cost? Fake quantization answers in floating point, for any number of bits.
  for (const int bits : {8, 6, 4}) {
    auto model = make_model();
    w8a8::fake_quant(model, bits, nn::ProgressBar("Fake quantizing to " + std::to_string(bits) + " bits"));
    std::printf("fake quantization, %d bits: SNR %.1f dB\n", bits, snr_db(reference, run(model, x)));
  }

  // 2. The real thing: INT8 weights, INT8 multiplications.
  auto model = make_model();
  nn::quantize(model, {}, nn::ProgressBar("Quantizing"));
  const auto output = run(model, x);
  std::printf("INT8:                       SNR %.1f dB\n", snr_db(reference, output));

  // 3. Saved, and loaded into a model whose INT8 layers are only allocated.
  const std::string path = "w8a8_whole_model.safetensors";
  w8a8::save_state_dict(model, path);
  auto loaded = make_model();
  nn::replace_linears<half, Host>(loaded, {}, [](const std::string&, const nn::Linear<half>& linear) -> nn::ModulePtr<> {
    using Module = nn::QuantizedLinear<>;
    return std::make_unique<Module>(Module::Layer::from_linear(linear, /*init_only=*/true));
  });
  w8a8::load_state_dict(loaded, w8a8::SafetensorsFile(path));
  const bool same = snr_db(output, run(loaded, x)) == INFINITY;
  std::printf("loaded from %s: %s\n", path.c_str(), same ? "the same bits" : "DIFFERENT");
  if (!same) throw w8a8::FileError(path, "the loaded model computes something else");
}

}  // namespace

int main() {
  try {
    whole_model();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "whole_model: %s\n", error.what());
    return 1;
  }
}
