// What a conversion to W8A8 is going to do with each tensor of a checkpoint, decided before anything is written.
#pragma once

#include <fnmatch.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "w8a8/gemm/problem.hpp"
#include "w8a8/io/checkpoint.hpp"
#include "w8a8/io/file_error.hpp"
#include "w8a8/io/sharded_writer.hpp"
#include "w8a8/io/smoothing.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/tensor/tensor_ref.hpp"

namespace w8a8 {

/// Modules that stay as they are unless told otherwise, as glob patterns of their names: output heads, which decide on tokens;
/// tables that are looked up, not multiplied; routers of experts, small and sensitive.
inline std::vector<std::string> default_skip_patterns() {
  return {"lm_head", "*.lm_head", "*embed*", "wte", "*.wte", "wpe", "*.wpe", "shared", "*relative_attention_bias",
          "*.gate",  "*.router"};
}

struct ConvertOptions {
  std::vector<std::string> skip = default_skip_patterns();  ///< glob patterns of modules that stay as they are
  std::vector<std::string> only;                            ///< where not empty: patterns of those that are converted
  std::string scale_dtype;                                  ///< "F32", "F16" or "BF16"; empty: the weight's, as other writers do
  std::uint64_t maximum_shard_bytes = 5'000'000'000;        ///< of the tensors of a file
  int threads = 0;                                          ///< 0: one a core

  std::string
      activation_maxima;  ///< where not empty: SmoothQuant with this safetensors file, a vector [K] a norm or linear module
  float alpha = 0.5f;     ///< SmoothQuant's migration strength, 0 to 1
  std::vector<SmoothingRule> smoothing_rules;  ///< empty: those of config.json's model_type
};

/// A tensor of the input and what becomes of it.
struct PlannedTensor {
  const SafetensorsFile* file = nullptr;
  const SafetensorsEntry* entry = nullptr;
  bool quantize = false;
  std::string module;       ///< the name without ".weight", where it has that ending
  std::string reason;       ///< why it stays as it is
  std::string scale_dtype;  ///< of weight_scale
  std::size_t shard = 0;    ///< of the output
};

struct ConvertPlan {
  std::vector<PlannedTensor> tensors;  ///< in the order of the input's bytes, which is that of the output
  std::vector<Shard> shards;
  std::vector<std::string> ignore;                  ///< for quantization_config: the matrices that stay
  std::uint64_t bytes_before = 0, bytes_after = 0;  ///< of all tensors
  std::size_t quantized = 0;                        ///< layers
};

namespace detail {

inline bool matches_glob(const std::string& pattern, const std::string& name) {
  return ::fnmatch(pattern.c_str(), name.c_str(), FNM_NOESCAPE) == 0;
}

/// The first pattern that the name matches, or null.
inline const std::string* find_glob(const std::vector<std::string>& patterns, const std::string& name) {
  for (const std::string& pattern : patterns) {
    if (matches_glob(pattern, name)) return &pattern;
  }
  return nullptr;
}

/// Decides on one tensor.
inline PlannedTensor plan_tensor(const Checkpoint& checkpoint, const SafetensorsFile& file, const SafetensorsEntry& entry,
                                 const ConvertOptions& options) {
  PlannedTensor out{&file, &entry, false, "", "", "", 0};
  const std::string ending = ".weight";
  const std::string& name = entry.name;
  const bool weight = name.size() > ending.size() && name.compare(name.size() - ending.size(), ending.size(), ending) == 0;
  if (!weight) return out.reason = "no weight", out;
  out.module = name.substr(0, name.size() - ending.size());
  if (entry.shape.size() != 2) return out.reason = "no matrix", out;
  if (!is_floating_dtype(entry.dtype)) return out.reason = "of dtype " + entry.dtype, out;
  if (!options.only.empty() && find_glob(options.only, out.module) == nullptr) return out.reason = "not among --only", out;
  if (const std::string* pattern = find_glob(options.skip, out.module)) return out.reason = "skipped by " + quote(*pattern), out;
  const std::int64_t rows = entry.shape[0], columns = entry.shape[1];
  if (rows == 0 || columns == 0) return out.reason = "empty", out;
  if (columns > maximum_k) return out.reason = text("more than ", maximum_k, " input features"), out;

  const std::string bias = out.module + ".bias";
  if (checkpoint.contains(bias) && checkpoint.find(bias).shape != std::vector<std::int64_t>{rows}) {
    throw FileError(checkpoint.shard(bias).path(), bias,
                    text("its shape is ", shape_text(checkpoint.find(bias).shape), ", the weight's ", shape_text(entry.shape),
                         ": no weight of a linear layer, or one stored as [in, out]; skip ", quote(out.module)));
  }
  if (checkpoint.contains(name + "_scale")) {
    throw FileError(checkpoint.shard(name + "_scale").path(), name + "_scale", "is there: the checkpoint is quantized already");
  }
  out.quantize = true;
  out.scale_dtype = options.scale_dtype.empty() ? entry.dtype : options.scale_dtype;
  return out;
}

}  // namespace detail

/// Plans the conversion of `checkpoint`, which must outlive the plan: every floating-point matrix "<module>.weight" that no
/// pattern skips becomes int8, all else stays. Throws Error for options that make no sense, FileError where the checkpoint is
/// quantized already, a weight's bias does not fit it, or nothing is left to convert.
inline ConvertPlan make_convert_plan(const Checkpoint& checkpoint, const ConvertOptions& options) {
  if (!options.scale_dtype.empty() && !detail::is_floating_dtype(options.scale_dtype)) {
    throw Error("make_convert_plan", "options.scale_dtype", "F32, F16, BF16 or empty", options.scale_dtype);
  }
  ConvertPlan plan;
  std::vector<std::vector<TensorSpec>> units;
  for (const SafetensorsFile& file : checkpoint.shards()) {
    for (const SafetensorsEntry& entry : file.tensors()) {
      PlannedTensor tensor = detail::plan_tensor(checkpoint, file, entry, options);
      plan.bytes_before += entry.end - entry.begin;
      if (tensor.quantize) {
        units.push_back({{entry.name, "I8", entry.shape}, {entry.name + "_scale", tensor.scale_dtype, {entry.shape[0], 1}}});
        ++plan.quantized;
      } else {
        units.push_back({{entry.name, entry.dtype, entry.shape}});
        if (entry.shape.size() == 2 && !tensor.module.empty()) plan.ignore.push_back(tensor.module);
      }
      plan.tensors.push_back(std::move(tensor));
    }
  }
  if (plan.quantized == 0)
    throw FileError(checkpoint.path(), "holds no weight to convert: no floating-point matrix that is not skipped");
  // A head whose weight is tied to the embedding has no tensor of its own, but readers look for it all the same.
  if (!checkpoint.contains("lm_head.weight") && detail::find_glob(options.skip, "lm_head") != nullptr)
    plan.ignore.push_back("lm_head");
  plan.shards = plan_shards(units, options.maximum_shard_bytes);
  std::size_t shard = 0, filled = 0;
  for (std::size_t i = 0; i < units.size(); ++i) {
    if (filled == plan.shards[shard].tensors.size()) ++shard, filled = 0;
    plan.tensors[i].shard = shard;
    filled += units[i].size();
  }
  for (const Shard& each : plan.shards) plan.bytes_after += each.bytes;
  return plan;
}

}  // namespace w8a8
