// The INT8 layers on the CPU backend against the definition, written out.
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "nn/layer_data.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/reference.hpp"
#include "w8a8/nn/asymmetric_linear.hpp"
#include "w8a8/nn/fake_w8a8_linear.hpp"
#include "w8a8/nn/gated_linear.hpp"
#include "w8a8/nn/w8a8_linear.hpp"

namespace {

using namespace w8a8;
using namespace w8a8_test;

/// What a dynamic layer gives for dense x, from the numerics contract.
template <class Out, class Scale, class T, class X>
std::vector<Out> expected_dynamic(const nn::Linear<T, Host>& linear, const std::vector<X>& x, std::int64_t tokens,
                                  bool fc1 = false) {
  const std::int64_t k = linear.in_features(), n = linear.out_features();
  const auto quantize = [](const auto& from, std::int64_t rows, std::int64_t columns, auto& scale) {
    std::vector<std::int8_t> codes(static_cast<std::size_t>(rows * columns));
    for (std::int64_t r = 0; r < rows; ++r) {
      std::uint32_t magnitude = 0;
      for (std::int64_t c = 0; c < columns; ++c) magnitude = std::max(magnitude, magnitude_bits(to_float(from[r * columns + c])));
      scale[static_cast<std::size_t>(r)] = scale_from_magnitude<std::decay_t<decltype(scale[0])>>(magnitude, 8);
      const float inverse = inverse_scale(to_float(scale[static_cast<std::size_t>(r)]));
      for (std::int64_t c = 0; c < columns; ++c) {
        codes[static_cast<std::size_t>(r * columns + c)] = quantize_value(to_float(from[r * columns + c]), inverse, 127);
      }
    }
    return codes;
  };
  std::vector<Scale> channel(static_cast<std::size_t>(n));
  std::vector<float> token(static_cast<std::size_t>(tokens));
  const auto w = quantize(linear.weight.data(), n, k, channel);
  const auto codes = quantize(x.data(), tokens, k, token);
  const auto dequantize =
      Dequantize(VectorView<const float, Host>(token.data(), {tokens}), VectorView<const Scale, Host>(channel.data(), {n}));
  if (!linear.has_bias()) return reference_gemm<Out>(codes, w, tokens, n, k, dequantize);
  if (fc1) return reference_gemm<Out>(codes, w, tokens, n, k, dequantize | Bias(linear.bias.view()) | Gelu{});
  return reference_gemm<Out>(codes, w, tokens, n, k, dequantize | Bias(linear.bias.view()));
}

TEMPLATE_TEST_CASE("dynamic layer: forward from floating-point input", "[nn]", half, bfloat16, float) {
  using T = TestType;
  Random random(1);
  for (const auto& [tokens, in, out] :
       {std::array<std::int64_t, 3>{1, 1, 1}, {3, 65, 17}, {64, 128, 96}, {5, 0, 7}, {0, 16, 16}, {4, 16, 0}}) {
    for (const bool has_bias : {false, true}) {
      for (const bool fc1 : {false, true}) {
        if (fc1 && !has_bias) continue;
        INFO(tokens << " tokens, " << in << " to " << out << ", bias " << has_bias << ", fc1 " << fc1);
        const auto linear = random_linear<T>(random, in, out, has_bias);
        const auto source = values(linear.weight);
        const auto layer = W8A8OF16LinearDynamicInputScale<T, Host>::from_linear(linear, false, {}, fc1);
        CHECK(difference(source, values(linear.weight)) == "");
        CHECK(layer.in_features() == in);
        CHECK(layer.out_features() == out);
        const auto x = normal_tensor<T, 2>(random, {tokens, in}, 3.0f);
        const auto before = values(x);
        auto y = poisoned<T, 2>({tokens, out});
        auto workspace = workspace_for(layer, tokens);
        layer.forward(x.view(), y.view(), workspace.view());
        CHECK(difference(expected_dynamic<T, float>(linear, before, tokens, fc1), values(y), out) == "");
        CHECK(difference(before, values(x)) == "");
      }
    }
  }
}

TEST_CASE("dynamic layer: scale types and output types", "[nn]") {
  Random random(2);
  const auto linear = random_linear<float>(random, 50, 30);
  const auto x = normal_tensor<bfloat16, 2>(random, {9, 50});
  const auto halves = W8A8OF16LinearDynamicInputScale<float, Host, half>::from_linear(linear);
  const auto bfloats = W8A8OF16LinearDynamicInputScale<float, Host, bfloat16>::from_linear(linear);
  auto workspace = workspace_for(halves, 9);
  auto y32 = poisoned<float, 2>({9, 30});
  halves.forward(x.view(), y32.view(), workspace.view());
  CHECK(difference(expected_dynamic<float, half>(linear, values(x), 9), values(y32), 30) == "");
  auto y16 = poisoned<half, 2>({9, 30});
  bfloats.forward(x.view(), y16.view(), workspace.view());
  CHECK(difference(expected_dynamic<half, bfloat16>(linear, values(x), 9), values(y16), 30) == "");
}

TEST_CASE("dynamic layer: INT8 input, with, without and with another bias", "[nn]") {
  Random random(3);
  const std::int64_t m = 6, k = 40, n = 21;
  const auto linear = random_linear<half>(random, k, n);
  const auto layer = W8A8OF16LinearDynamicInputScale<half, Host>::from_linear(linear);
  const auto codes = bell_int8(random, m * k);
  const auto scale = scales<float>(random, m);
  const MatrixView<const std::int8_t, Host> x(codes.data(), {m, k});
  const VectorView<const float, Host> s(scale.data(), {m});
  const auto dequantize = Dequantize(s, layer.dequant_scale.view());
  const auto w = values(layer.weight);
  const auto with = reference_gemm<half>(codes, w, m, n, k, dequantize | Bias(layer.bias.view()));
  const auto without = reference_gemm<half>(codes, w, m, n, k, dequantize);

  auto y = poisoned<half, 2>({m, n});
  layer.forward(x, s, y.view());
  CHECK(difference(with, values(y), n) == "");
  y = poisoned<half, 2>({m, n});
  layer.apply_weights(x, s, y.view());
  CHECK(difference(with, values(y), n) == "");
  y = poisoned<half, 2>({m, n});
  layer.apply_weights_no_bias(x, s, y.view());
  CHECK(difference(without, values(y), n) == "");
  const auto other = normal_tensor<half, 1>(random, {n});
  layer.apply_weights_bias(x, s, y.view(), other.view());
  CHECK(difference(reference_gemm<half>(codes, w, m, n, k, dequantize | Bias(other.view())), values(y), n) == "");
}

TEST_CASE("dynamic layer: batches of tokens", "[nn]") {
  Random random(4);
  const std::int64_t batch = 3, tokens = 5, k = 33, n = 12;
  const auto linear = random_linear<half>(random, k, n);
  const auto layer = W8A8OF16LinearDynamicInputScale<half, Host>::from_linear(linear);
  const auto x = normal_tensor<half, 3>(random, {batch, tokens, k});
  auto flat = poisoned<half, 2>({batch * tokens, n});
  auto y = poisoned<half, 3>({batch, tokens, n});
  auto workspace = workspace_for(layer, batch * tokens);
  layer.forward(MatrixView<const half, Host>(x.data(), {batch * tokens, k}), flat.view(), workspace.view());
  layer.forward(x.view(), y.view(), workspace.view());
  CHECK(difference(values(flat), values(y), n) == "");

  // A batch whose rows lie apart, and one of a single token whose batches do.
  auto wide = normal_tensor<half, 3>(random, {batch, tokens, k + 7});
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t c = 0; c < k; ++c) wide(b, t, c) = x(b, t, c);
    }
  }
  y = poisoned<half, 3>({batch, tokens, n});
  layer.forward(TensorView<const half, 3, Host>(wide.data(), {batch, tokens, k}, {tokens * (k + 7), k + 7, 1}), y.view(),
                workspace.view());
  CHECK(difference(values(flat), values(y), n) == "");
  auto first = poisoned<half, 3>({batch, 1, n});
  layer.forward(TensorView<const half, 3, Host>(x.data(), {batch, 1, k}, {tokens * k, k, 1}), first.view(), workspace.view());
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t c = 0; c < n; ++c) CHECK(to_float(first(b, 0, c)) == to_float(y(b, 0, c)));
  }
}

