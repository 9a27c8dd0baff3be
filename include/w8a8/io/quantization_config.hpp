// quantization_config of a config.json: what says that a checkpoint is W8A8, in the compressed-tensors format.
//
// The format (https://github.com/vllm-project/compressed-tensors, "int-quantized"): each quantized Linear module stores `weight`
// as int8 [N, K] and `weight_scale` [N, 1], so that the weight is about code * scale of its row; `bias` as ever. config.json says
// so under "quantization_config": groups of modules ("targets") with the way that their weights and inputs are quantized, and the
// modules left as they are ("ignore").
#pragma once

#include <string>
#include <vector>

#include "w8a8/io/file_error.hpp"
#include "w8a8/io/json.hpp"

namespace w8a8 {

/// A W8A8 scheme with one scale an output channel and, found while it runs, one a token.
struct QuantizationConfig {
  std::vector<std::string> targets = {"Linear"};  ///< module names, classes, or "re:" and a regular expression
  std::vector<std::string> ignore;                ///< modules that are not quantized, likewise
};

namespace detail {

/// The value of `key` in an object, or null where it has none.
inline const Json& member(const Json& object, const char* key) {
  static const Json none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

/// Throws FileError unless the value is the one that is read here.
inline void expect(const Json& value, const Json& expected, const std::string& path, const std::string& file) {
  if (value == expected && value.type() == expected.type()) return;
  const std::string got = value.is_structured() ? (value.is_array() ? "an array" : "an object")
                                                : quote(value.dump(-1, ' ', true, Json::error_handler_t::replace));
  throw FileError(file, "its " + path + " is " + got + ", expected " + expected.dump());
}

/// One of the two halves of a group: how weights or inputs are quantized.
inline void check_quantization(const Json& args, const char* strategy, bool dynamic, const std::string& path,
                               const std::string& file) {
  if (!args.is_object()) throw FileError(file, "its " + path + " is missing or no object");
  const Json &bits = member(args, "num_bits"), &type = member(args, "type"), &symmetric = member(args, "symmetric");
  if (bits != 8) expect(bits, 8, path + ".num_bits", file);
  // The format's defaults stand for what is left out.
  if (!type.is_null()) expect(type, "int", path + ".type", file);
  if (!symmetric.is_null()) expect(symmetric, true, path + ".symmetric", file);
  expect(member(args, "strategy"), strategy, path + ".strategy", file);
  const Json& is_dynamic = member(args, "dynamic");
  if (dynamic || !is_dynamic.is_null()) expect(is_dynamic, dynamic, path + ".dynamic", file);
}

inline std::vector<std::string> text_list(const Json& list, const std::string& path, const std::string& file) {
  std::vector<std::string> texts;
  if (list.is_null()) return texts;
  if (!list.is_array()) throw FileError(file, "its " + path + " is no list");
  for (const Json& each : list) {
    if (!each.is_string()) throw FileError(file, "its " + path + " holds something else than texts");
    texts.push_back(each.get<std::string>());
  }
  return texts;
}

}  // namespace detail

/// Reads the entry "quantization_config" of a config.json; `file` is its name, for errors. Throws FileError that names the entry
/// where there is none or it says anything but W8A8 with symmetric per-channel weights and dynamic per-token inputs.
inline QuantizationConfig parse_quantization_config(const Json& config, const std::string& file) {
  using detail::member;
  const std::string root = "quantization_config";
  if (!config.is_object()) throw FileError(file, "is no object");
  const Json& own = member(config, root.c_str());
  // What writers before 2025 called it.
  const Json& entry = own.is_null() ? member(config, "compression_config") : own;
  if (!entry.is_object()) throw FileError(file, "has no " + root);
  detail::expect(member(entry, "quant_method"), "compressed-tensors", root + ".quant_method", file);
  const Json &format = member(entry, "format"), &status = member(entry, "quantization_status");
  if (format != "naive-quantized") detail::expect(format, "int-quantized", root + ".format", file);  // two names of one thing
  if (!status.is_null()) detail::expect(status, "compressed", root + ".quantization_status", file);
  for (const char* other : {"sparsity_config", "transform_config"}) {
    const Json& value = member(entry, other);
    if (!value.is_null() && value != Json::object() && (!value.is_object() || member(value, "format") != "dense")) {
      throw FileError(file, "its " + root + "." + other + " is not empty: sparse and rotated weights are not read");
    }
  }

  const Json& groups = member(entry, "config_groups");
  if (!groups.is_object() || groups.empty())
    throw FileError(file, "its " + root + ".config_groups is missing, empty or no object");
  QuantizationConfig result;
  result.targets.clear();
  for (const auto& [name, group] : groups.items()) {
    const std::string path = root + ".config_groups." + detail::quote(name);
    if (!group.is_object()) throw FileError(file, "its " + path + " is no object");
    detail::check_quantization(member(group, "weights"), "channel", false, path + ".weights", file);
    detail::check_quantization(member(group, "input_activations"), "token", true, path + ".input_activations", file);
    if (!member(group, "output_activations").is_null()) {
      throw FileError(file, "its " + path + ".output_activations is not null: quantized outputs are not read");
    }
    const Json& own_format = member(group, "format");
    if (!own_format.is_null() && own_format != "naive-quantized") {
      detail::expect(own_format, "int-quantized", path + ".format", file);
    }
    for (std::string& target : detail::text_list(member(group, "targets"), path + ".targets", file))
      result.targets.push_back(std::move(target));
  }
  result.ignore = detail::text_list(member(entry, "ignore"), root + ".ignore", file);
  return result;
}

/// The entry "quantization_config" for a config.json.
inline Json quantization_config_json(const QuantizationConfig& config) {
  const auto args = [](const char* strategy, bool dynamic) {
    return Json{{"num_bits", 8}, {"type", "int"}, {"symmetric", true}, {"strategy", strategy}, {"dynamic", dynamic}};
  };
  return {{"quant_method", "compressed-tensors"},
          {"format", "int-quantized"},
          {"quantization_status", "compressed"},
          {"config_groups",
           {{"group_0",
             {{"targets", config.targets},
              {"weights", args("channel", false)},
              {"input_activations", args("token", true)},
              {"output_activations", nullptr}}}}},
          {"ignore", config.ignore},
          {"kv_cache_scheme", nullptr}};
}

}  // namespace w8a8
