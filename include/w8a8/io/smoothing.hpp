// SmoothQuant: outliers of a linear layer's input move into its weight, whose quantization bears them better.
//
// Source: G. Xiao, J. Lin, M. Seznec, H. Wu, J. Demouth, S. Han, "SmoothQuant: Accurate and Efficient Post-Training Quantization
// for Large Language Models", ICML 2023, equations 3 and 4: Y = (X diag(s)^-1) (diag(s) W^T), s_j = max|X_j|^alpha /
// max|W_j|^(1-alpha) for each input channel j. X diag(s)^-1 costs nothing where a norm's weight can take it.
#pragma once

#include <fnmatch.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "w8a8/io/checkpoint.hpp"
#include "w8a8/io/file_error.hpp"
#include "w8a8/io/json.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/tensor/tensor.hpp"

namespace w8a8 {

/// Which layers read a norm's output, and nothing else does: only then may the norm be divided. "{}" in the norm's name stands
/// for a text without dots (the number of a block), and for the same text in the layers' names; "*" in a layer's name for any
/// text.
struct SmoothingRule {
  std::string norm;                  ///< "model.layers.{}.input_layernorm"
  std::vector<std::string> linears;  ///< "model.layers.{}.self_attn.q_proj", ...
  float offset = 0.0f;               ///< the norm multiplies with offset + weight: 0 in most models, 1 in Gemma's
};

/// One norm of a checkpoint and the layers behind it.
struct SmoothingGroup {
  std::string norm;
  std::vector<std::string> linears;
  float offset = 0.0f;
};

/// The rules of a model whose config.json has this model_type; none for one that is not known here. Names alone do not tell:
/// where Llama's post_attention_layernorm feeds the MLP, Gemma 2's of the same name follows the attention.
inline std::vector<SmoothingRule> smoothing_rules_of(const std::string& model_type) {
  const std::string block = "model.layers.{}.";
  const auto pre_norm = [&](float offset, std::vector<std::string> mlp) {
    for (std::string& name : mlp) name = block + name;
    return std::vector<SmoothingRule>{
        {block + "input_layernorm",
         {block + "self_attn.q_proj", block + "self_attn.k_proj", block + "self_attn.v_proj", block + "self_attn.qkv_proj"},
         offset},
        {block + "post_attention_layernorm", std::move(mlp), offset}};
  };
  const std::vector<std::string> dense = {"mlp.gate_proj", "mlp.up_proj", "mlp.gate_up_proj"};
  if (model_type == "gemma") return pre_norm(1.0f, dense);
  for (const char* known : {"llama", "mistral", "qwen2", "qwen3", "phi3"}) {
    if (model_type == known) return pre_norm(0.0f, dense);
  }
  if (model_type == "mixtral") {
    return pre_norm(0.0f, {"block_sparse_moe.gate", "block_sparse_moe.experts.*.w1", "block_sparse_moe.experts.*.w3"});
  }
  if (model_type == "qwen2_moe" || model_type == "qwen3_moe") {
    return pre_norm(0.0f, {"mlp.gate_proj", "mlp.up_proj", "mlp.gate", "mlp.experts.*.gate_proj", "mlp.experts.*.up_proj",
                           "mlp.shared_expert.gate_proj", "mlp.shared_expert.up_proj", "mlp.shared_expert_gate"});
  }
  return {};
}

/// Reads rules: [{"norm": "...", "linears": ["...", ...], "offset": 0}, ...]. Throws FileError.
inline std::vector<SmoothingRule> parse_smoothing_rules(const Json& document, const std::string& file) {
  if (!document.is_array() || document.empty()) throw FileError(file, "is no list of rules");
  std::vector<SmoothingRule> rules;
  for (const Json& each : document) {
    const std::string which = text("its rule ", rules.size() + 1);
    SmoothingRule rule;
    if (!each.is_object()) throw FileError(file, which + " is no object");
    for (const auto& [key, value] : each.items()) {
      if (key == "norm" && value.is_string()) {
        rule.norm = value.get<std::string>();
      } else if (key == "offset" && value.is_number() && std::isfinite(value.get<float>())) {
        rule.offset = value.get<float>();
      } else if (key == "linears" && value.is_array()) {
        for (const Json& linear : value) {
          if (!linear.is_string()) throw FileError(file, which + " has linears that are no texts");
          rule.linears.push_back(linear.get<std::string>());
        }
      } else {
        throw FileError(file, which + " has an entry " + detail::quote(key) +
                                  " that is not norm (a text), linears (a list of texts) or offset (a number)");
      }
    }
    if (rule.norm.empty() || rule.linears.empty()) throw FileError(file, which + " has no norm or no linears");
    if (rule.norm.find("{}") != rule.norm.rfind("{}")) throw FileError(file, which + " has more than one {} in its norm");
    rules.push_back(std::move(rule));
  }
  return rules;
}

namespace detail {

/// True where `name` is `pattern` with some text without dots for "{}": `captured`.
inline bool match_block(const std::string& pattern, const std::string& name, std::string& captured) {
  const std::size_t hole = pattern.find("{}");
  if (hole == std::string::npos) return captured.clear(), name == pattern;
  const std::string before = pattern.substr(0, hole), after = pattern.substr(hole + 2);
  if (name.size() <= before.size() + after.size() || name.compare(0, before.size(), before) != 0 ||
      name.compare(name.size() - after.size(), after.size(), after) != 0) {
    return false;
  }
  captured = name.substr(before.size(), name.size() - before.size() - after.size());
  return captured.find('.') == std::string::npos;
}

inline std::string fill_block(std::string pattern, const std::string& captured) {
  for (std::size_t at = 0; (at = pattern.find("{}", at)) != std::string::npos; at += captured.size())
    pattern.replace(at, 2, captured);
  return pattern;
}

}  // namespace detail

/// The groups that the rules name in a checkpoint, of tensors "<module>.weight". Throws FileError where a norm has no layer, a
/// layer has two norms, or no rule finds a norm.
inline std::vector<SmoothingGroup> find_smoothing_groups(const std::vector<SmoothingRule>& rules, const Checkpoint& checkpoint) {
  const std::string ending = ".weight";
  std::vector<std::string> modules;
  for (const SafetensorsFile& shard : checkpoint.shards()) {
    for (const SafetensorsEntry& entry : shard.tensors()) {
      const std::string& name = entry.name;
      if (name.size() > ending.size() && name.compare(name.size() - ending.size(), ending.size(), ending) == 0)
        modules.push_back(name.substr(0, name.size() - ending.size()));
    }
  }
  std::vector<SmoothingGroup> groups;
  std::map<std::string, std::string> norm_of;
  for (const SmoothingRule& rule : rules) {
    for (const std::string& norm : modules) {
      std::string captured;
      if (!detail::match_block(rule.norm, norm, captured)) continue;
      SmoothingGroup group{norm, {}, rule.offset};
      std::vector<std::string> patterns;
      for (const std::string& linear : rule.linears) patterns.push_back(detail::fill_block(linear, captured));
      for (const std::string& linear : modules) {
        const bool found = std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
          return ::fnmatch(pattern.c_str(), linear.c_str(), FNM_NOESCAPE) == 0;
        });
        if (!found) continue;
        if (!norm_of.emplace(linear, norm).second) {
          throw FileError(checkpoint.path(), linear + ending,
                          "would be smoothed by two norms, " + detail::quote(norm_of[linear]) + " and " + detail::quote(norm));
        }
        group.linears.push_back(linear);
      }
      if (group.linears.empty()) throw FileError(checkpoint.path(), norm + ending, "is a norm whose rule finds no linear layer");
      groups.push_back(std::move(group));
    }
  }
  if (groups.empty()) throw FileError(checkpoint.path(), "has no norm that a smoothing rule names");
  return groups;
}