TEST_CASE("layers: batches of INT8 tokens", "[nn]") {
  Random random(12);
  const std::int64_t batch = 2, tokens = 3, k = 20, n = 6;
  const auto linear = random_linear<half>(random, k, n);
  const auto codes = bell_int8(random, batch * tokens * k);
  const auto scale = scales<float>(random, batch * tokens);
  const VectorView<const float, Host> s(scale.data(), {batch * tokens}), one(scale.data(), {1});
  const TensorView<const std::int8_t, 3, Host> x(codes.data(), {batch, tokens, k});
  const auto dynamic = W8A8OF16LinearDynamicInputScale<half, Host>::from_linear(linear);
  auto y = poisoned<half, 3>({batch, tokens, n});
  dynamic.forward(x, s, y.view());
  const auto w = values(dynamic.weight);
  CHECK(difference(reference_gemm<half>(codes, w, batch * tokens, n, k,
                                        Dequantize(s, dynamic.dequant_scale.view()) | Bias(dynamic.bias.view())),
                   values(y), n) == "");
  const auto fixed = W8A8OF16LinearStaticScale<half, Host>::from_linear(linear, false, {}, false, scale[0]);
  fixed.apply_weights(x, y.view());
  CHECK(difference(reference_gemm<half>(codes, w, batch * tokens, n, k,
                                        Dequantize(one, fixed.dequant_scale.view()) | Bias(fixed.bias.view())),
                   values(y), n) == "");
}

