// Converting a checkpoint: what is converted and what stays, the same bits as a layer made in memory, resumed runs, refusals.
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/error_text.hpp"
#include "support/random.hpp"
#include "w8a8/io/convert_checkpoint.hpp"
#include "w8a8/io/w8a8_checkpoint.hpp"

namespace {

using namespace w8a8;
using namespace w8a8_test;
namespace fs = std::filesystem;

template <class T>
std::vector<T> elements(const Tensor<T, 2, Host>& tensor) {
  return {tensor.data(), tensor.data() + tensor.size()};
}

/// A little model in a directory of its own, and a directory for the result.
struct Model {
  TemporaryDirectory directory;
  std::string in = directory / "in", out = directory / "out";
  Random random{7};

  Model() {
    fs::create_directory(in);
    write_file(in + "/config.json", "{\"model_type\": \"llama\", \"torch_dtype\": \"bfloat16\"}");
  }

  /// "name" to its elements; shapes are 2-D where rows > 0.
  template <class T>
  static NamedTensor named(const std::string& name, const std::vector<T>& data, std::int64_t rows = 0) {
    const auto size = static_cast<std::int64_t>(data.size());
    const std::vector<std::int64_t> shape =
        rows > 0 ? std::vector<std::int64_t>{rows, size / rows} : std::vector<std::int64_t>{size};
    return {name, {dtype_name<T>(), shape, data.data(), data.size() * sizeof(T)}};
  }

  void write(const std::vector<NamedTensor>& tensors, const std::string& file = "model.safetensors") const {
    write_safetensors(in + "/" + file, tensors);
  }

