// Projections that share an input: names, fusion, state dicts of fused and separate layers.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "io/temporary_directory.hpp"
#include "nn/fused_model.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/error_text.hpp"
#include "w8a8/io/safetensors.hpp"
#include "w8a8/io/safetensors_writer.hpp"
#include "w8a8/io/state_dict.hpp"
#include "w8a8/nn/fake_w8a8_linear.hpp"
#include "w8a8/nn/quantized_linear.hpp"
#include "w8a8/nn/sequential.hpp"

namespace {

using namespace w8a8;
using namespace w8a8_test;

const std::vector<std::string> separate_names = {
    "0.q_proj.weight", "0.q_proj.dequant_scale", "0.q_proj.bias", "0.k_proj.weight", "0.k_proj.dequant_scale",
    "0.v_proj.weight", "0.v_proj.dequant_scale", "0.v_proj.bias", "0.o_proj.weight", "0.o_proj.dequant_scale",
    "1.weight",        "1.dequant_scale",        "1.bias"};

std::vector<std::string> parameter_names(nn::ModulePtr<half, Host>& model) {
  std::vector<std::string> names;
  for (const nn::Parameter& each : nn::named_parameters(model)) names.push_back(each.name);
  return names;
}

TEST_CASE("projections: a child without a name leaves no trace in names", "[nn]") {
  auto model = attention_model<half, Host>(1);
  std::vector<std::string> names;
  nn::visit_modules(model, [&](const std::string& name, nn::ModulePtr<half, Host>&) { names.push_back(name); });
  CHECK(names == std::vector<std::string>{"", "0", "0", "0.q_proj", "0.k_proj", "0.v_proj", "0.o_proj", "1"});
  using Model = Attention<half, Host>;
  CHECK(dynamic_cast<Model*>(nn::find_module(model, "0").get()) != nullptr);
  nn::Projections<half, Host> projections;
  CHECK(contains(error_text([&] { projections.append("q", nullptr); }), "argument 'module': expected a module, got null"));
}

TEST_CASE("projections: fused and separate INT8 layers give the same bits", "[nn]") {
  Random random(2);
  const auto x = normal_tensor<half, 2>(random, {11, 64});
  auto separate = attention_model<half, Host>(3), fused = attention_model<half, Host>(3);
  CHECK(nn::quantize(separate) == 5);
  std::vector<std::string> told;
  CHECK(nn::quantize(
            fused, {},
            [&](std::size_t done, std::size_t total, const std::string& name) {
              told.push_back(name);
              CHECK(done == (told.size() == 1 ? 3 : told.size() + 2));
              CHECK(total == 5);
            },
            nn::Fuse::yes) == 5);
  CHECK(told == std::vector<std::string>{"0", "0.o_proj", "1"});
  CHECK(difference(values(run_model(separate, x)), values(run_model(fused, x))) == "");
  CHECK(parameter_names(separate) == separate_names);

  // Where one is to stay, all stay separate.
  auto kept = attention_model<half, Host>(3);
  CHECK(nn::quantize(
            kept, [](const std::string& name) { return name == "0.k_proj"; }, {}, nn::Fuse::yes) == 4);
  CHECK(dynamic_cast<nn::Linear<half, Host>*>(nn::find_module(kept, "0.k_proj").get()) != nullptr);
}

TEST_CASE("projections: what does not fit is refused before one of them writes", "[nn]") {
  Random random(12);
  nn::Projections<half, Host> projections;
  projections.append("k", linear_module<half, Host>(random, 16, 3));
  projections.append("v", std::make_unique<nn::QuantizedLinear<half, Host>>(
                              W8A8OF16LinearDynamicInputScale<half, Host>::from_linear(random_linear<half>(random, 16, 4))));
  const auto x = normal_tensor<half, 2>(random, {2, 16});
  auto wide = poisoned<half, 2>({2, 14});
  const auto before = values(wide);
  Tensor<std::byte, 1, Host> workspace({static_cast<std::int64_t>(projections.workspace_bytes(2, 16))});
  const auto refused = [&](const MatrixView<half, Host>& y, std::int64_t bytes) {
    return error_text([&] { projections.forward(x.view(), y, VectorView<std::byte, Host>(workspace.data(), {bytes}), nullptr); });
  };
  CHECK(contains(refused(MatrixView<half, Host>(wide.data(), {2, 7}), 8), "Projections::forward: argument 'workspace'"));
  CHECK(contains(refused(MatrixView<half, Host>(wide.data(), {2, 7}, {14, 2}), workspace.size()), "expected contiguous rows"));
  CHECK(difference(before, values(wide)) == "");
}

TEST_CASE("projections: one state dict for fused and separate layers", "[nn][io]") {
  const TemporaryDirectory directory;
  Random random(4);
  const auto x = normal_tensor<half, 2>(random, {6, 64});
  auto separate = attention_model<half, Host>(5), fused = attention_model<half, Host>(6);
  nn::quantize(separate);
  nn::quantize(fused, {}, {}, nn::Fuse::yes);
  CHECK(parameter_names(fused) == separate_names);
  CHECK(difference(values(run_model(separate, x)), values(run_model(fused, x))) != "");
  save_state_dict(separate, directory / "separate");
  load_state_dict(fused, SafetensorsFile(directory / "separate"));
  CHECK(difference(values(run_model(separate, x)), values(run_model(fused, x))) == "");

  auto other = attention_model<half, Host>(7);
  nn::quantize(other);
  save_state_dict(fused, directory / "fused");
  load_state_dict(other, SafetensorsFile(directory / "fused"));
  CHECK(difference(values(run_model(separate, x)), values(run_model(other, x))) == "");
}

TEST_CASE("state dicts: the static layer's input scale", "[nn][io]") {
  using Static = nn::QuantizedLayer<W8A8OF16LinearStaticScale<half, Host>>;
  const TemporaryDirectory directory;
  Random random(8);
  const auto linear = random_linear<half>(random, 48, 20);
  const auto x = normal_tensor<half, 2>(random, {5, 48});
  nn::ModulePtr<half, Host> model = std::make_unique<Static>(Static::Layer::from_linear(linear, false, {}, false, 0.03125f));
  save_state_dict(model, directory / "static");
  CHECK(SafetensorsFile(directory / "static").load<float, 1>("input_scale")(0) == 0.03125f);

  nn::ModulePtr<half, Host> loaded = std::make_unique<Static>(Static::Layer::from_linear(linear, /*init_only=*/true));
  load_state_dict(loaded, SafetensorsFile(directory / "static"));
  CHECK(static_cast<Static&>(*loaded).layer.input_scale() == 0.03125f);
  CHECK(difference(values(run_model(model, x)), values(run_model(loaded, x))) == "");

  // A value that cannot be right, in the last of the modules: nothing of the model is changed.
  auto sequence = std::make_unique<nn::Sequential<half, Host>>();
  sequence->append(linear_module<half, Host>(random, 48, 48));
  sequence->append(std::make_unique<Static>(Static::Layer::from_linear(linear, false, {}, false, 0.5f)));
  nn::ModulePtr<half, Host> nested = std::move(sequence);
  auto outer = std::make_unique<nn::Sequential<half, Host>>();
  outer->append(std::move(nested));
  nn::ModulePtr<half, Host> whole = std::move(outer);
  const auto before = run_model(whole, x);
  const auto parameters = nn::named_parameters(whole);
  std::vector<TensorSpec> specs;
  for (const nn::Parameter& each : parameters) specs.push_back({each.name, each.dtype, each.shape});
  for (const float bad : {0.0f, -1.0f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    SafetensorsWriter writer(directory / "bad", specs, {});
    for (const nn::Parameter& each : parameters) {
      std::vector<std::byte> ones(static_cast<std::size_t>(each.bytes), std::byte{1});
      if (each.name == "0.1.input_scale") std::memcpy(ones.data(), &bad, sizeof bad);
      writer.write(each.name, {each.dtype, each.shape, ones.data(), each.bytes});
    }
    writer.commit();
    const std::string error = error_text([&] { load_state_dict(whole, SafetensorsFile(directory / "bad")); });
    CHECK(contains(error, "tensor '0.1.input_scale': "));
    CHECK(contains(error, "expected positive, finite numbers, got "));
    CHECK(difference(values(before), values(run_model(whole, x))) == "");
  }

  const nn::Parameter scale = model->parameters().back();
  CHECK(scale.name == "input_scale");
  const float negative = -1.0f;
  nn::write_parameter(scale, &negative);
  CHECK(contains(error_text([&] { model->parameters_written(); }), "expected a positive, finite number, got -1"));
}

TEST_CASE("parameters in blocks are read and written as dense ones", "[nn]") {
  std::vector<float> interleaved = {0, 1, 100, 101, 2, 3, 102, 103};
  nn::Parameter gate{"gate", "F32", {4}, interleaved.data(), 16};
  gate.block_bytes = 8;
  gate.block_pitch = 16;
  std::vector<float> dense(4);
  nn::read_parameter(gate, dense.data());
  CHECK(dense == std::vector<float>{0, 1, 2, 3});
  for (float& each : dense) each += 10;
  nn::write_parameter(gate, dense.data());
  CHECK(interleaved == std::vector<float>{10, 11, 100, 101, 12, 13, 102, 103});
}

}  // namespace
