// The INT8 layer with zero points and input factors, and the calibration of whole models.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "io/temporary_directory.hpp"
#include "nn/fused_model.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/error_text.hpp"
#include "w8a8/io/state_dict.hpp"
#include "w8a8/nn/calibrate.hpp"

namespace {

using namespace w8a8;
using namespace w8a8_test;

using Layer = W8A8OF16LinearAsymmetricInput<half, Host>;

TEST_CASE("asymmetric layer: the sum over (code - zero point) * code, dequantized as ever", "[nn]") {
  Random random(1);
  const auto linear = random_linear<half>(random, 90, 33);
  std::vector<float> factor(90);
  for (float& each : factor) each = std::exp(0.5f * random.normal());
  for (const bool smoothed : {false, true}) {
    INFO("smoothed " << smoothed);
    const VectorView<const float, Host> factors(factor.data(), {smoothed ? 90 : 0});
    const auto layer = Layer::from_linear(linear, factors);
    auto x = normal_tensor<half, 2>(random, {6, 90});
    for (std::int64_t i = 0; i < x.size(); ++i) x.data()[i] = from_float<half>(to_float(x.data()[i]) + 2.0f);
    x(3, 7) = from_float<half>(quiet_nan());
    auto y = poisoned<half, 2>({6, 33});
    auto workspace = workspace_for(layer, 6);
    layer.forward(x.view(), y.view(), workspace.view());

    Tensor<float, 2, Host> input({6, 90});
    for (std::int64_t m = 0; m < 6; ++m) {
      for (std::int64_t k = 0; k < 90; ++k)
        input(m, k) = smoothed ? to_float(x(m, k)) * factor[static_cast<std::size_t>(k)] : to_float(x(m, k));
    }
    Tensor<std::int8_t, 2, Host> codes({6, 90});
    Tensor<float, 1, Host> scale({6});
    Tensor<std::int32_t, 1, Host> zero({6});
    quantize_per_token_asymmetric(input.view(), codes.view(), scale.view(), zero.view());
    auto expected = poisoned<half, 2>({6, 33});
    for (std::int64_t m = 0; m < 6; ++m) {
      for (std::int64_t n = 0; n < 33; ++n) {
        std::int32_t sum = 0;
        for (std::int64_t k = 0; k < 90; ++k) sum += (codes(m, k) - zero(m)) * layer.weight(n, k);
        const float product = static_cast<float>(sum) * layer.dequant_scale(n);
        expected(m, n) = from_float<half>(std::fma(product, scale(m), to_float(layer.bias(n))));
      }
    }
    CHECK(difference(values(expected), values(y)) == "");
  }
}

TEST_CASE("asymmetric layer: what does not fit is named", "[nn]") {
  Random random(2);
  const auto linear = random_linear<half>(random, 4, 3);
  const std::vector<float> factor = {1, 2, 0, 1};
  const auto with = [&](std::int64_t length) {
    return error_text([&] { Layer::from_linear(linear, VectorView<const float, Host>(factor.data(), {length})); });
  };
  CHECK(contains(with(3), "argument 'factor': expected length 4, got length 3"));
  CHECK(contains(with(4), "expected positive, finite numbers, got 0 for channel 2"));
  const auto layer = Layer::from_linear(linear);
  const auto x = normal_tensor<half, 2>(random, {2, 4});
  auto y = poisoned<half, 2>({2, 3});
  const auto bytes = static_cast<std::int64_t>(layer.forward_workspace_bytes(2));
  Tensor<std::byte, 1, Host> workspace({bytes});
  const auto refused = [&](std::byte* data, std::int64_t size) {
    return error_text([&] { layer.forward(x.view(), y.view(), VectorView<std::byte, Host>(data, {size})); });
  };
  CHECK(contains(refused(workspace.data(), 100), text("expected ", bytes, " bytes (forward_workspace_bytes(2)), got 100")));
  CHECK(contains(refused(workspace.data(), bytes - 1),
                 text("expected ", bytes, " bytes (forward_workspace_bytes(2)), got ", bytes - 1)));
  CHECK(contains(refused(nullptr, bytes), "argument 'workspace': expected a pointer to its bytes, got nullptr"));
}

TEST_CASE("channel maxima: what each layer sees, and the model as it was", "[nn]") {
  Random random(3);
  auto model = attention_model<half, Host>(4);
  const auto x = normal_tensor<half, 2>(random, {12, 64});
  const auto before = run_model(model, x);
  const auto maxima = nn::channel_maxima(model, [&] { run_model(model, x); });
  CHECK(maxima.size() == 5);
  float most = 0.0f;
  for (std::int64_t m = 0; m < 12; ++m) most = std::max(most, std::fabs(to_float(x(m, 5))));
  CHECK(maxima.at("0.q_proj")[5] == most);
  CHECK(maxima.at("0.q_proj") == maxima.at("0.v_proj"));
  CHECK(difference(values(before), values(run_model(model, x))) == "");
  CHECK_THROWS_AS(nn::channel_maxima(model, [] { throw std::runtime_error("stop"); }), std::runtime_error);
  CHECK(difference(values(before), values(run_model(model, x))) == "");
}

TEST_CASE("smoothed models: outliers in the input cost less", "[nn][io]") {
  Random random(5);
  auto x = normal_tensor<half, 2>(random, {20, 64});
  for (std::int64_t m = 0; m < 20; ++m) {
    for (const std::int64_t k : {9, 30, 31}) x(m, k) = from_float<half>(20.0f * std::fabs(to_float(x(m, k))));
  }
  auto exact = attention_model<half, Host>(6), plain = attention_model<half, Host>(6), smoothed = attention_model<half, Host>(6);
  const auto reference = run_model(exact, x);
  const auto maxima = nn::channel_maxima(smoothed, [&] { run_model(smoothed, x); });
  nn::quantize(plain);
  nn::SmoothOptions options;
  options.alpha = 2.0f;
  CHECK(contains(error_text([&] { nn::quantize_smoothed(smoothed, maxima, options); }), "expected 0 to 1, got 2"));
  CHECK(nn::quantize_smoothed(smoothed, maxima) == 5);
  const auto better = run_model(smoothed, x);
  CHECK(snr_db(reference, better) > snr_db(reference, run_model(plain, x)) + 3.0);

  const TemporaryDirectory directory;
  save_state_dict(smoothed, directory / "smoothed");
  auto loaded = attention_model<half, Host>(7);
  nn::quantize_smoothed(loaded, maxima);
  load_state_dict(loaded, SafetensorsFile(directory / "smoothed"));
  CHECK(difference(values(better), values(run_model(loaded, x))) == "");
}

}  // namespace