TEST_CASE("defect 5: zero and broken tokens of a dynamic layer", "[nn][defect]") {
  Random random(5);
  const auto linear = random_linear<half>(random, 20, 8);
  const auto layer = W8A8OF16LinearDynamicInputScale<half, Host>::from_linear(linear);
  auto x = normal_tensor<half, 2>(random, {4, 20});
  for (std::int64_t c = 0; c < 20; ++c) x(0, c) = from_float<half>(0.0f);
  x(1, 3) = from_float<half>(quiet_nan());
  x(2, 19) = from_float<half>(-INFINITY);
  auto y = poisoned<half, 2>({4, 8});
  auto workspace = workspace_for(layer, 4);
  layer.forward(x.view(), y.view(), workspace.view());
  for (std::int64_t c = 0; c < 8; ++c) {
    CHECK(to_float(y(0, c)) == to_float(layer.bias(c)));
    CHECK(std::isnan(to_float(y(1, c))));
    CHECK(std::isnan(to_float(y(2, c))));
    CHECK(std::isfinite(to_float(y(3, c))));
  }
}

TEST_CASE("layers: query, key and value of different width in one", "[nn]") {
  Random random(6);
  const auto q = random_linear<half>(random, 48, 32), k = random_linear<half>(random, 48, 8, false),
             v = random_linear<half>(random, 48, 9);
  using Layer = W8A8OF16LinearDynamicInputScale<half, Host>;
  const auto all = Layer::from_qkv(q, k, v);
  CHECK(all.out_features() == 49);
  CHECK(all.has_bias());
  const auto x = normal_tensor<half, 2>(random, {7, 48});
  auto workspace = workspace_for(all, 7);
  auto y = poisoned<half, 2>({7, 49});
  all.forward(x.view(), y.view(), workspace.view());
  std::int64_t column = 0;
  for (const nn::Linear<half, Host>* part : {&q, &k, &v}) {
    const auto layer = Layer::from_linear(*part);
    auto alone = poisoned<half, 2>({7, part->out_features()});
    layer.forward(x.view(), alone.view(), workspace.view());
    for (std::int64_t m = 0; m < 7; ++m) {
      for (std::int64_t n = 0; n < part->out_features(); ++n) CHECK(to_float(y(m, column + n)) == to_float(alone(m, n)));
    }
    column += part->out_features();
  }
  // Given scales are dealt out in the same order.
  std::vector<float> given(49);
  for (std::size_t i = 0; i < given.size(); ++i) given[i] = 0.001f * static_cast<float>(i + 1);
  const auto scaled = Layer::from_qkv(q, k, v, false, VectorView<const float, Host>(given.data(), {49}));
  CHECK(difference(given, values(scaled.dequant_scale)) == "");
  CHECK(scaled.weight(33, 5) == quantize_value(to_float(k.weight(1, 5)), inverse_scale(given[33]), 127));
  std::vector<float> spread(98, -1.0f);
  for (std::size_t i = 0; i < given.size(); ++i) spread[2 * i] = given[i];
  const auto strided = Layer::from_qkv(q, k, v, false, VectorView<const float, Host>(spread.data(), {49}, {2}));
  CHECK(difference(given, values(strided.dequant_scale)) == "");
}

