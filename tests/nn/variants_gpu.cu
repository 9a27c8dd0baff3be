// The gated and the asymmetric INT8 layer on the GPU against the same layers on the CPU backend.
#include <cmath>
#include <cstdint>
#include <vector>

#include "nn/layer_gpu.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/gpu.hpp"
#include "w8a8/nn/asymmetric_linear.cuh"
#include "w8a8/nn/gated_linear.cuh"

namespace {

using namespace w8a8;
using namespace w8a8_test;

template <class Layer>
Tensor<half, 2, Host> run_on_gpu(const Layer& layer, const Tensor<half, 2, Host>& x) {
  const std::int64_t tokens = x.extent(0);
  const auto there = clone_to<Device>(x.view());
  auto y = poisoned_on_device<half, 2>({tokens, layer.out_features()});
  auto workspace = workspace_for(layer, tokens);
  layer.forward(there.view(), y.view(), workspace.view());
  return clone_to<Host>(y.view());
}

template <class Layer>
Tensor<half, 2, Host> run_on_cpu(const Layer& layer, const Tensor<half, 2, Host>& x) {
  auto y = poisoned<half, 2>({x.extent(0), layer.out_features()});
  auto workspace = workspace_for(layer, x.extent(0));
  layer.forward(x.view(), y.view(), workspace.view());
  return y;
}

TEST_CASE("asymmetric layer on the GPU: the CPU's bits", "[gpu][nn]") {
  W8A8_REQUIRE_GPU();
  Random random(1);
  for (const auto& [tokens, in, out] : layer_shapes) {
    for (const bool smoothed : {false, true}) {
      INFO(tokens << " tokens, " << in << " to " << out << ", smoothed " << smoothed);
      const auto linear = random_linear<half>(random, in, out, tokens % 2 == 1);
      std::vector<float> factor(static_cast<std::size_t>(smoothed ? in : 0));
      for (float& each : factor) each = std::exp(0.5f * random.normal());
      const VectorView<const float, Host> factors(factor.data(), {static_cast<std::int64_t>(factor.size())});
      auto x = normal_tensor<half, 2>(random, {tokens, in});
      if (tokens > 2 && in > 5) x(1, 5) = from_float<half>(quiet_nan());
      const auto cpu = W8A8OF16LinearAsymmetricInput<half, Host>::from_linear(linear, factors);
      const auto gpu = W8A8OF16LinearAsymmetricInput<half, Device>::from_linear(linear, factors);
      CHECK(difference(values(cpu.weight_row_sum), on_host(gpu.weight_row_sum)) == "");
      CHECK(difference(values(run_on_cpu(cpu, x)), values(run_on_gpu(gpu, x))) == "");
    }
  }
}

TEST_CASE("gated layer on the GPU: the CPU's parameters, and its values but for the exponential", "[gpu][nn]") {
  W8A8_REQUIRE_GPU();
  Random random(2);
  for (const auto& [tokens, in, features] : layer_shapes) {
    const std::int64_t out = round_up(features, std::int64_t{8});
    INFO(tokens << " tokens, " << in << " to " << out);
    const auto gate = random_linear<half>(random, in, out), up = random_linear<half>(random, in, out, false);
    const auto x = normal_tensor<half, 2>(random, {tokens, in});
    const auto cpu = W8A8OF16GatedLinear<half, Host>::from_gate_up(gate, up);
    const auto gpu = W8A8OF16GatedLinear<half, Device>::from_gate_up(gate, up);
    CHECK(difference(values(cpu.weight), on_host(gpu.weight)) == "");
    CHECK(difference(values(cpu.dequant_scale), on_host(gpu.dequant_scale)) == "");
    CHECK(difference(values(cpu.bias), on_host(gpu.bias)) == "");
    const auto expected = run_on_cpu(cpu, x), actual = run_on_gpu(gpu, x);
    std::int64_t off = 0;
    for (std::int64_t i = 0; i < expected.size(); ++i) {
      const float e = to_float(expected.data()[i]), a = to_float(actual.data()[i]);
      if (!(std::fabs(a - e) <= std::fabs(e) * 0x1p-10f + 0x1p-24f)) ++off;  // a last place of half
    }
    CHECK(off == 0);
  }
}

TEST_CASE("gated and asymmetric layer on the GPU: what the multiplication refuses is thrown before anything runs", "[gpu][nn]") {
  W8A8_REQUIRE_GPU();
  Random random(3);
  const auto linear = random_linear<half>(random, 100, 48);
  check_refusals_of_forward(W8A8OF16GatedLinear<half, Device>::from_gate_up(linear, linear));
  check_refusals_of_forward(W8A8OF16LinearAsymmetricInput<half, Device>::from_linear(linear));
}

}  // namespace
