// Module trees: names, replacement, fake quantization, conversion, state dicts.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/temporary_directory.hpp"
#include "nn/layer_data.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/error_text.hpp"
#include "w8a8/io/state_dict.hpp"
#include "w8a8/nn/fake_w8a8_linear.hpp"
#include "w8a8/nn/progress_bar.hpp"
#include "w8a8/nn/quantized_linear.hpp"
#include "w8a8/nn/sequential.hpp"

namespace {

using namespace w8a8;
using namespace w8a8_test;

/// A module as a user would write it: y = x + fc2(gelu(fc1(x))).
template <class T>
class Mlp : public nn::Module<T, Host> {
 public:
  nn::ModulePtr<T, Host> fc1, fc2;

  Mlp(Random& random, std::int64_t features, std::int64_t hidden)
      : fc1(linear_module<T, Host>(random, features, hidden)),
        fc2(linear_module<T, Host>(random, hidden, features, false)),
        hidden_(hidden) {}

  std::vector<typename nn::Module<T, Host>::Child> children() override { return {{"fc1", fc1}, {"fc2", fc2}}; }
  std::int64_t out_features(std::int64_t in_features) const override { return in_features; }
  std::size_t workspace_bytes(std::int64_t tokens, std::int64_t in_features) const override {
    return hidden_bytes(tokens) + std::max(fc1->workspace_bytes(tokens, in_features), fc2->workspace_bytes(tokens, hidden_));
  }
  void forward(const MatrixView<const T, Host>& x, const MatrixView<T, Host>& y, const VectorView<std::byte, Host>& workspace,
               cudaStream_t stream) const override {
    const std::int64_t tokens = x.extent(0), used = static_cast<std::int64_t>(hidden_bytes(tokens));
    const MatrixView<T, Host> hidden(reinterpret_cast<T*>(workspace.data()), {tokens, hidden_});
    const VectorView<std::byte, Host> rest(workspace.data() + used, {workspace.size() - used});
    fc1->forward(x, hidden, rest, stream);
    for (std::int64_t i = 0; i < hidden.size(); ++i) hidden.data()[i] = from_float<T>(gelu_tanh(to_float(hidden.data()[i])));
    fc2->forward(hidden, y, rest, stream);
    for (std::int64_t m = 0; m < tokens; ++m) {
      for (std::int64_t k = 0; k < x.extent(1); ++k) y(m, k) = from_float<T>(to_float(y(m, k)) + to_float(x(m, k)));
    }
  }