TEST_CASE("defect 8: the layers that a layer is made of stay as they are", "[nn][defect]") {
  Random random(16);
  const auto a = random_linear<half>(random, 48, 16), b = random_linear<half>(random, 48, 16),
             c = random_linear<half>(random, 48, 16);
  std::vector<std::vector<half>> before;
  for (const auto* each : {&a, &b, &c}) before.push_back(values(each->weight)), before.push_back(values(each->bias));
  const std::vector<float> given(48, 0.01f), factor(48, 2.0f);
  for (const auto& scales : {VectorView<const float, Host>(), VectorView<const float, Host>(given.data(), {48})}) {
    const auto one = scales.empty() ? scales : VectorView<const float, Host>(given.data(), {16});
    W8A8OF16LinearDynamicInputScale<half, Host>::from_linear(a, false, one);
    W8A8OF16LinearDynamicInputScale<half, Host, half>::from_qkv(a, b, c, false, scales);
    W8A8OF16LinearStaticScale<half, Host>::from_linear(a, false, one);
    W8A8OF16LinearStaticScale<half, Host, half>::from_qkv(a, b, c, false, scales);
  }
  W8A8OF16GatedLinear<half, Host>::from_gate_up(a, b);
  W8A8OF16LinearAsymmetricInput<half, Host>::from_linear(a, VectorView<const float, Host>(factor.data(), {48}));
  FakeW8A8Linear<half, Host>::from_linear(a, 4);
  std::size_t i = 0;
  for (const auto* each : {&a, &b, &c}) {
    CHECK(difference(before[i++], values(each->weight)) == "");
    CHECK(difference(before[i++], values(each->bias)) == "");
  }
}

TEST_CASE("layers: given channel scales, quantized in FP32 with the scale as stored", "[nn]") {
  Random random(7);
  const auto linear = random_linear<half>(random, 24, 5);
  const std::vector<float> given = {0.001f, 0.0012345f, 0.002f, 0.01f, 0.00033f};
  const auto source = values(linear.weight);
  const auto layer =
      W8A8OF16LinearStaticScale<half, Host, half>::from_linear(linear, false, VectorView<const float, Host>(given.data(), {5}));
  CHECK(difference(source, values(linear.weight)) == "");
  for (std::int64_t n = 0; n < 5; ++n) {
    const half stored = __float2half_rn(given[static_cast<std::size_t>(n)]);
    CHECK(to_float(layer.dequant_scale(n)) == to_float(stored));
    for (std::int64_t k = 0; k < 24; ++k) {
      const float code = std::nearbyint(to_float(linear.weight(n, k)) * (1.0f / to_float(stored)));
      CHECK(layer.weight(n, k) == static_cast<int>(std::fmin(127.0f, std::fmax(-127.0f, code))));
    }
  }
  // One scale for all channels.
  const auto shared =
      W8A8OF16LinearStaticScale<half, Host>::from_linear(linear, false, VectorView<const float, Host>(given.data(), {1}));
  for (std::int64_t n = 0; n < 5; ++n) CHECK(shared.dequant_scale(n) == given[0]);
}

TEST_CASE("layers: a channel that holds a NaN is NaN all over", "[nn]") {
  Random random(8);
  auto linear = random_linear<float>(random, 10, 3);
  linear.weight(1, 4) = quiet_nan();
  const std::vector<float> given = {0.01f, 0.01f, 0.01f};
  for (const auto& scales : {VectorView<const float, Host>(), VectorView<const float, Host>(given.data(), {3})}) {
    const auto layer = W8A8OF16LinearDynamicInputScale<float, Host>::from_linear(linear, false, scales);
    CHECK(std::isnan(layer.dequant_scale(1)));
    for (std::int64_t k = 0; k < 10; ++k) CHECK(layer.weight(1, k) == 0);
    CHECK(std::isfinite(layer.dequant_scale(2)));
  }
}

