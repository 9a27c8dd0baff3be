// The shapes a suite measures: presets by name, MxNxK by hand, lists of M.
#pragma once

#include <cctype>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace w8a8::bench {

/// A command line or an input file that cannot be used: one line for the user, exit code 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// One row of a suite: m tokens, n output channels, k input channels.
struct Shape {
  std::string name;
  int m = 0, n = 0, k = 0;

  double operations() const { return 2.0 * m * n * k; }
  /// "16x6144x4096"; "16x4096" where there is no N.
  std::string text() const {
    return std::to_string(m) + "x" + (n > 0 ? std::to_string(n) + "x" : std::string()) + std::to_string(k);
  }
};

inline bool operator==(const Shape& a, const Shape& b) { return a.name == b.name && a.m == b.m && a.n == b.n && a.k == b.k; }

/// A layer of a preset: every one is measured for each M of the preset.
struct Layer {
  std::string name;
  int n, k;
};

struct Preset {
  std::string name;
  std::string description;
  std::vector<Layer> layers;
  std::vector<int> tokens;
  std::vector<Shape> further;  ///< rows that do not follow the layers x tokens pattern
};

/// Every M of a sweep, where none is asked for.
inline const std::vector<int>& sweep_tokens() {
  static const std::vector<int> tokens = [] {
    std::vector<int> all;
    for (int m = 1; m <= 300; ++m) all.push_back(m);
    return all;
  }();
  return tokens;
}

inline const std::vector<Preset>& presets() {
  static const std::vector<int> decode_to_prefill = {1, 16, 64, 128, 256, 512, 1024, 4096, 8192};
  static const std::vector<Preset> all = {
      {"anchors",
       "the rows of anchors/h200_peers.json",
       {{"l8b_qkv", 6144, 4096},
        {"l8b_gateup", 28672, 4096},
        {"l8b_down", 4096, 14336},
        {"l70_o", 8192, 8192},
        {"l70_down", 8192, 28672},
        {"siglip_fc1", 4304, 1152}},
       decode_to_prefill,
       {{"sq16k", 16384, 16384, 16384}}},
      {"llama3-8b",
       "the linear layers of Llama 3 8B",
       {{"qkv", 6144, 4096}, {"o", 4096, 4096}, {"gate_up", 28672, 4096}, {"down", 4096, 14336}},
       decode_to_prefill,
       {}},
      {"llama3-70b",
       "the linear layers of Llama 3 70B",
       {{"qkv", 10240, 8192}, {"o", 8192, 8192}, {"gate_up", 57344, 8192}, {"down", 8192, 28672}},
       decode_to_prefill,
       {}},
      {"qwen2.5-7b",
       "the linear layers of Qwen2.5 7B",
       {{"qkv", 4608, 3584}, {"o", 3584, 3584}, {"gate_up", 37888, 3584}, {"down", 3584, 18944}},
       decode_to_prefill,
       {}},
      {"siglip-so400m",
       "SigLIP so400m at 384 pixels: 1, 4 and 16 images of 729 patches",
       {{"qkv", 3456, 1152}, {"out", 1152, 1152}, {"fc1", 4304, 1152}, {"fc2", 1152, 4304}},
       {729, 2916, 11664},
       {}},
      {"internvit-6b",
       "InternViT 6B at 448 pixels: 1, 4 and 16 images of 1025 tokens",
       {{"qkv", 9600, 3200}, {"proj", 3200, 3200}, {"fc1", 12800, 3200}, {"fc2", 3200, 12800}},
       {1025, 4100, 16400},
       {}},
      {"square",
       "M = N = K",
       {},
       {},
       {{"sq1k", 1024, 1024, 1024},
        {"sq2k", 2048, 2048, 2048},
        {"sq4k", 4096, 4096, 4096},
        {"sq8k", 8192, 8192, 8192},
        {"sq16k", 16384, 16384, 16384}}},
      {"layers",
       "whole layers: those of the anchors, and Llama 3 8B's output projection",
       {{"l8b_qkv", 6144, 4096},
        {"l8b_o", 4096, 4096},
        {"l8b_gateup", 28672, 4096},
        {"l8b_down", 4096, 14336},
        {"l70_o", 8192, 8192},
        {"l70_down", 8192, 28672},
        {"siglip_fc1", 4304, 1152}},
       {1, 16, 64, 256, 1024, 4096, 8192},
       {}},
      {"quantize",
       "activations: a few tokens, and 32 Mi elements or more of several K",
       {},
       {},
       {{"few", 16, 0, 4096},
        {"k1152", 32768, 0, 1152},
        {"k4096", 8192, 0, 4096},
        {"k8192", 4096, 0, 8192},
        {"k14336", 2560, 0, 14336}}},
      {"sweep", "every M", {{"6144x4096", 6144, 4096}, {"4096x14336", 4096, 14336}}, sweep_tokens(), {}},
      {"chain", "tokens of a decoding step", {{"llama3-8b", 0, 4096}}, {1, 8, 32}, {}},
      {"host",
       "small shapes for the CPU family",
       {{"small", 256, 512}, {"ragged", 100, 333}, {"siglip_fc1", 4304, 1152}},
       {1, 16, 64},
       {}},
  };
  return all;
}

