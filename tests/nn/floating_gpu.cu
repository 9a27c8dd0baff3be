// Layers in floating point on the GPU against the CPU: nn::Linear, FakeW8A8Linear, fake_quantize, and whole models.
#include <cmath>
#include <cstdint>
#include <vector>

#include "io/temporary_directory.hpp"
#include "nn/fused_model.hpp"
#include "nn/layer_gpu.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/gpu.hpp"
#include "w8a8/io/state_dict.hpp"
#include "w8a8/nn/asymmetric_linear.cuh"
#include "w8a8/nn/calibrate.hpp"
#include "w8a8/nn/fake_w8a8_linear.cuh"
#include "w8a8/nn/quantized_linear.hpp"
#include "w8a8/nn/w8a8_linear.cuh"

namespace {

using namespace w8a8;
using namespace w8a8_test;

/// The largest difference, in units of what rounding to half (a last place) and sums in another order may make of it.
double largest_difference(const Tensor<half, 2, Host>& expected, const Tensor<half, 2, Host>& actual, double sum_error) {
  double largest = 0.0;
  for (std::int64_t i = 0; i < expected.size(); ++i) {
    const double e = to_float(expected.data()[i]), a = to_float(actual.data()[i]);
    const double off = std::fabs(a - e) / (std::fabs(e) * 0x1p-10 + sum_error);
    largest = off <= largest ? largest : off;  // a NaN is larger, too
  }
  return largest;
}

TEST_CASE("fake_quantize on the GPU: the CPU's bits", "[gpu][nn][sanitizer]") {
  W8A8_REQUIRE_GPU();
  Random random(1);
  for (const auto& [rows, columns] : {std::array<std::int64_t, 2>{1, 1}, {3, 17}, {5, 256}, {33, 1001}, {2, 0}}) {
    for (const int bits : {2, 5, 8}) {
      INFO(rows << "x" << columns << ", " << bits << " bits");
      auto x = normal_tensor<half, 2>(random, {rows, columns});
      if (rows > 4) x(4, columns - 1) = from_float<half>(quiet_nan());
      QuantizeOptions options;
      options.bits = bits;
      auto expected = poisoned<half, 2>({rows, columns});
      fake_quantize(x.view(), expected.view(), nullptr, options);
      const auto there = clone_to<Device>(x.view());
      auto out = poisoned_on_device<half, 2>({rows, columns});
      fake_quantize(there.view(), out.view(), nullptr, options);
      CHECK(difference(values(expected), on_host(out)) == "");
    }
  }
}

TEST_CASE("nn::Linear on the GPU: the CPU's values, but for the order of the sums", "[gpu][nn]") {
  W8A8_REQUIRE_GPU();
  Random random(2);
  for (const bool has_bias : {false, true}) {
    for (const auto& [tokens, in, out] : layer_shapes) {
      INFO(tokens << " tokens, " << in << " to " << out << ", bias " << has_bias);
      const auto linear = random_linear<half>(random, in, out, has_bias);
      const auto there = on_device(linear);
      const auto x = normal_tensor<half, 2>(random, {tokens, in});
      auto expected = poisoned<half, 2>({tokens, out});
      linear.forward(x.view(), expected.view());
      const auto device_x = clone_to<Device>(x.view());
      auto y = poisoned_on_device<half, 2>({tokens, out});
      there.forward(device_x.view(), y.view());
      CHECK(largest_difference(expected, clone_to<Host>(y.view()), 1e-4) <= 1.0);
    }
  }
}

TEST_CASE("FakeW8A8Linear on the GPU: the CPU's values with weights of the same type", "[gpu][nn]") {
  W8A8_REQUIRE_GPU();
  Random random(3);
  const auto linear = random_linear<half>(random, 300, 77);
  const auto there = on_device(linear);
  const auto x = normal_tensor<half, 2>(random, {19, 300}, 2.0f);
  for (const int bits : {4, 8}) {
    const auto cpu = FakeW8A8Linear<half, Host, half>::from_linear(linear, bits);
    const auto gpu = FakeW8A8Linear<half, Device>::from_linear(there, bits);
    CHECK(difference(values(cpu.weight), on_host(gpu.weight), 300) == "");
    auto expected = poisoned<half, 2>({19, 77});
    Tensor<std::byte, 1, Host> workspace({static_cast<std::int64_t>(cpu.workspace_bytes(19, 300))});
    cpu.forward(x.view(), expected.view(), workspace.view());
    const auto device_x = clone_to<Device>(x.view());
    auto y = poisoned_on_device<half, 2>({19, 77});
    Tensor<std::byte, 1, Device> device_workspace({static_cast<std::int64_t>(gpu.workspace_bytes(19, 300))});
    gpu.forward(device_x.view(), y.view(), device_workspace.view());
    CHECK(largest_difference(expected, clone_to<Host>(y.view()), 1e-4) <= 1.0);
    CHECK(difference(values(x), on_host(device_x)) == "");
  }
}

TEST_CASE("models on the GPU: floating point, fake quantization, and INT8 with fused projections", "[gpu][nn]") {
  W8A8_REQUIRE_GPU();
  Random random(4);
  const auto x = normal_tensor<half, 2>(random, {23, 64});
  auto cpu = attention_model<half, Host>(5);
  auto gpu = attention_model<half, Device>(5);
  const auto exact = run_model(cpu, x);
  CHECK(largest_difference(exact, run_model(gpu, x), 2e-3) <= 2.0);  // what the first layers' rounding makes of the second's

  auto fake = attention_model<half, Device>(5);
  CHECK(fake_quant(fake, 8) == 5);
  const auto predicted = run_model(fake, x);
  CHECK(snr_db(exact, predicted) > 30.0);

  CHECK(nn::quantize(cpu, {}, {}, nn::Fuse::yes) == 5);
  CHECK(nn::quantize(gpu, {}, {}, nn::Fuse::yes) == 5);
  CHECK(difference(values(run_model(cpu, x)), values(run_model(gpu, x))) == "");

  // Through a file, from one space to the other.
  const TemporaryDirectory directory;
  save_state_dict(gpu, directory / "model");
  auto other = attention_model<half, Host>(6);
  nn::quantize(other);
  load_state_dict(other, SafetensorsFile(directory / "model"));
  CHECK(difference(values(run_model(cpu, x)), values(run_model(other, x))) == "");
  auto back = attention_model<half, Device>(7);
  nn::quantize(back, {}, {}, nn::Fuse::yes);
  load_state_dict(back, SafetensorsFile(directory / "model"));
  CHECK(difference(values(run_model(cpu, x)), values(run_model(back, x))) == "");
}

TEST_CASE("smoothed models on the GPU: the CPU's bits for the same maxima", "[gpu][nn]") {
  W8A8_REQUIRE_GPU();
  Random random(9);
  const auto x = normal_tensor<half, 2>(random, {21, 64}, 2.0f);
  auto cpu = attention_model<half, Host>(10);
  auto gpu = attention_model<half, Device>(10);
  const auto maxima = nn::channel_maxima(gpu, [&] { run_model(gpu, x); });
  CHECK(maxima.size() == 5);
  CHECK(maxima.at("0.q_proj") == nn::channel_maxima(cpu, [&] { run_model(cpu, x); }).at("0.q_proj"));
  CHECK(nn::quantize_smoothed(cpu, maxima) == 5);
  CHECK(nn::quantize_smoothed(gpu, maxima) == 5);
  CHECK(difference(values(run_model(cpu, x)), values(run_model(gpu, x))) == "");
}

TEST_CASE("state dicts: the static layer's input scale on the GPU", "[gpu][nn]") {
  W8A8_REQUIRE_GPU();
  using Static = nn::QuantizedLayer<W8A8OF16LinearStaticScale<half, Device>>;
  using HostStatic = nn::QuantizedLayer<W8A8OF16LinearStaticScale<half, Host>>;
  const TemporaryDirectory directory;
  Random random(8);
  const auto linear = random_linear<half>(random, 48, 20);
  const auto x = normal_tensor<half, 2>(random, {5, 48});
  nn::ModulePtr<half, Host> model =
      std::make_unique<HostStatic>(HostStatic::Layer::from_linear(linear, false, {}, false, 0.03125f));
  save_state_dict(model, directory / "static");
  nn::ModulePtr<half, Device> loaded = std::make_unique<Static>(Static::Layer::from_linear(linear, /*init_only=*/true));
  load_state_dict(loaded, SafetensorsFile(directory / "static"));
  CHECK(difference(values(run_model(model, x)), values(run_model(loaded, x))) == "");
}

}  // namespace