/// s_j of equation 4 for K channels, from the largest magnitudes of the channel in the activations and in the weights that read
/// it; 1 where either is 0: a channel that is never used needs no help. 0 <= alpha <= 1.
inline std::vector<float> smoothing_factors(const std::vector<float>& activation_maxima, const std::vector<float>& weight_maxima,
                                            float alpha) {
  if (!(alpha >= 0.0f && alpha <= 1.0f)) throw Error("smoothing_factors", "alpha", "0 to 1", text(alpha));
  if (activation_maxima.size() != weight_maxima.size()) {
    throw Error("smoothing_factors", "weight_maxima", text("length ", activation_maxima.size()), text(weight_maxima.size()));
  }
  std::vector<float> factors(activation_maxima.size(), 1.0f);
  for (std::size_t j = 0; j < factors.size(); ++j) {
    const double x = activation_maxima[j], w = weight_maxima[j];
    if (x <= 0.0 || w <= 0.0) continue;
    const double factor = std::pow(x, static_cast<double>(alpha)) / std::pow(w, 1.0 - static_cast<double>(alpha));
    // Beyond this the division would push a norm's 16-bit weight out of its range.
    factors[j] = static_cast<float>(std::clamp(factor, 1e-4, 1e4));
  }
  return factors;
}

/// Divides a norm's weight (`offset` + weight, to be exact) by the factors, rounded to its type, and makes the factors those that
/// the rounded norm was really divided by: what the weights are multiplied with then cancels it, as far as FP32 can tell.
template <class T>
void divide_norm(T* weight, float offset, std::vector<float>& factors) {
  for (std::size_t j = 0; j < factors.size(); ++j) {
    const float before = add(to_float(weight[j]), offset);
    const T divided = from_float<T>(add(divide(before, factors[j]), -offset));
    const float after = add(to_float(divided), offset), factor = divide(before, after);
    if (before != 0.0f && (after == 0.0f || !std::isfinite(factor))) {
      factors[j] = 1.0f;  // it would vanish
      continue;
    }
    weight[j] = divided;
    if (before != 0.0f) factors[j] = factor;
  }
}

}  // namespace w8a8