  ConvertReport convert(const ConvertOptions& options = {}) const { return CheckpointConverter(in, out, options).run(); }
  std::string error(const ConvertOptions& options = {}) const {
    return error_text([&] { convert(options); });
  }
};

TEMPLATE_TEST_CASE("linear weights become what a layer made in memory holds; all else stays", "[io]", float, half, bfloat16) {
  Model model;
  const auto up = normal<TestType>(model.random, 24 * 40), head = normal<TestType>(model.random, 8 * 40);
  const auto bias = normal<TestType>(model.random, 24), norm = normal<TestType>(model.random, 40);
  model.write({Model::named("model.up.weight", up, 24), Model::named("model.up.bias", bias),
               Model::named("model.norm.weight", norm), Model::named("model.embed_tokens.weight", head, 8),
               Model::named("lm_head.weight", head, 8)});
  write_file(model.in + "/tokenizer.json", "{}");
  write_file(model.in + "/pytorch_model.bin", "weights");
  fs::create_directories(model.in + "/.git");
  write_file(model.in + "/.git/x", "x");
  fs::create_directories(model.in + "/1_Pooling");
  write_file(model.in + "/1_Pooling/config.json", "{\"a\": 1}");
  const ConvertReport report = model.convert();
  REQUIRE(report.layers.size() == 1);
  CHECK(report.layers[0].name == "model.up");
  CHECK(report.layers[0].snr_db > 35.0);
  CHECK(report.layers[0].worst_snr_db <= report.layers[0].snr_db);
  CHECK(report.copied == std::vector<std::string>{"1_Pooling/config.json", "tokenizer.json"});
  CHECK(report.left_out == std::vector<std::string>{"pytorch_model.bin"});

  const W8A8Checkpoint result(model.out);
  CHECK(result.layers() == std::vector<std::string>{"model.up"});
  CHECK(result.config().ignore == std::vector<std::string>{"model.embed_tokens", "lm_head"});
  CHECK(read_json(model.out + "/config.json")["torch_dtype"] == "bfloat16");
  CHECK(read_json(model.out + "/1_Pooling/config.json") == Json{{"a", 1}});
  for (const char* name : {"model.up.bias", "model.norm.weight", "lm_head.weight", "model.embed_tokens.weight"}) {
    const TensorRef before = Checkpoint(model.in).ref(name), after = result.tensors().ref(name);
    CHECK(after.dtype == before.dtype);
    CHECK(after.shape == before.shape);
    const Checkpoint input(model.in);
    CHECK(std::memcmp(input.ref(name).data, after.data, static_cast<std::size_t>(after.bytes)) == 0);
  }
  nn::Linear<TestType> linear(40, 24);
  std::copy(up.begin(), up.end(), linear.weight.data());
  std::copy(bias.begin(), bias.end(), linear.bias.data());
  const auto expected = W8A8OF16LinearDynamicInputScale<half, Host, TestType>::from_linear(linear);
  const auto loaded = result.load<half, Host, TestType>("model.up");
  CHECK(difference(elements(expected.weight), elements(loaded.weight), 40) == "");
  for (int n = 0; n < 24; ++n) CHECK(to_float(expected.dequant_scale(n)) == to_float(loaded.dequant_scale(n)));
}

TEST_CASE("patterns say what is converted", "[io]") {
  Model model;
  const auto w = normal<float>(model.random, 4 * 6);
  const std::vector<float> conv(2 * 3 * 4, 1.0f);
  model.write({Model::named("a.q.weight", w, 4),
               Model::named("a.k.weight", w, 4),
               Model::named("b.gate.weight", w, 4),
               Model::named("a.table", w, 4),
               {"a.conv.weight", {"F32", {2, 3, 4}, conv.data(), 96}}});
  const Checkpoint checkpoint(model.in);
  const auto converted = [&](const ConvertOptions& options) {
    std::string names;
    for (const PlannedTensor& tensor : make_convert_plan(checkpoint, options).tensors) {
      CHECK(tensor.quantize == tensor.reason.empty());
      if (tensor.quantize) names += tensor.module + " ";
    }
    return names;
  };
  ConvertOptions options;
  CHECK(converted(options) == "a.q a.k ");
  options.skip = {"*.q"};
  CHECK(converted(options) == "a.k b.gate ");
  options.only = {"b.*", "*q"};
  CHECK(converted(options) == "b.gate ");
  options.only = {"c.*"};
  CHECK(contains(error_text([&] { converted(options); }), "holds no weight to convert"));
  options = {};
  options.scale_dtype = "I8";
  CHECK(contains(error_text([&] { converted(options); }), "argument 'options.scale_dtype'"));
  CHECK(make_convert_plan(checkpoint, {}).ignore == std::vector<std::string>{"b.gate", "lm_head"});
}

TEST_CASE("shards in, shards out, and a run that was cut off goes on", "[io]") {
  Model model;
  std::vector<std::vector<half>> weights;
  std::vector<std::vector<TensorSpec>> units;
  for (int i = 0; i < 6; ++i) {
    weights.push_back(normal<half>(model.random, 16 * 32));
    units.push_back({{"layers." + std::to_string(i) + ".fc.weight", "F16", {16, 32}}});
  }
  {
    ShardedWriter writer(model.in, plan_shards(units, 3000));
    for (int i = 0; i < 6; ++i) writer.write(units[i][0].name, Model::named("", weights[i], 16).tensor);
    writer.commit();
  }
  CHECK(Checkpoint(model.in).shards().size() == 3);
  ConvertOptions options;
  options.maximum_shard_bytes = 1200;  // two layers of 512 codes and 16 scales
  int told = 0;
  const auto interrupted = [&](std::size_t done, std::size_t total, const std::string&) {
    CHECK(total == 6);
    if (++told == 5) throw FileError("x", "interrupted");
    CHECK(done == static_cast<std::size_t>(told));
  };
  CHECK(contains(error_text([&] { CheckpointConverter(model.in, model.out, options).run(interrupted); }), "interrupted"));
  CHECK(contains(error_text([&] { Checkpoint{model.out}; }), "name the one meant"));  // no index: nobody takes it for whole
  write_file(model.out + "/model-00003-of-00003.safetensors.tmp-1-2", "left by a run that was killed");
  ConvertOptions others = options;
  others.scale_dtype = "F32";
  CHECK(contains(model.error(others), "w8a8_convert.json': is of a conversion with other input, options or version"));

  // A finished shard that was damaged since is done again.
  write_file(model.out + "/model-00002-of-00003.safetensors", "damaged");
  const ConvertReport report = model.convert(options);
  CHECK(report.shards_kept == 1);
  CHECK(report.shards_written == 2);
  REQUIRE(report.layers.size() == 6);
  CHECK(!fs::exists(model.out + "/model-00003-of-00003.safetensors.tmp-1-2"));
  const W8A8Checkpoint result(model.out);
  CHECK(result.tensors().shards().size() == 3);
  CHECK(result.tensors().total_size() == result.tensors().bytes());
  CHECK(result.layers().size() == 6);

  // Once more: nothing to do, the same table.
  const ConvertReport again = model.convert(options);
  CHECK(again.shards_kept == 3);
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(again.layers[i].name == report.layers[i].name);
    CHECK(again.layers[i].snr_db == report.layers[i].snr_db);
  }
  // In one go into another directory: the same bytes.
  CheckpointConverter(model.in, model.directory / "whole", options).run();
  for (const char* name :
       {"model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors",
        "model.safetensors.index.json", "config.json", "w8a8_convert.json"}) {
    CHECK(read_file(model.out + "/" + name) == read_file(model.directory / "whole/" + name));
  }
}

