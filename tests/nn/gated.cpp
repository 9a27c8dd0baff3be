// Gate and up projections in one INT8 layer, against the two layers and the product apart.
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/temporary_directory.hpp"
#include "nn/fused_model.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/error_text.hpp"
#include "w8a8/io/state_dict.hpp"
#include "w8a8/nn/gated_linear.hpp"

namespace {

using namespace w8a8;
using namespace w8a8_test;

template <class T>
using Gated = nn::GatedProjections<T, Host>;

template <class T>
nn::ModulePtr<T, Host> gated_model(std::uint64_t seed, std::int64_t features = 40) {
  Random random(seed);
  auto gate = linear_module<T, Host>(random, 52, features), up = linear_module<T, Host>(random, 52, features, false);
  auto model = std::make_unique<nn::Sequential<T, Host>>();
  model->append(std::make_unique<Gated<T>>("gate_proj", std::move(gate), "up_proj", std::move(up)));
  model->append(linear_module<T, Host>(random, features, 52, false));
  return model;
}

TEST_CASE("gated layer: the bits of two INT8 layers and their product in FP32", "[nn]") {
  Random random(1);
  const auto gate = random_linear<half>(random, 72, 24), up = random_linear<half>(random, 72, 24, false);
  const auto layer = W8A8OF16GatedLinear<half, Host>::from_gate_up(gate, up);
  CHECK(layer.in_features() == 72);
  CHECK(layer.out_features() == 24);
  const auto x = normal_tensor<half, 2>(random, {9, 72});
  auto y = poisoned<half, 2>({9, 24});
  auto workspace = workspace_for(layer, 9);
  layer.forward(x.view(), y.view(), workspace.view());
  Tensor<float, 2, Host> g({9, 24}), u({9, 24});
  W8A8OF16LinearDynamicInputScale<half, Host>::from_linear(gate).forward(x.view(), g.view(), workspace.view());
  W8A8OF16LinearDynamicInputScale<half, Host>::from_linear(up).forward(x.view(), u.view(), workspace.view());
  auto expected = poisoned<half, 2>({9, 24});
  for (std::int64_t i = 0; i < expected.size(); ++i)
    expected.data()[i] = from_float<half>(multiply(silu(g.data()[i]), u.data()[i]));
  CHECK(difference(values(expected), values(y)) == "");
}

TEST_CASE("gated layer: what does not fit is named", "[nn]") {
  Random random(2);
  const auto gate = random_linear<half>(random, 16, 24), narrow = random_linear<half>(random, 16, 8),
             odd = random_linear<half>(random, 16, 12), other = random_linear<half>(random, 32, 24);
  using Layer = W8A8OF16GatedLinear<half, Host>;
  CHECK(contains(error_text([&] { Layer::from_gate_up(gate, narrow); }), "argument 'up': expected 24 out_features, got 8"));
  CHECK(contains(error_text([&] { Layer::from_gate_up(odd, odd); }), "expected out_features in a multiple of 8, got 12"));
  CHECK(contains(error_text([&] { Layer::from_gate_up(gate, other); }), "expected in_features 16, as the first one has, got 32"));
  const auto layer = Layer::from_gate_up(gate, gate);
  const auto x = normal_tensor<half, 2>(random, {3, 16});
  auto y = poisoned<half, 2>({3, 48});
  auto workspace = workspace_for(layer, 3);
  CHECK(
      contains(error_text([&] { layer.forward(x.view(), y.view(), workspace.view()); }), "expected shape 3x24, got shape 3x48"));
}

TEST_CASE("gated projections: fused on request, with the names of the two", "[nn][io]") {
  const TemporaryDirectory directory;
  Random random(3);
  const auto x = normal_tensor<float, 2>(random, {7, 52});
  auto exact = gated_model<float>(4), separate = gated_model<float>(4), fused = gated_model<float>(4);
  CHECK(nn::quantize(separate) == 3);
  CHECK(nn::quantize(fused, {}, {}, nn::Fuse::yes) == 3);
  // In FP32 nothing is rounded between the projections and their product.
  CHECK(difference(values(run_model(separate, x)), values(run_model(fused, x))) == "");
  double signal = 0.0, noise = 0.0;
  const auto reference = run_model(exact, x), actual = run_model(fused, x);
  for (std::int64_t i = 0; i < reference.size(); ++i) {
    const double off = static_cast<double>(actual.data()[i]) - reference.data()[i];
    signal += static_cast<double>(reference.data()[i]) * reference.data()[i], noise += off * off;
  }
  CHECK(signal > 1000.0 * noise);

  std::vector<std::string> names;
  for (const nn::Parameter& each : nn::named_parameters(fused)) names.push_back(each.name);
  CHECK(names == std::vector<std::string>{"0.gate_proj.weight", "0.gate_proj.dequant_scale", "0.gate_proj.bias",
                                          "0.up_proj.weight", "0.up_proj.dequant_scale", "1.weight", "1.dequant_scale"});
  save_state_dict(fused, directory / "fused");
  auto other = gated_model<float>(5), another = gated_model<float>(6);
  nn::quantize(other);
  load_state_dict(other, SafetensorsFile(directory / "fused"));
  CHECK(difference(values(run_model(fused, x)), values(run_model(other, x))) == "");
  nn::quantize(another, {}, {}, nn::Fuse::yes);
  save_state_dict(other, directory / "separate");
  load_state_dict(another, SafetensorsFile(directory / "separate"));
  CHECK(difference(values(run_model(fused, x)), values(run_model(another, x))) == "");

  // A width that cannot be interleaved stays two layers.
  auto odd = gated_model<float>(7, 44);
  CHECK(nn::quantize(odd, {}, {}, nn::Fuse::yes) == 3);
  CHECK(dynamic_cast<Gated<float>*>(nn::find_module(odd, "0").get()) != nullptr);
}

}  // namespace