/// A layer at each M.
inline std::vector<Shape> layer_shapes(const Layer& layer, const std::vector<int>& tokens) {
  std::vector<Shape> shapes;
  for (const int m : tokens) shapes.push_back({layer.name, m, layer.n, layer.k});
  return shapes;
}

/// The rows of a preset; `tokens`, where given, replaces its list of M. Throws UsageError for an unknown name.
inline std::vector<Shape> preset_shapes(const std::string& name, const std::vector<int>& tokens = {}) {
  for (const Preset& preset : presets()) {
    if (preset.name != name) continue;
    std::vector<Shape> shapes;
    for (const Layer& layer : preset.layers) {
      for (const int m : tokens.empty() ? preset.tokens : tokens) shapes.push_back({layer.name, m, layer.n, layer.k});
    }
    if (tokens.empty() || preset.layers.empty()) {
      for (const Shape& shape : preset.further) {
        if (tokens.empty()) {
          shapes.push_back(shape);
        } else {
          for (const int m : tokens) shapes.push_back({shape.name, m, shape.n, shape.k});
        }
      }
    }
    return shapes;
  }
  std::string known;
  for (const Preset& preset : presets()) known += (known.empty() ? "" : ", ") + preset.name;
  throw UsageError("--preset: no preset '" + name + "'; there are " + known);
}

/// A positive int; throws UsageError that names `flag`.
inline int parse_size(const std::string& flag, const std::string& word) {
  std::int64_t value = 0;
  for (const char c : word) {
    if (!std::isdigit(static_cast<unsigned char>(c))) value = -1;
    if (value < 0) break;
    value = 10 * value + (c - '0');
    if (value > std::numeric_limits<int>::max()) value = -1;
  }
  if (word.empty() || value < 1) throw UsageError(flag + ": expected a size from 1 to 2147483647, got '" + word + "'");
  return static_cast<int>(value);
}

namespace detail {

/// "16x6144x4096" as its sizes; `count` of them, written like `example`.
inline std::vector<int> parse_sizes(const std::string& flag, const std::string& word, std::size_t count, const char* example) {
  std::vector<std::string> sizes(1);
  for (const char c : word) {
    if (c == 'x' || c == 'X') {
      sizes.emplace_back();
    } else {
      sizes.back() += c;
    }
  }
  if (sizes.size() != count) throw UsageError(flag + ": expected " + example + ", got '" + word + "'");
  std::vector<int> values;
  for (const std::string& size : sizes) values.push_back(parse_size(flag, size));
  return values;
}

}  // namespace detail

/// "16x6144x4096" as a shape. Throws UsageError that names `flag`.
inline Shape parse_shape(const std::string& flag, const std::string& word) {
  const std::vector<int> sizes = detail::parse_sizes(flag, word, 3, "MxNxK such as 16x6144x4096");
  return {"custom", sizes[0], sizes[1], sizes[2]};
}

/// "6144x4096" as a layer of that name. Throws UsageError that names `flag`.
inline Layer parse_layer(const std::string& flag, const std::string& word) {
  const std::vector<int> sizes = detail::parse_sizes(flag, word, 2, "NxK such as 6144x4096");
  return {std::to_string(sizes[0]) + "x" + std::to_string(sizes[1]), sizes[0], sizes[1]};
}

}  // namespace w8a8::bench