TEST_CASE("large matrices go through in blocks, with the same bits", "[io]") {
  Model model;
  const auto weight = normal<bfloat16>(model.random, 130 * 131071);  // 65 MiB of floats: three blocks
  model.write({Model::named("fc.weight", weight, 130)});
  model.convert();
  const Checkpoint result(model.out);
  const auto codes = result.view<std::int8_t, 2>("fc.weight");
  Tensor<std::int8_t, 2, Host> expected({130, 131071});
  Tensor<bfloat16, 1, Host> scale({130});
  quantize_per_channel(MatrixView<const bfloat16, Host>(weight.data(), {130, 131071}), expected.view(), scale.view());
  CHECK(std::memcmp(codes.data(), expected.data(), static_cast<std::size_t>(expected.bytes())) == 0);
  CHECK(std::memcmp(result.ref("fc.weight_scale").data, scale.data(), 260) == 0);
}

TEST_CASE("what cannot be converted is refused before anything is written, where that can be known", "[io]") {
  Model model;
  const auto w = normal<float>(model.random, 4 * 6);
  const NamedTensor weight = Model::named("fc.weight", w, 4);
  const auto planned = [&](const std::vector<NamedTensor>& tensors) {
    model.write(tensors);
    const std::string what = model.error();
    CHECK(!fs::exists(model.out));
    return what;
  };
  CHECK(contains(
      planned({weight, Model::named("fc.bias", std::vector<float>(6))}),
      "model.safetensors', tensor 'fc.bias': its shape is 6, the weight's 4x6: no weight of a linear layer, or one stored"));
  CHECK(contains(planned({weight, Model::named("fc.weight_scale", std::vector<float>(4))}),
                 "tensor 'fc.weight_scale': is there: the checkpoint is quantized already"));
  CHECK(contains(planned({Model::named("fc.bias", std::vector<float>(6))}), "holds no weight to convert"));
  model.write({weight});
  write_file(model.in + "/config.json", "{\"quantization_config\": {}}");
  CHECK(contains(planned({weight}), "config.json': has a quantization_config: the model is quantized already"));
  write_file(model.in + "/config.json", "[]");
  CHECK(contains(planned({weight}), "config.json': is no object"));
  write_file(model.in + "/config.json", "{");
  CHECK(contains(planned({weight}), "config.json': is not valid JSON at byte"));
  fs::remove(model.in + "/config.json");

  for (const std::string& output : {model.in, model.in + "/", model.in + "/sub/out", model.directory / "."}) {
    CHECK(contains(error_text([&] { CheckpointConverter(model.in, output, {}); }), "the input is never overwritten"));
  }
  CHECK(contains(error_text([&] { CheckpointConverter(model.directory / "none", model.out, {}); }), "is not a directory"));
  fs::create_symlink("loop", model.directory / "loop");
  for (const std::string& output : {model.directory / "loop/out", model.directory / std::string(5000, 'n')}) {
    CHECK(contains(error_text([&] { CheckpointConverter(model.in, output, {}); }), ": cannot be followed: "));
  }
  fs::create_directory(model.out);
  write_file(model.out + "/mine.txt", "x");
  CHECK(contains(model.error(), "is not empty and holds no w8a8_convert.json to go on from"));
  CHECK(std::distance(fs::directory_iterator(model.out), {}) == 1);
  fs::remove_all(model.out);
  write_file(model.out, "x");
  CHECK(contains(model.error(), "is not a directory"));
  fs::remove(model.out);

  for (const float bad : {NAN, INFINITY}) {
    auto values = w;
    values[6 * 2 + 1] = bad;
    model.write({Model::named("fc.weight", values, 4)});
    CHECK(contains(model.error(), "tensor 'fc.weight': row 2 holds a NaN or an infinity: it cannot be quantized"));
    CHECK(!fs::exists(model.out + "/model.safetensors"));
    fs::remove_all(model.out);
  }
  auto values = w;
  values[0] = 1e30f;
  model.write({Model::named("fc.weight", values, 4)});
  ConvertOptions options;
  options.scale_dtype = "F16";
  CHECK(contains(model.error(options), "tensor 'fc.weight': row 0 has a scale beyond F16"));
}