 private:
  std::size_t hidden_bytes(std::int64_t tokens) const {
    return round_up(static_cast<std::size_t>(tokens * hidden_) * sizeof(T), std::size_t{256});
  }
  std::int64_t hidden_;
};

/// 48 -> 24 -> (24 -> 96 -> 24) -> 10.
template <class T>
nn::ModulePtr<T, Host> small_model(std::uint64_t seed) {
  Random random(seed);
  auto model = std::make_unique<nn::Sequential<T, Host>>();
  model->append(linear_module<T, Host>(random, 48, 24));
  model->append(std::make_unique<nn::GeluActivation<T>>());
  auto inner = std::make_unique<nn::Sequential<T, Host>>();
  inner->append(std::make_unique<Mlp<T>>(random, 24, 96));
  model->append(std::move(inner));
  model->append(linear_module<T, Host>(random, 24, 10, false));
  return model;
}

const std::vector<std::string> linear_names = {"0", "2.0.fc1", "2.0.fc2", "3"};

TEST_CASE("modules: names as in checkpoints", "[nn]") {
  auto model = small_model<float>(1);
  std::vector<std::string> names;
  nn::visit_modules(model, [&](const std::string& name, nn::ModulePtr<float, Host>&) { names.push_back(name); });
  CHECK(names == std::vector<std::string>{"", "0", "1", "2", "2.0", "2.0.fc1", "2.0.fc2", "3"});
  names.clear();
  for (const nn::Parameter& each : nn::named_parameters(model)) names.push_back(each.name);
  CHECK(names == std::vector<std::string>{"0.weight", "0.bias", "2.0.fc1.weight", "2.0.fc1.bias", "2.0.fc2.weight", "3.weight"});
  CHECK(nn::find_module(model, "2.0.fc2")->out_features(96) == 24);
  CHECK(error_text([&] { nn::find_module(model, "2.0.fc3"); }) ==
        "w8a8::find_module: argument 'name': expected the name of a module of the model, got '2.0.fc3'");
}

TEST_CASE("modules: a floating-point model against FP64", "[nn]") {
  Random random(2);
  const auto linear = random_linear<float>(random, 77, 35);
  const auto x = normal_tensor<float, 2>(random, {9, 77});
  auto y = poisoned<float, 2>({9, 35});
  linear.forward(x.view(), y.view());
  for (std::int64_t m = 0; m < 9; ++m) {
    for (std::int64_t n = 0; n < 35; ++n) {
      double sum = linear.bias(n);
      for (std::int64_t k = 0; k < 77; ++k) sum += static_cast<double>(x(m, k)) * linear.weight(n, k);
      CHECK(std::abs(y(m, n) - sum) <= 1e-5);
    }
  }
  // Sequential passes on what each module gives: with the modules called one by one the bits are the same.
  const auto model = small_model<float>(3);
  const auto input = normal_tensor<float, 2>(random, {5, 48});
  auto children = const_cast<nn::Module<float, Host>&>(*model).children();
  auto step = run_model(children[3].module,
                        run_model(children[2].module, run_model(children[1].module, run_model(children[0].module, input))));
  CHECK(difference(values(step), values(run_model(model, input))) == "");
}

TEST_CASE("fake quantization: weights and inputs on the grid, the caller's input untouched", "[nn]") {
  Random random(4);
  const auto linear = random_linear<half>(random, 40, 12);
  const auto source = values(linear.weight);
  for (int wbit = 2; wbit <= 8; ++wbit) {
    const auto fake = FakeW8A8Linear<half>::from_linear(linear, wbit);
    CHECK(difference(source, values(linear.weight)) == "");
    const float limit = static_cast<float>((1 << (wbit - 1)) - 1);
    for (std::int64_t n = 0; n < 12; ++n) {
      float largest = 0.0f;
      for (std::int64_t k = 0; k < 40; ++k) largest = std::fmax(largest, std::fabs(to_float(linear.weight(n, k))));
      const float scale = largest / limit;
      for (std::int64_t k = 0; k < 40; ++k) {
        const float code = fake.weight(n, k) / scale;
        CHECK(std::fabs(code - std::nearbyint(code)) < 1e-4f);
        CHECK(std::fabs(code) <= limit + 1e-4f);
        CHECK(std::fabs(fake.weight(n, k) - to_float(linear.weight(n, k))) <= 0.5001f * scale);
      }
    }
    const auto x = normal_tensor<half, 2>(random, {3, 40});
    const auto before = values(x);
    auto y = poisoned<half, 2>({3, 12});
    Tensor<std::byte, 1, Host> workspace({static_cast<std::int64_t>(fake.workspace_bytes(3, 40))});
    fake.forward(x.view(), y.view(), workspace.view());
    CHECK(difference(before, values(x)) == "");
    CHECK(std::isfinite(to_float(y(2, 11))));
    CHECK(contains(error_text([&] { fake.forward(x.view(), y.view(), VectorView<std::byte, Host>(workspace.data(), {8})); }),
                   "'workspace'"));
  }
  CHECK(error_text([&] { FakeW8A8Linear<half>::from_linear(linear, 9); }) ==
        "w8a8::FakeW8A8Linear::from_linear: argument 'wbit': expected 2 to 8, got 9");
}

TEST_CASE("fake quantization of a model: every linear layer, with progress", "[nn]") {
  auto model = small_model<float>(5);
  Random random(6);
  const auto x = normal_tensor<float, 2>(random, {16, 48});
  const auto exact = run_model(model, x);
  std::vector<std::string> told;
  CHECK_THROWS_AS(fake_quant(model, 1), Error);
  CHECK(difference(values(exact), values(run_model(model, x))) == "");
  CHECK(fake_quant(model, 8, [&](std::size_t done, std::size_t total, const std::string& name) {
          told.push_back(name);
          CHECK(done == told.size());
          CHECK(total == 4);
        }) == 4);
  CHECK(told == linear_names);
  for (const std::string& name : linear_names) {
    CHECK(dynamic_cast<FakeW8A8Linear<float>*>(nn::find_module(model, name).get()) != nullptr);
  }
  const double eight = snr_db(exact, run_model(model, x));
  CHECK(eight > 30.0);
  auto coarse = small_model<float>(5);
  fake_quant(coarse, 4);
  CHECK(snr_db(exact, run_model(coarse, x)) < eight - 10.0);
  CHECK(fake_quant(model, 8) == 0);

  nn::ModulePtr<float, Host> single = linear_module<float, Host>(random, 4, 4);
  CHECK(fake_quant(single) == 1);
  CHECK(dynamic_cast<FakeW8A8Linear<float>*>(single.get()) != nullptr);
}

TEST_CASE("fake quantization predicts the INT8 layer within the rounding of the output", "[nn]") {
  Random random(7);
  const auto linear = random_linear<half>(random, 300, 60);
  const auto fake = FakeW8A8Linear<half>::from_linear(linear);
  const auto real = W8A8OF16LinearDynamicInputScale<half, Host>::from_linear(linear);
  const auto x = normal_tensor<half, 2>(random, {20, 300}, 2.0f);
  auto a = poisoned<half, 2>({20, 60}), b = poisoned<half, 2>({20, 60});
  Tensor<std::byte, 1, Host> workspace(
      {static_cast<std::int64_t>(fake.workspace_bytes(20, 300) + real.forward_workspace_bytes(20))});
  fake.forward(x.view(), a.view(), workspace.view());
  real.forward(x.view(), b.view(), workspace.view());
  for (std::int64_t i = 0; i < a.size(); ++i) {
    const float predicted = to_float(a.data()[i]), actual = to_float(b.data()[i]);
    CHECK(std::fabs(predicted - actual) <= std::fabs(actual) * 0x1p-10f + 1e-5f);
  }
}

TEST_CASE("conversion of a model to INT8, with layers that stay", "[nn]") {
  auto model = small_model<half>(8);
  Random random(9);
  const auto x = normal_tensor<half, 2>(random, {8, 48});
  const auto exact = run_model(model, x);
  std::size_t told = 0;
  CHECK(nn::quantize(
            model, [](const std::string& name) { return name == "3"; },
            [&](std::size_t, std::size_t, const std::string&) { ++told; }) == 3);
  CHECK(told == 4);
  CHECK(dynamic_cast<nn::Linear<half, Host>*>(nn::find_module(model, "3").get()) != nullptr);
  CHECK(snr_db(exact, run_model(model, x)) > 30.0);
  std::vector<std::string> names;
  for (const nn::Parameter& each : nn::named_parameters(model)) names.push_back(each.name + " " + each.dtype);
  CHECK(names == std::vector<std::string>{"0.weight I8", "0.dequant_scale F32", "0.bias F16", "2.0.fc1.weight I8",
                                          "2.0.fc1.dequant_scale F32", "2.0.fc1.bias F16", "2.0.fc2.weight I8",
                                          "2.0.fc2.dequant_scale F32", "3.weight F16"});
}

TEST_CASE("state dicts: saved, and loaded into layers that were only allocated", "[nn][io]") {
  const TemporaryDirectory directory;
  auto model = small_model<half>(10);
  nn::quantize(model);
  Random random(11);
  const auto x = normal_tensor<half, 2>(random, {8, 48});
  const auto expected = run_model(model, x);
  save_state_dict(model, directory / "model.safetensors", {{"format", "w8a8"}});
  const SafetensorsFile file(directory / "model.safetensors");
  CHECK(file.metadata().at("format") == "w8a8");

  auto other = small_model<half>(12);
  nn::replace_linears<half, Host>(other, {},
                                  [](const std::string&, const nn::Linear<half, Host>& linear) -> nn::ModulePtr<half, Host> {
                                    using Module = nn::QuantizedLinear<half, Host>;
                                    return std::make_unique<Module>(Module::Layer::from_linear(linear, true));
                                  });
  load_state_dict(other, file);
  CHECK(difference(values(expected), values(run_model(other, x))) == "");
}

TEST_CASE("state dicts: what does not fit is named, and nothing is changed", "[nn][io]") {
  const TemporaryDirectory directory;
  auto model = small_model<half>(13);
  save_state_dict(model, directory / "half");
  auto floats = small_model<float>(14);
  CHECK(ends_with(error_text([&] { load_state_dict(floats, SafetensorsFile(directory / "half")); }),
                  "tensor '0.weight': its dtype is 'F16', the model's F32"));
  auto quantized = small_model<half>(13);
  nn::quantize(quantized, [](const std::string& name) { return name != "3"; });
  CHECK(ends_with(error_text([&] { load_state_dict(quantized, SafetensorsFile(directory / "half")); }),
                  "tensor '3.weight': its dtype is 'F16', the model's I8"));

  const auto before = values(static_cast<nn::Linear<half, Host>&>(*nn::find_module(model, "0")).weight);
  Random random(15);
  auto wide = std::make_unique<nn::Sequential<half, Host>>();
  wide->append(linear_module<half, Host>(random, 48, 24));
  nn::ModulePtr<half, Host> part = std::move(wide);
  save_state_dict(part, directory / "part");
  CHECK(contains(error_text([&] { load_state_dict(model, SafetensorsFile(directory / "part")); }),
                 "tensor '2.0.fc1.weight': is not in the file"));
  CHECK(ends_with(error_text([&] { load_state_dict(part, SafetensorsFile(directory / "half")); }),
                  "the model has no such parameter"));
  nn::ModulePtr<half, Host> narrow = linear_module<half, Host>(random, 47, 24);
  nn::ModulePtr<half, Host> single = linear_module<half, Host>(random, 48, 24);
  save_state_dict(single, directory / "single");
  CHECK(ends_with(error_text([&] { load_state_dict(narrow, SafetensorsFile(directory / "single")); }),
                  "tensor 'weight': its shape is 24x48, the model's 24x47"));
  CHECK(difference(before, values(static_cast<nn::Linear<half, Host>&>(*nn::find_module(model, "0")).weight)) == "");
}

TEST_CASE("modules: shapes that disagree and null children", "[nn]") {
  auto model = small_model<float>(16);
  Random random(17);
  CHECK(contains(error_text([&] { model->out_features(47); }), "expected 48, got 47"));
  const auto x = normal_tensor<float, 2>(random, {2, 48});
  auto y = poisoned<float, 2>({2, 10});
  Tensor<std::byte, 1, Host> workspace({16});
  CHECK(contains(error_text([&] { model->forward(x.view(), y.view(), workspace.view(), nullptr); }), "argument 'workspace'"));
  Tensor<std::byte, 1, Host> enough({static_cast<std::int64_t>(model->workspace_bytes(2, 48)) + 4});
  const auto refused = [&](std::byte* data, std::int64_t size, const MatrixView<float, Host>& to) {
    return error_text([&] { model->forward(x.view(), to, VectorView<std::byte, Host>(data, {size}), nullptr); });
  };
  CHECK(contains(refused(nullptr, enough.size(), y.view()), "Sequential::forward: argument 'workspace': expected a pointer"));
  CHECK(contains(refused(enough.data() + 4, enough.size() - 4, y.view()), "expected an address aligned to 16 bytes"));
  CHECK(contains(refused(enough.data(), enough.size(), MatrixView<float, Host>(y.data(), {2, 9})),
                 "Sequential::forward: argument 'output_buffer': expected shape 2x10, got shape 2x9"));
  nn::Sequential<float, Host> sequence;
  CHECK(contains(error_text([&] { sequence.append(nullptr); }), "argument 'module': expected a module, got null"));
  CHECK(contains(error_text([&] { sequence.forward(x.view(), y.view(), workspace.view(), nullptr); }),
                 "expected at least one module"));
  nn::find_module(model, "2.0.fc1") = nullptr;
  CHECK(contains(error_text([&] { fake_quant(model); }), "null for '2.0.fc1'"));
}

TEST_CASE("progress bar: one line", "[nn]") {
  const nn::ProgressBar bar("Fake quantizing");
  CHECK(bar.line(1, 4, "a.b") == "Fake quantizing [######------------------] 1/4  a.b");
  CHECK(bar.line(0, 0, "") == "Fake quantizing [########################] 0/0  ");
  std::FILE* file = std::tmpfile();
  const nn::ProgressBar quiet("T", file);
  for (std::size_t i = 1; i <= 3; ++i) quiet(i, 3, "x");
  std::rewind(file);
  char text[200] = {};
  CHECK(std::fread(text, 1, sizeof text - 1, file) > 0);
  CHECK(std::string(text) == "T [########################] 3/3  x\n");
  std::fclose(file);
}

}  // namespace