TEST_CASE("static layer: one scale for all tokens", "[nn]") {
  Random random(9);
  const std::int64_t m = 5, k = 30, n = 14;
  const auto linear = random_linear<bfloat16>(random, k, n);
  const auto layer = W8A8OF16LinearStaticScale<bfloat16, Host>::from_linear(linear, false, {}, false, 0.02f);
  CHECK(layer.input_scale() == 0.02f);
  const auto x = normal_tensor<bfloat16, 2>(random, {m, k});
  std::vector<std::int8_t> codes;
  for (const bfloat16 value : values(x)) codes.push_back(quantize_value(to_float(value), inverse_scale(0.02f), 127));
  const float scale = 0.02f;
  const VectorView<const float, Host> s(&scale, {1});
  const auto expected = reference_gemm<bfloat16>(codes, values(layer.weight), m, n, k,
                                                 Dequantize(s, layer.dequant_scale.view()) | Bias(layer.bias.view()));

  auto y = poisoned<bfloat16, 2>({m, n});
  auto workspace = workspace_for(layer, m);
  layer.forward(x.view(), y.view(), workspace.view());
  CHECK(difference(expected, values(y), n) == "");
  const MatrixView<const std::int8_t, Host> x8(codes.data(), {m, k});
  y = poisoned<bfloat16, 2>({m, n});
  layer.apply_weights(x8, y.view());
  CHECK(difference(expected, values(y), n) == "");
  y = poisoned<bfloat16, 2>({m, n});
  layer.forward(x8, s, y.view());
  CHECK(difference(expected, values(y), n) == "");
  layer.forward(x8, y.view());
  layer.apply_weights_bias(x8, y.view(), layer.bias.view());
  CHECK(difference(expected, values(y), n) == "");
  layer.apply_weights_no_bias(x8, y.view());
  CHECK(difference(reference_gemm<bfloat16>(codes, values(layer.weight), m, n, k, Dequantize(s, layer.dequant_scale.view())),
                   values(y), n) == "");
}

TEST_CASE("layers: fc1 applies tanh-GELU", "[nn]") {
  Random random(10);
  const auto linear = random_linear<float>(random, 16, 16);
  using Layer = W8A8OF16LinearDynamicInputScale<float, Host>;
  const auto plain = Layer::from_linear(linear), fc1 = Layer::from_linear(linear, false, {}, true);
  const auto x = normal_tensor<float, 2>(random, {8, 16}, 4.0f);
  auto a = poisoned<float, 2>({8, 16}), b = poisoned<float, 2>({8, 16});
  auto workspace = workspace_for(plain, 8);
  plain.forward(x.view(), a.view(), workspace.view());
  fc1.forward(x.view(), b.view(), workspace.view());
  for (std::int64_t i = 0; i < a.size(); ++i) {
    const double v = a.data()[i], inner = std::sqrt(2.0 / 3.14159265358979323846) * (v + 0.044715 * v * v * v);
    CHECK(std::abs(b.data()[i] - 0.5 * v * (1.0 + std::tanh(inner))) <= 1e-5 * (1.0 + std::abs(v)));
  }
}

TEST_CASE("layers: init_only allocates for a later load", "[nn]") {
  Random random(11);
  const auto linear = random_linear<half>(random, 12, 6);
  auto layer = W8A8OF16LinearDynamicInputScale<half, Host>::from_linear(linear, true);
  CHECK(layer.weight.shape() == std::array<std::int64_t, 2>{6, 12});
  CHECK(layer.dequant_scale.extent(0) == 6);
  CHECK(layer.has_bias());
  const auto real = W8A8OF16LinearDynamicInputScale<half, Host>::from_linear(linear);
  copy(real.weight.view(), layer.weight.view());
  copy(real.dequant_scale.view(), layer.dequant_scale.view());
  copy(real.bias.view(), layer.bias.view());
  const auto x = normal_tensor<half, 2>(random, {2, 12});
  auto a = poisoned<half, 2>({2, 6}), b = poisoned<half, 2>({2, 6});
  auto workspace = workspace_for(layer, 2);
  real.forward(x.view(), a.view(), workspace.view());
  layer.forward(x.view(), b.view(), workspace.view());
  CHECK(difference(values(a), values(b)) == "");
}

}  // namespace