// ---- SmoothQuant ----

TEST_CASE("smoothing factors are those of the paper", "[io]") {
  const auto half_way = smoothing_factors({4.0f, 16.0f, 0.0f, 2.0f}, {1.0f, 0.25f, 1.0f, 0.0f}, 0.5f);
  CHECK(half_way == std::vector<float>{2.0f, 8.0f, 1.0f, 1.0f});
  CHECK(smoothing_factors({4.0f}, {2.0f}, 1.0f) == std::vector<float>{4.0f});
  CHECK(smoothing_factors({4.0f}, {2.0f}, 0.0f) == std::vector<float>{0.5f});
  CHECK(contains(error_text([] { smoothing_factors({1.0f}, {1.0f}, 1.5f); }), "argument 'alpha': expected 0 to 1"));
  CHECK(contains(error_text([] { smoothing_factors({1.0f}, {1.0f}, NAN); }), "argument 'alpha'"));
  CHECK(contains(error_text([] { smoothing_factors({1.0f}, {}, 0.5f); }), "argument 'weight_maxima'"));
}

TEST_CASE("a norm is divided by factors that its rounded weight makes exact", "[io]") {
  std::vector<bfloat16> weight = {from_float<bfloat16>(1.0f), from_float<bfloat16>(0.0f), from_float<bfloat16>(-0.7f)};
  std::vector<float> factors = {3.0f, 3.0f, 0.3f};
  divide_norm(weight.data(), 0.0f, factors);
  CHECK(to_float(weight[0]) * factors[0] == Approx(1.0f).epsilon(1e-6));
  CHECK(factors[0] != 3.0f);  // 1/3 is no bfloat16
  CHECK(factors[1] == 3.0f);
  CHECK(to_float(weight[2]) * factors[2] == Approx(to_float(from_float<bfloat16>(-0.7f))).epsilon(1e-6));
  std::vector<float> gemma = {0.5f}, by = {2.0f};
  divide_norm(gemma.data(), 1.0f, by);
  CHECK(gemma[0] == -0.25f);
  CHECK(by[0] == 2.0f);
}

