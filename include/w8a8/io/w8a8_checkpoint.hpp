// W8A8 checkpoints in the compressed-tensors format: layers out of one, and into one. The format: quantization_config.hpp.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "w8a8/gemm/problem.hpp"
#include "w8a8/io/checkpoint.hpp"
#include "w8a8/io/file_error.hpp"
#include "w8a8/io/json.hpp"
#include "w8a8/io/quantization_config.hpp"
#include "w8a8/io/safetensors_writer.hpp"
#include "w8a8/nn/quantize_linear.hpp"
#include "w8a8/nn/w8a8_linear.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/tensor/space.hpp"
#include "w8a8/tensor/tensor.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

namespace detail {

/// The layer's scales as floats, [N] or [N, 1] in the file, each positive and finite. Throws FileError where they are not.
inline Tensor<float, 1, Host> load_weight_scale(const Checkpoint& checkpoint, const std::string& name, std::int64_t channels) {
  const SafetensorsEntry& entry = checkpoint.find(name);
  const std::string& file = checkpoint.shard(name).path();
  const bool column = entry.shape == std::vector<std::int64_t>{channels, 1};
  if (!column && entry.shape != std::vector<std::int64_t>{channels}) {
    throw FileError(
        file, name,
        text("its shape is ", shape_text(entry.shape), ", expected ", channels, "x1: a scale for each row of the weight"));
  }
  Tensor<float, 1, Host> scales({channels});
  if (column) {
    const Tensor<float, 2, Host> loaded = checkpoint.load_as<float, 2>(name);
    if (channels > 0) std::memcpy(scales.data(), loaded.data(), static_cast<std::size_t>(scales.bytes()));
  } else {
    scales = checkpoint.load_as<float, 1>(name);
  }
  for (std::int64_t n = 0; n < channels; ++n) {
    if (!(scales(n) > 0.0f) || std::isinf(scales(n))) {
      throw FileError(file, name, text("the scale of channel ", n, " is ", scales(n), ", expected a positive, finite number"));
    }
  }
  return scales;
}

/// Symmetric quantization has no zero points; a file may store them all the same, all 0.
inline void check_no_zero_point(const Checkpoint& checkpoint, const std::string& name) {
  if (!checkpoint.contains(name)) return;
  const TensorRef zero_point = checkpoint.ref(name);
  for (std::uint64_t i = 0; i < zero_point.bytes; ++i) {
    if (static_cast<const unsigned char*>(zero_point.data)[i] != 0) {
      throw FileError(checkpoint.shard(name).path(), name, "is not all 0: asymmetric weights are not read");
    }
  }
}

}  // namespace detail

/// The quantized layer `name` ("model.layers.0.mlp.down_proj") of a checkpoint, complete on return: `weight` int8 [N, K],
/// `weight_scale` [N, 1] or [N] and, where there is one, `bias` [N], the latter two F32, F16 or BF16. The bias is rounded once to
/// Params; the scales are kept exactly. fc1: tanh-GELU follows, which a checkpoint does not say.
/// Throws FileError that names the file, the tensor and the reason where a tensor is missing, of another dtype or shape, a scale
/// is not positive and finite or no Scale (float holds them all), or K > maximum_k; for Device also CudaError.
template <class Params = half, class Space = Device, class Scale = float>
W8A8OF16LinearDynamicInputScale<Params, Space, Scale> load_w8a8_linear(const Checkpoint& checkpoint, const std::string& name,
                                                                       bool fc1 = false) {
  const std::string weight_name = name + ".weight", scale_name = name + ".weight_scale", bias_name = name + ".bias";
  const SafetensorsEntry& weight = checkpoint.find(weight_name);
  const std::string& file = checkpoint.shard(weight_name).path();
  if (weight.dtype != "I8") {
    throw FileError(file, weight_name,
                    "its dtype is " + detail::quote(weight.dtype) + ", expected I8: the layer is not quantized");
  }
  const auto codes = checkpoint.view<std::int8_t, 2>(weight_name);
  const std::int64_t out = codes.extent(0), in = codes.extent(1);
  if (in > maximum_k) throw FileError(file, weight_name, text("has ", in, " input features, more than ", maximum_k));
  const Tensor<float, 1, Host> scales = detail::load_weight_scale(checkpoint, scale_name, out);
  detail::check_no_zero_point(checkpoint, name + ".weight_zero_point");
  if (checkpoint.contains(name + ".input_scale")) {
    throw FileError(checkpoint.shard(name + ".input_scale").path(), name + ".input_scale",
                    "is there: the layer's input has a scale known beforehand, not one a token");
  }

  Tensor<Scale, 1, Host> stored({out});
  for (std::int64_t n = 0; n < out; ++n) {
    stored(n) = from_float<Scale>(scales(n));
    if (to_float(stored(n)) != scales(n)) {
      throw FileError(checkpoint.shard(scale_name).path(), scale_name,
                      text("the scale of channel ", n, ", ", scales(n), ", is no ", dtype_name<Scale>(), ": load it as float"));
    }
  }
  Tensor<Params, 1, Host> bias;
  const bool has_bias = checkpoint.contains(bias_name);
  if (has_bias) {
    bias = checkpoint.load_as<Params, 1>(bias_name);
    if (bias.extent(0) != out) {
      throw FileError(checkpoint.shard(bias_name).path(), bias_name,
                      text("its length is ", bias.extent(0), ", the weight has ", out, " rows"));
    }
  }

  W8A8OF16LinearDynamicInputScale<Params, Space, Scale> layer(in, out, has_bias, fc1);
  copy(codes, layer.weight.view());
  copy(stored.view(), layer.dequant_scale.view());
  if (has_bias) copy(bias.view(), layer.bias.view());
  detail::finish_default_stream<Space>();
  return layer;
}

