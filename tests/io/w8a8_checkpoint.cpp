// W8A8 checkpoints: layers come back with the same bits, and what is no W8A8 checkpoint is refused with the file, tensor and
// reason.
#include "w8a8/io/w8a8_checkpoint.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/error_text.hpp"
#include "support/random.hpp"

namespace {

using namespace w8a8;
using namespace w8a8_test;

template <class Tensor>
auto elements(const Tensor& tensor) {
  return std::vector<typename Tensor::value_type>(tensor.data(), tensor.data() + tensor.size());
}

/// A directory with a layer "fc" of 3 x 5, without bias and with what `more` says.
struct Directory {
  TemporaryDirectory directory;
  std::vector<std::int8_t> codes = std::vector<std::int8_t>(15, 7);
  std::vector<float> scales = {0.5f, 0.25f, 0.1f};
  NamedTensor weight{"fc.weight", {"I8", {3, 5}, codes.data(), 15}};
  NamedTensor scale{"fc.weight_scale", {"F32", {3, 1}, scales.data(), 12}};

  std::string path() const { return directory / "."; }
  void write(const std::vector<NamedTensor>& tensors) const { write_safetensors(directory / "model.safetensors", tensors); }
  void write_config(const Json& quantization) const {
    write_json(directory / "config.json", {{"model_type", "x"}, {"quantization_config", quantization}});
  }
  std::string load_error() const {
    return error_text([&] { load_w8a8_linear<half, Host>(Checkpoint(path()), "fc"); });
  }
};

TEMPLATE_TEST_CASE("a layer comes back with the same bits", "[io]", float, half, bfloat16) {
  const TemporaryDirectory directory;
  Random random(3);
  for (const bool with_bias : {false, true}) {
    nn::Linear<float> linear(37, 19, with_bias);
    const auto weight = normal<float>(random, 37 * 19), bias = normal<float>(random, 19);
    std::copy(weight.begin(), weight.end(), linear.weight.data());
    if (with_bias) std::copy(bias.begin(), bias.end(), linear.bias.data());
    const auto layer = W8A8OF16LinearDynamicInputScale<half, Host, TestType>::from_linear(linear);
    write_safetensors(directory / "model.safetensors", w8a8_tensors("a.fc", layer));
    write_json(directory / "config.json", {{"quantization_config", quantization_config_json({{"Linear"}, {"lm_head"}})}});

    const W8A8Checkpoint checkpoint(directory / ".");
    CHECK(checkpoint.layers() == std::vector<std::string>{"a.fc"});
    CHECK(checkpoint.config().ignore == std::vector<std::string>{"lm_head"});
    CHECK(checkpoint.tensors().find("a.fc.weight_scale").shape == std::vector<std::int64_t>{19, 1});
    const auto loaded = checkpoint.load<half, Host, TestType>("a.fc", true);
    CHECK(loaded.fc1);
    CHECK(loaded.in_features() == 37);
    CHECK(difference(elements(layer.weight), elements(loaded.weight), 37) == "");
    CHECK(difference(elements(layer.dequant_scale), elements(loaded.dequant_scale)) == "");
    REQUIRE(loaded.has_bias() == with_bias);
    if (with_bias) CHECK(difference(elements(layer.bias), elements(loaded.bias)) == "");
    const auto as_float = checkpoint.load<bfloat16, Host>("a.fc");  // every scale is a float
    for (std::int64_t n = 0; n < 19; ++n) CHECK(as_float.dequant_scale(n) == to_float(layer.dequant_scale(n)));
  }
}

TEST_CASE("broken layers name the file, the tensor and the reason", "[io]") {
  const Directory d;
  const std::string file = "w8a8: file '" + (d.directory / "./model.safetensors");
  const auto error = [&](const std::vector<NamedTensor>& tensors) {
    d.write(tensors);
    return d.load_error();
  };
  CHECK(error({d.weight, d.scale}) == "no exception");
  CHECK(error({d.weight}) == file + "', tensor 'fc.weight_scale': is not in the file, which holds 'fc.weight'");
  CHECK(error({d.scale}) == file + "', tensor 'fc.weight': is not in the file, which holds 'fc.weight_scale'");
  const std::vector<float> floats(16, 1.0f);
  CHECK(error({{"fc.weight", {"F32", {3, 5}, floats.data(), 60}}, d.scale}) ==
        file + "', tensor 'fc.weight': its dtype is 'F32', expected I8: the layer is not quantized");
  CHECK(contains(error({{"fc.weight", {"I8", {15}, d.codes.data(), 15}}, d.scale}), "its shape is 15, expected 2 dimensions"));
  CHECK(contains(error({d.weight, {"fc.weight_scale", {"F32", {1}, floats.data(), 4}}}),
                 "tensor 'fc.weight_scale': its shape is 1, expected 3x1: a scale for each row of the weight"));
  CHECK(contains(error({d.weight, {"fc.weight_scale", {"F32", {1, 3}, floats.data(), 12}}}), "its shape is 1x3, expected 3x1"));
  CHECK(error({d.weight, {"fc.weight_scale", {"F32", {3}, floats.data(), 12}}}) == "no exception");
  CHECK(contains(error({d.weight, {"fc.weight_scale", {"I8", {3, 1}, d.codes.data(), 3}}}),
                 "its dtype is 'I8', expected F32, F16 or BF16"));
  for (const float bad : {0.0f, -1.0f, INFINITY, NAN}) {
    const std::vector<float> scales = {1.0f, bad, 1.0f};
    CHECK(contains(error({d.weight, {"fc.weight_scale", {"F32", {3, 1}, scales.data(), 12}}}), "the scale of channel 1 is "));
  }
  CHECK(contains(error({d.weight, d.scale, {"fc.bias", {"F32", {4}, floats.data(), 16}}}),
                 "tensor 'fc.bias': its length is 4, the weight has 3 rows"));
  CHECK(contains(error({d.weight, d.scale, {"fc.bias", {"I8", {3}, d.codes.data(), 3}}}), "tensor 'fc.bias': its dtype is 'I8'"));
  CHECK(contains(error({d.weight, d.scale, {"fc.input_scale", {"F32", {1}, floats.data(), 4}}}),
                 "tensor 'fc.input_scale': is there"));
  const std::vector<std::int8_t> zeros(3, 0);
  CHECK(error({d.weight, d.scale, {"fc.weight_zero_point", {"I8", {3, 1}, zeros.data(), 3}}}) == "no exception");
  CHECK(contains(error({d.weight, d.scale, {"fc.weight_zero_point", {"I8", {3, 1}, d.codes.data(), 3}}}), "is not all 0"));
  const std::vector<std::int8_t> long_row(131072);
  CHECK(contains(error({{"fc.weight", {"I8", {1, 131072}, long_row.data(), 131072}},
                        {"fc.weight_scale", {"F32", {1, 1}, floats.data(), 4}}}),
                 "has 131072 input features, more than 131071"));
  d.write({d.weight, d.scale});
  CHECK(contains(error_text([&] { load_w8a8_linear<half, Host, half>(Checkpoint(d.path()), "fc"); }),
                 "is no F16: load it as float"));
}

TEST_CASE("directories that are no W8A8 checkpoint", "[io]") {
  const Directory d;
  const Json good = quantization_config_json({});
  const auto error = [&] { return error_text([&] { W8A8Checkpoint{d.path()}; }); };
  d.write({d.weight, d.scale});
  CHECK(contains(error(), "config.json': cannot be opened"));
  d.write_config(good);
  CHECK(error() == "no exception");
  d.write({d.weight});
  CHECK(contains(error(), "tensor 'fc.weight': is I8, and there is no 'fc.weight_scale'"));
  d.write({d.scale});
  CHECK(contains(error(), "tensor 'fc.weight_scale': there is no I8 'fc.weight'"));
}

TEST_CASE("configs that say something else are refused by entry", "[io]") {
  const Json good = quantization_config_json({{"Linear"}, {"lm_head", "re:.*gate"}});
  const auto reason = [](const Json& quantization) {
    try {
      const QuantizationConfig config = parse_quantization_config({{"quantization_config", quantization}}, "c");
      CHECK(config.targets == std::vector<std::string>{"Linear"});
      return std::string("accepted");
    } catch (const FileError& error) {
      return error.reason();
    }
  };
  const auto with = [&](const std::string& pointer, const Json& value) {
    Json changed = good;
    changed[Json::json_pointer(pointer)] = value;
    return reason(changed);
  };
  const std::string weights = "/config_groups/group_0/weights", inputs = "/config_groups/group_0/input_activations";
  CHECK(reason(good) == "accepted");
  CHECK(with("/format", "naive-quantized") == "accepted");
  CHECK(with("/ignore", nullptr) == "accepted");
  CHECK(with("/sparsity_config", Json::object()) == "accepted");
  CHECK(with("/sparsity_config", {{"format", "dense"}}) == "accepted");
  CHECK(with(weights + "/observer", "minmax") == "accepted");
  CHECK(reason(nullptr) == "has no quantization_config");
  CHECK(with("/quant_method", "gptq") == R"(its quantization_config.quant_method is '"gptq"', expected "compressed-tensors")");
  CHECK(with("/format", "pack-quantized") == R"(its quantization_config.format is '"pack-quantized"', expected "int-quantized")");
  CHECK(with("/quantization_status", "frozen") ==
        R"(its quantization_config.quantization_status is '"frozen"', expected "compressed")");
  CHECK(contains(with("/sparsity_config", {{"format", "sparse-bitmask"}}), "sparsity_config is not empty"));
  CHECK(contains(with("/transform_config", {{"config_groups", {{"u", 1}}}}), "transform_config is not empty"));
  CHECK(contains(with("/config_groups", Json::object()), "config_groups is missing, empty or no object"));
  CHECK(contains(with("/config_groups", Json::array({1})), "config_groups is missing, empty or no object"));
  CHECK(contains(with("/config_groups/group_0", 5), "config_groups.'group_0' is no object"));
  CHECK(contains(with(weights, nullptr), "'group_0'.weights is missing or no object"));
  CHECK(contains(with(weights + "/num_bits", 4), "'group_0'.weights.num_bits is '4', expected 8"));
  CHECK(contains(with(weights + "/type", "float"), R"(weights.type is '"float"', expected "int")"));
  CHECK(contains(with(weights + "/symmetric", false), "weights.symmetric is 'false', expected true"));
  CHECK(contains(with(weights + "/strategy", "group"), R"(weights.strategy is '"group"', expected "channel")"));
  CHECK(contains(with(weights + "/strategy", nullptr), R"(weights.strategy is 'null', expected "channel")"));
  CHECK(contains(with(weights + "/dynamic", true), "weights.dynamic is 'true', expected false"));
  CHECK(contains(with(inputs, nullptr), "input_activations is missing or no object"));
  CHECK(contains(with(inputs + "/num_bits", 16), "input_activations.num_bits is '16', expected 8"));
  CHECK(contains(with(inputs + "/strategy", "tensor"), R"(input_activations.strategy is '"tensor"', expected "token")"));
  CHECK(contains(with(inputs + "/dynamic", false), "input_activations.dynamic is 'false', expected true"));
  CHECK(contains(with(inputs + "/dynamic", "local"), "input_activations.dynamic is"));
  CHECK(contains(with("/config_groups/group_0/output_activations", Json::object()), "output_activations is not null"));
  CHECK(contains(with("/config_groups/group_0/format", "float-quantized"), "format is"));
  CHECK(contains(with("/config_groups/group_0/targets", "Linear"), "targets is no list"));
  CHECK(contains(with("/ignore", Json::array({1})), "ignore holds something else than texts"));
  CHECK(contains(error_text([] { parse_quantization_config(Json::array(), "c"); }), "is no object"));
  CHECK(parse_quantization_config({{"compression_config", good}}, "c").ignore.size() == 2);
}

}  // namespace