TEST_CASE("smoothing moves outliers and leaves the function alone", "[io]") {
  Model model;
  const std::int64_t k = 64;
  const auto q = normal<float>(model.random, 16 * k), v = normal<float>(model.random, 8 * k),
             o = normal<float>(model.random, 16 * k);
  const auto norm = normal<float>(model.random, k), bias = normal<float>(model.random, k);
  const std::string block = "model.layers.3.";
  model.write({Model::named(block + "input_layernorm.weight", norm), Model::named(block + "input_layernorm.bias", bias),
               Model::named(block + "self_attn.q_proj.weight", q, 16), Model::named(block + "self_attn.v_proj.weight", v, 8),
               Model::named(block + "self_attn.o_proj.weight", o, 16)});
  std::vector<float> maxima(static_cast<std::size_t>(k), 1.0f);
  maxima[5] = 400.0f;
  const std::string file = model.directory / "maxima.safetensors";
  write_safetensors(file, {Model::named(block + "self_attn.q_proj", maxima)});
  ConvertOptions options;
  options.activation_maxima = file;
  options.skip = {"*.v_proj"};  // stays in floating point, and is scaled all the same
  const ConvertReport report = model.convert(options);
  CHECK(report.smoothed == 1);

  const W8A8Checkpoint result(model.out);
  const auto& tensors = result.tensors();
  const auto new_norm = tensors.view<float, 1>(block + "input_layernorm.weight"),
             new_bias = tensors.view<float, 1>(block + "input_layernorm.bias");
  const auto new_v = tensors.view<float, 2>(block + "self_attn.v_proj.weight");
  CHECK(std::fabs(new_norm(5)) < 0.2f * std::fabs(norm[5]));
  for (std::int64_t n = 0; n < 8; ++n) {
    for (std::int64_t j = 0; j < k; ++j) {
      const float before = v[static_cast<std::size_t>(n * k + j)];
      CHECK(new_v(n, j) * new_norm(j) == Approx(before * norm[static_cast<std::size_t>(j)]).epsilon(1e-5));
      CHECK(new_v(n, j) * new_bias(j) == Approx(before * bias[static_cast<std::size_t>(j)]).epsilon(1e-5));
    }
  }
  const auto layer = result.load<float, Host>(block + "self_attn.q_proj");
  for (std::int64_t n = 0; n < 16; ++n) {
    for (std::int64_t j = 0; j < k; ++j) {
      const float factor = norm[static_cast<std::size_t>(j)] / new_norm(j);
      CHECK(std::fabs(layer.weight(n, j) * layer.dequant_scale(n) - q[static_cast<std::size_t>(n * k + j)] * factor) <=
            0.501f * layer.dequant_scale(n));
    }
  }
  // What no norm feeds stays as it would have been.
  fs::remove_all(model.out);
  options.activation_maxima.clear();
  const auto plain_error = model.convert(options).layers;
  CHECK(plain_error.size() == report.layers.size());
  CHECK(difference(elements(result.load<float, Host>(block + "self_attn.o_proj").weight),
                   elements(W8A8Checkpoint(model.out).load<float, Host>(block + "self_attn.o_proj").weight)) == "");
}