/// A directory with a W8A8 checkpoint: its config.json is W8A8, and its quantized layers are whole. Move-only.
class W8A8Checkpoint {
 public:
  /// Throws FileError as Checkpoint and parse_quantization_config do, and where an int8 weight has no scale or a scale no int8
  /// weight.
  explicit W8A8Checkpoint(const std::string& directory) : tensors_(directory) {
    const std::string config = (std::filesystem::path(directory) / "config.json").string();
    config_ = parse_quantization_config(read_json(config), config);
    for (const SafetensorsFile& shard : tensors_.shards()) {
      for (const SafetensorsEntry& entry : shard.tensors()) {
        if (const std::string layer = stem(entry.name, ".weight"); !layer.empty() && entry.dtype == "I8") {
          if (!tensors_.contains(layer + ".weight_scale")) {
            throw FileError(shard.path(), entry.name, "is I8, and there is no " + detail::quote(layer + ".weight_scale"));
          }
          layers_.push_back(layer);
        }
        if (const std::string layer = stem(entry.name, ".weight_scale"); !layer.empty()) {
          if (!tensors_.contains(layer + ".weight") || tensors_.find(layer + ".weight").dtype != "I8") {
            throw FileError(shard.path(), entry.name, "there is no I8 " + detail::quote(layer + ".weight"));
          }
        }
      }
    }
  }

  const Checkpoint& tensors() const { return tensors_; }
  const QuantizationConfig& config() const { return config_; }

  /// The names of the quantized layers, in the order of the files.
  const std::vector<std::string>& layers() const { return layers_; }

  /// As load_w8a8_linear().
  template <class Params = half, class Space = Device, class Scale = float>
  W8A8OF16LinearDynamicInputScale<Params, Space, Scale> load(const std::string& name, bool fc1 = false) const {
    return load_w8a8_linear<Params, Space, Scale>(tensors_, name, fc1);
  }

 private:
  /// The name without the ending, or an empty text where it has another.
  static std::string stem(const std::string& name, const std::string& ending) {
    if (name.size() <= ending.size() || name.compare(name.size() - ending.size(), ending.size(), ending) != 0) return "";
    return name.substr(0, name.size() - ending.size());
  }

  Checkpoint tensors_;
  QuantizationConfig config_;
  std::vector<std::string> layers_;
};

/// The tensors of a layer in host memory, as a checkpoint stores them: weight, weight_scale [N, 1] and bias. They refer to the
/// layer's memory.
template <class Params, class Scale>
std::vector<NamedTensor> w8a8_tensors(const std::string& name,
                                      const W8A8OF16LinearDynamicInputScale<Params, Host, Scale>& layer) {
  TensorRef scale = tensor_ref(layer.dequant_scale.view());
  scale.shape.push_back(1);
  std::vector<NamedTensor> tensors = {{name + ".weight", tensor_ref(layer.weight.view())}, {name + ".weight_scale", scale}};
  if (layer.has_bias()) tensors.push_back({name + ".bias", tensor_ref(layer.bias.view())});
  return tensors;
}

}  // namespace w8a8
