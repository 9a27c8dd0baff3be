// Whole models and W8A8 checkpoints: a module tree saved as one, and filled from one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "w8a8/io/checkpoint.hpp"
#include "w8a8/io/file_error.hpp"
#include "w8a8/io/json.hpp"
#include "w8a8/io/quantization_config.hpp"
#include "w8a8/io/sharded_writer.hpp"
#include "w8a8/io/w8a8_checkpoint.hpp"
#include "w8a8/nn/convert.hpp"
#include "w8a8/nn/module.hpp"
#include "w8a8/nn/quantized_linear.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/tensor/tensor_ref.hpp"

namespace w8a8 {

namespace detail {

/// "fc" of "fc.dequant_scale" for the ending ".dequant_scale"; false where the name has another ending.
inline bool cut_ending(const std::string& name, const std::string& ending, std::string& stem) {
  if (name.size() < ending.size() || name.compare(name.size() - ending.size(), ending.size(), ending) != 0) return false;
  stem = name.substr(0, name.size() - ending.size());
  return true;
}

/// A parameter under the name and shape that a W8A8 checkpoint has for it.
inline TensorSpec checkpoint_spec(const nn::Parameter& parameter) {
  TensorSpec spec{parameter.name, parameter.dtype, parameter.shape};
  std::string module;
  if (cut_ending(parameter.name, "dequant_scale", module)) {
    spec.name = module + "weight_scale";
    spec.shape.push_back(1);
  }
  return spec;
}

/// The elements of a floating-point tensor of a file, rounded once each to `dtype` (F32, F16 or BF16).
inline std::vector<std::byte> rounded_elements(const TensorRef& ref, const std::string& dtype) {
  std::vector<std::byte> out;
  const auto convert = [&](auto from_zero, auto to_zero) {
    using From = decltype(from_zero);
    using To = decltype(to_zero);
    const std::size_t count = static_cast<std::size_t>(ref.bytes) / sizeof(From);
    out.resize(count * sizeof(To));
    for (std::size_t i = 0; i < count; ++i) {
      From element;
      std::memcpy(static_cast<void*>(&element), static_cast<const std::byte*>(ref.data) + i * sizeof(From), sizeof element);
      const To rounded = from_float<To>(to_float(element));
      std::memcpy(out.data() + i * sizeof(To), &rounded, sizeof rounded);
    }
  };
  with_dtype(ref.dtype, [&](auto from) { with_dtype(dtype, [&](auto to) { convert(from, to); }); });
  return out;
}

/// Checks a tensor of a checkpoint against the parameter that it is to fill. Throws FileError.
inline void check_fits(const Checkpoint& checkpoint, const nn::Parameter& parameter) {
  const TensorSpec spec = checkpoint_spec(parameter);
  const SafetensorsEntry& entry = checkpoint.find(spec.name);
  const std::string& file = checkpoint.shard(spec.name).path();
  const bool scale = spec.name != parameter.name;
  if (entry.shape != spec.shape && !(scale && entry.shape == parameter.shape)) {
    throw FileError(file, spec.name, "its shape is " + shape_text(entry.shape) + ", the model's " + shape_text(spec.shape));
  }
  const bool fits = parameter.dtype == entry.dtype || (is_floating_dtype(parameter.dtype) && is_floating_dtype(entry.dtype));
  if (!fits) throw FileError(file, spec.name, "its dtype is " + quote(entry.dtype) + ", the model's " + parameter.dtype);
  if (!scale) return;
  const auto scales = rounded_elements(checkpoint.ref(spec.name), "F32"),
             stored = rounded_elements(checkpoint.ref(spec.name), parameter.dtype);
  const auto back = rounded_elements({parameter.dtype, {}, stored.data(), stored.size()}, "F32");
  load_weight_scale(checkpoint, spec.name, parameter.shape[0]);
  if (scales != back)
    throw FileError(file, spec.name, "does not fit the model's scales, which are " + parameter.dtype + ": keep them as float");
}

}  // namespace detail

/// Writes a model whose linear layers are quantized into `directory`, which is made where it is not there, as a W8A8 checkpoint:
/// the parameters under their names, `dequant_scale` as `weight_scale` [N, 1], in shards of at most `maximum_shard_bytes`, and
/// config.json: `config` with a quantization_config whose `ignore` names the model's other matrices. One parameter at a time is
/// held in host memory. Throws FileError as ShardedWriter does, and for a layer that the format has no word for (an input scale
/// or factors known beforehand) or a model without quantized layers.
template <class T, class Space>
void save_w8a8_model(nn::ModulePtr<T, Space>& model, const std::string& directory, Json config = Json::object(),
                     std::uint64_t maximum_shard_bytes = 5'000'000'000) {
  const std::vector<nn::Parameter> parameters = nn::named_parameters(model);
  QuantizationConfig quantization;
  std::vector<std::vector<TensorSpec>> units;
  bool any = false;
  for (const nn::Parameter& each : parameters) {
    std::string module;
    for (const char* known : {"input_scale", "input_factor"}) {
      if (detail::cut_ending(each.name, known, module)) {
        throw FileError(directory, each.name,
                        "the input's scale is dynamic and a token's in this format: the layer cannot be stored");
      }
    }
    any = any || each.dtype == "I8";
    if (each.dtype != "I8" && each.shape.size() == 2 && detail::cut_ending(each.name, ".weight", module)) {
      quantization.ignore.push_back(module);
    }
    units.push_back({detail::checkpoint_spec(each)});
  }
  if (!any) throw FileError(directory, "the model has no quantized layer");
  std::error_code code;
  std::filesystem::create_directories(directory, code);
  ShardedWriter writer(directory, plan_shards(units, maximum_shard_bytes), {{"format", "pt"}});
  std::vector<std::byte> staging;
  for (const nn::Parameter& each : parameters) {
    staging.resize(static_cast<std::size_t>(each.bytes));
    nn::read_parameter(each, staging.data());
    const TensorSpec spec = detail::checkpoint_spec(each);
    writer.write(spec.name, {spec.dtype, spec.shape, staging.data(), each.bytes});
  }
  config["quantization_config"] = quantization_config_json(quantization);
  write_json((std::filesystem::path(directory) / "config.json").string(), config);
  writer.commit();
}

/// Fills a model from a W8A8 checkpoint, complete on return. Each nn::Linear that is quantized there first becomes an INT8 layer;
/// layers that are INT8 already, fused ones among them, take the rows that belong to them. All parameters of the model are then
/// read: int8 weights as they are, scales exactly, all else rounded once to the model's type. The checkpoint may hold tensors
/// that the model has no use for, but no quantized layers. Throws FileError that names the tensor before any parameter is
/// changed; the tree may have INT8 layers in it by then. Returns how many layers of the checkpoint are quantized.
template <class T, class Space>
std::size_t load_w8a8_model(nn::ModulePtr<T, Space>& model, const W8A8Checkpoint& checkpoint, const nn::Progress& progress = {}) {
  using Quantized = nn::QuantizedLinear<T, Space>;
  std::set<std::string> quantized(checkpoint.layers().begin(), checkpoint.layers().end());
  nn::replace_linears<T, Space>(model, {},
                                [&](const std::string& name, const nn::Linear<T, Space>& linear) -> nn::ModulePtr<T, Space> {
                                  if (quantized.count(name) == 0) return nullptr;
                                  return std::make_unique<Quantized>(Quantized::Layer::from_linear(linear, /*init_only=*/true));
                                });

  const Checkpoint& tensors = checkpoint.tensors();
  const std::vector<nn::Parameter> parameters = nn::named_parameters(model);
  for (const nn::Parameter& each : parameters) {
    detail::check_fits(tensors, each);
    std::string layer;
    if (detail::cut_ending(each.name, ".weight", layer)) quantized.erase(layer);
  }
  for (const std::string& left : quantized) {
    throw FileError(tensors.shard(left + ".weight").path(), left + ".weight", "the model has no such layer");
  }
  std::size_t done = 0;
  for (const nn::Parameter& each : parameters) {
    const std::string name = detail::checkpoint_spec(each).name;
    const TensorRef ref = tensors.ref(name);
    if (ref.dtype == each.dtype) {
      nn::write_parameter(each, ref.data);
    } else {
      nn::write_parameter(each, detail::rounded_elements(ref, each.dtype).data());
    }
    tensors.shard(name).release(name);
    if (progress) progress(++done, parameters.size(), name);
  }
  nn::visit_modules(model, [](const std::string&, nn::ModulePtr<T, Space>& module) { module->parameters_written(); });
  return checkpoint.layers().size();
}

}  // namespace w8a8