TEST_CASE("smoothing rules, and maxima that do not fit", "[io]") {
  Model model;
  const auto w = normal<float>(model.random, 4 * 6);
  const std::vector<float> norm(6, 1.0f);
  model.write({Model::named("h.0.ln.weight", norm), Model::named("h.0.fc.weight", w, 4), Model::named("h.1.ln.weight", norm),
               Model::named("h.1.fc.weight", w, 4), Model::named("h.1.e.7.fc.weight", w, 4),
               Model::named("h.1.out.weight", w, 6)});
  const auto groups = [&](const std::vector<SmoothingRule>& rules) {
    std::string out;
    for (const SmoothingGroup& group : find_smoothing_groups(rules, Checkpoint(model.in))) {
      out += group.norm + ":";
      for (const std::string& linear : group.linears) out += " " + linear;
      out += "; ";
    }
    return out;
  };
  CHECK(groups({{"h.{}.ln", {"h.{}.fc", "h.{}.e.*.fc"}}}) == "h.0.ln: h.0.fc; h.1.ln: h.1.fc h.1.e.7.fc; ");
  CHECK(groups({{"h.1.ln", {"h.1.fc"}}}) == "h.1.ln: h.1.fc; ");
  CHECK(contains(error_text([&] {
                   groups({{"h.{}.ln", {"h.{}.e.*.fc"}}});
                 }),
                 "tensor 'h.0.ln.weight': is a norm whose rule finds no"));
  CHECK(contains(error_text([&] { groups({{"h.{}.ln", {"h.1.fc"}}}); }), "would be smoothed by two norms"));
  CHECK(contains(error_text([&] { groups(smoothing_rules_of("llama")); }), "has no norm that a smoothing rule names"));

  CHECK(smoothing_rules_of("gemma")[0].offset == 1.0f);
  CHECK(smoothing_rules_of("gemma2").empty());

  const auto rules = [](const std::string& json) {
    return error_text([&] { parse_smoothing_rules(parse_json(json, "m"), "m"); });
  };
  CHECK(rules(R"([{"norm": "a.{}.b", "linears": ["c"], "offset": 1}])") == "no exception");
  CHECK(contains(rules("{}"), "is no list of rules"));
  CHECK(contains(rules("[1]"), "its rule 1 is no object"));
  CHECK(contains(rules(R"([{"norm": "a"}])"), "its rule 1 has no norm or no linears"));
  CHECK(contains(rules(R"([{"norm": "a", "linears": [1]}])"), "linears that are no texts"));
  CHECK(contains(rules(R"([{"norm": "a", "linears": ["b"], "ofset": 1}])"), "has an entry 'ofset'"));
  CHECK(contains(rules(R"([{"norm": "{}{}", "linears": ["b"]}])"), "more than one {}"));

  ConvertOptions options;
  options.activation_maxima = model.directory / "maxima.safetensors";
  write_file(model.in + "/config.json", "{\"model_type\": \"gemma2\"}");
  CHECK(contains(model.error(options), "config.json': its model_type, 'gemma2', is none whose smoothing rules are known"));
  options.smoothing_rules = {{"h.0.ln", {"h.0.fc"}}};
  const auto error = [&](const NamedTensor& maxima) {
    write_safetensors(options.activation_maxima, {maxima});
    return model.error(options);
  };
  CHECK(contains(model.error(options), "maxima.safetensors': cannot be opened"));
  CHECK(contains(error(Model::named("h.1.ln", norm)),
                 "tensor 'h.0.ln': has no maxima, nor has a linear module behind it, such as 'h.0.fc'"));
  CHECK(contains(error(Model::named("h.0.ln", std::vector<float>(5, 1.0f))), "tensor 'h.0.ln': its length is 5, expected 6"));
  CHECK(contains(error(Model::named("h.0.ln", std::vector<float>(6, -1.0f))), "holds -1 for channel 0"));
  CHECK(contains(error(Model::named("h.0.ln", std::vector<float>(6, NAN))), "holds nan for channel 0"));
  options.alpha = 2.0f;
  CHECK(contains(error(Model::named("h.0.ln", norm)), "argument 'alpha'"));
  options.alpha = 0.5f;
  options.smoothing_rules = {{"h.0.ln", {"h.1.out"}}};
  CHECK(error(Model::named("h.0.ln", norm)).find("tensor 'h.1.out.weight': is F32 of shape 6x4, and its norm has 6 channels") !=
        std::string::npos);
  options.smoothing_rules = {{"h.0.fc", {"h.1.fc"}}};
  CHECK(contains(error(Model::named("h.0.fc", norm)), "is no norm's weight"));
  CHECK(!fs::exists(model.out));
}

}  // namespace
