// Whole models saved as W8A8 checkpoints and filled from them.
#include "w8a8/io/w8a8_model.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/error_text.hpp"
#include "support/random.hpp"
#include "w8a8/io/convert_checkpoint.hpp"
#include "w8a8/io/state_dict.hpp"
#include "w8a8/nn/projections.hpp"
#include "w8a8/nn/sequential.hpp"

namespace {

using namespace w8a8;
using namespace w8a8_test;

template <class T>
nn::ModulePtr<T, Host> linear(Random& random, std::int64_t in, std::int64_t out, bool has_bias = true) {
  auto module = std::make_unique<nn::Linear<T, Host>>(in, out, has_bias);
  for (std::int64_t i = 0; i < module->weight.size(); ++i) module->weight.data()[i] = from_float<T>(0.1f * random.normal());
  for (std::int64_t i = 0; i < module->bias.size(); ++i) module->bias.data()[i] = from_float<T>(random.normal());
  return module;
}

/// "0": 24 -> 40, "1": GELU, "2": 40 -> 16 without bias, "3": 16 -> 10.
template <class T>
nn::ModulePtr<T, Host> small_model(std::uint64_t seed) {
  Random random(seed);
  auto model = std::make_unique<nn::Sequential<T, Host>>();
  model->append(linear<T>(random, 24, 40));
  model->append(std::make_unique<nn::GeluActivation<T>>());
  model->append(linear<T>(random, 40, 16, false));
  model->append(linear<T>(random, 16, 10));
  return model;
}

template <class T>
std::vector<T> run(const nn::ModulePtr<T, Host>& model) {
  Random random(99);
  const auto x = normal<T>(random, 5 * 24);
  Tensor<T, 2, Host> y({5, 10});
  Tensor<std::byte, 1, Host> workspace({static_cast<std::int64_t>(model->workspace_bytes(5, 24))});
  model->forward(MatrixView<const T, Host>(x.data(), {5, 24}), y.view(), workspace.view(), nullptr);
  return {y.data(), y.data() + y.size()};
}

bool keep_last(const std::string& name) { return name == "3"; }

TEMPLATE_TEST_CASE("a quantized model comes back with the same bits, in shards, too", "[io]", half, bfloat16, float) {
  const TemporaryDirectory directory;
  auto model = small_model<TestType>(1);
  CHECK(contains(error_text([&] { save_w8a8_model(model, directory / "m"); }), "the model has no quantized layer"));
  nn::quantize<TestType, Host>(model, keep_last);
  const std::vector<TestType> expected = run(model);
  for (const std::uint64_t shard : {std::uint64_t{1} << 30, std::uint64_t{700}}) {
    const std::string path = directory / ("m" + std::to_string(shard));
    save_w8a8_model(model, path, {{"model_type", "x"}}, shard);
    const W8A8Checkpoint checkpoint(path);
    CHECK((checkpoint.tensors().shards().size() > 1) == (shard == 700));
    CHECK(checkpoint.layers().size() == 2);
    CHECK(checkpoint.config().ignore == std::vector<std::string>{"3"});
    CHECK(read_json(path + "/config.json")["model_type"] == "x");
    auto loaded = small_model<TestType>(2);  // floating point: its layers become INT8 as the checkpoint says
    int told = 0;
    CHECK(load_w8a8_model(loaded, checkpoint, [&](std::size_t, std::size_t, const std::string&) { ++told; }) == 2);
    CHECK(told == 7);
    CHECK(difference(expected, run(loaded), 10) == "");
    auto converted = small_model<TestType>(3);  // INT8 from the start
    nn::quantize<TestType, Host>(converted, keep_last);
    load_w8a8_model(converted, checkpoint);
    CHECK(difference(expected, run(converted), 10) == "");
    CHECK(contains(error_text([&] { save_w8a8_model(model, path); }), "a checkpoint is never overwritten"));
  }
}

TEST_CASE("a converted checkpoint is the model converted in memory", "[io]") {
  const TemporaryDirectory directory;
  auto model = small_model<half>(4);
  std::filesystem::create_directory(directory / "in");
  save_state_dict(model, directory / "in/model.safetensors");
  ConvertOptions options;
  options.skip = {"3"};
  options.scale_dtype = "F32";
  CheckpointConverter(directory / "in", directory / "out", options).run();
  auto loaded = small_model<half>(5);
  load_w8a8_model(loaded, W8A8Checkpoint(directory / "out"));
  nn::quantize<half, Host>(model, keep_last);
  CHECK(difference(run(model), run(loaded), 10) == "");

  // Scales in the weights' type are other scales, and a model with float scales takes them exactly.
  options.scale_dtype = "";
  CheckpointConverter(directory / "in", directory / "half", options).run();
  load_w8a8_model(loaded, W8A8Checkpoint(directory / "half"));
  const auto* layer = dynamic_cast<const nn::QuantizedLinear<half, Host>*>(nn::find_module(loaded, "0").get());
  REQUIRE(layer != nullptr);
  const Checkpoint checkpoint(directory / "half");
  for (std::int64_t n = 0; n < 40; ++n)
    CHECK(layer->layer.dequant_scale(n) == to_float(checkpoint.view<half, 2>("0.weight_scale")(n, 0)));
}

TEST_CASE("fused layers take the rows of the layers that they were made of", "[io]") {
  const TemporaryDirectory directory;
  const auto attention = [](std::uint64_t seed) {
    Random random(seed);
    auto module = std::make_unique<nn::Projections<half, Host>>();
    module->append("q", linear<half>(random, 24, 5));
    module->append("k", linear<half>(random, 24, 3, false));
    module->append("v", linear<half>(random, 24, 2));
    return nn::ModulePtr<half, Host>(std::move(module));
  };
  auto model = attention(1);
  nn::quantize<half, Host>(model, {}, {}, nn::Fuse::yes);
  const auto expected = run(model);
  save_w8a8_model(model, directory / "m");
  const W8A8Checkpoint checkpoint(directory / "m");
  CHECK(checkpoint.layers() == std::vector<std::string>{"q", "k", "v"});
  auto one_by_one = attention(2);
  load_w8a8_model(one_by_one, checkpoint);
  CHECK(difference(expected, run(one_by_one), 10) == "");
  auto fused = attention(3);
  nn::quantize<half, Host>(fused, {}, {}, nn::Fuse::yes);
  load_w8a8_model(fused, checkpoint);
  CHECK(difference(expected, run(fused), 10) == "");
}

TEST_CASE("models and checkpoints that do not fit", "[io]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "m";
  auto model = small_model<half>(1);
  nn::quantize<half, Host>(model, keep_last);
  save_w8a8_model(model, path);
  const auto error = [&](nn::ModulePtr<half, Host> other) {
    return error_text([&] { load_w8a8_model(other, W8A8Checkpoint(path)); });
  };
  Random random(1);
  const auto sequence = [&](std::vector<nn::ModulePtr<half, Host>> modules) {
    auto out = std::make_unique<nn::Sequential<half, Host>>();
    for (auto& each : modules) out->append(std::move(each));
    return out;
  };
  std::vector<nn::ModulePtr<half, Host>> modules;
  modules.push_back(linear<half>(random, 24, 40));
  CHECK(contains(error(sequence(std::move(modules))), "tensor '2.weight': the model has no such layer"));
  modules.clear();
  modules.push_back(linear<half>(random, 24, 41));
  CHECK(contains(error(sequence(std::move(modules))), "tensor '0.weight': its shape is 40x24, the model's 41x24"));
  auto deeper = small_model<half>(1);
  dynamic_cast<nn::Sequential<half, Host>&>(*deeper).append(linear<half>(random, 10, 10));
  CHECK(contains(error(std::move(deeper)), "tensor '4.weight': is not in the file"));
  auto all = small_model<half>(1);
  nn::quantize<half, Host>(all);
  CHECK(contains(error(std::move(all)), "tensor '3.weight': its dtype is 'F16', the model's I8"));
}

}  // namespace
