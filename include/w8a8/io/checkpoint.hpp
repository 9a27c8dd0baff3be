// Checkpoints: a model's tensors in one safetensors file or in many, as one set.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "w8a8/io/file_error.hpp"
#include "w8a8/io/mapped_file.hpp"
#include "w8a8/io/safetensors.hpp"
#include "w8a8/io/safetensors_index.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/tensor/tensor.hpp"
#include "w8a8/tensor/tensor_ref.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

namespace detail {

/// True for the floating-point types that this library computes with.
inline bool is_floating_dtype(const std::string& dtype) { return dtype == "F32" || dtype == "F16" || dtype == "BF16"; }

/// Calls f with a value of the type that a floating-point dtype names.
template <class F>
void with_dtype(const std::string& dtype, F&& f) {
  if (dtype == "F32") {
    f(float());
  } else if (dtype == "F16") {
    f(half());
  } else {
    f(bfloat16());
  }
}

}  // namespace detail

/// The tensors of a model, mapped: nothing but the headers is read before it is looked at. Views refer to the mappings and end
/// with the object. Move-only; safe to read from several threads.
class Checkpoint {
 public:
  /// path: a directory with model.safetensors or with model.safetensors.index.json and its shards (where neither is there, the
  /// one safetensors file or index that is); or such a file itself. Throws FileError where there is none or more than one, a file
  /// is broken, or index and shards disagree: every tensor of the index lies in its shard, every tensor of a shard is the
  /// index's, and none lies in two.
  explicit Checkpoint(const std::string& path) : path_(path) {
    const std::string file = find_file(path);
    if (!is_index(file)) {
      shards_.emplace_back(file);
      for (const SafetensorsEntry& entry : shards_[0].tensors()) shard_of_.emplace(entry.name, 0);
      return;
    }
    index_path_ = file;
    read_shards();
  }

  /// What the constructor was given.
  const std::string& path() const { return path_; }

  /// The files, in the order of their names; each lists its tensors in the order of their bytes.
  const std::vector<SafetensorsFile>& shards() const { return shards_; }

  /// The index, or an empty text for a checkpoint of one file.
  const std::string& index_path() const { return index_path_; }

  /// What the index says of the bytes of all tensors. Writers get it wrong, so it is not checked: bytes() is what there is.
  const std::optional<std::uint64_t>& total_size() const { return total_size_; }

  /// The number of tensors.
  std::size_t size() const { return shard_of_.size(); }

  /// The bytes of all tensors.
  std::uint64_t bytes() const {
    std::uint64_t sum = 0;
    for (const SafetensorsFile& shard : shards_) {
      for (const SafetensorsEntry& entry : shard.tensors()) sum += entry.end - entry.begin;
    }
    return sum;
  }

  bool contains(const std::string& name) const { return shard_of_.count(name) != 0; }

  /// The file that holds the tensor. Throws FileError where there is none of that name.
  const SafetensorsFile& shard(const std::string& name) const {
    const auto found = shard_of_.find(name);
    if (found != shard_of_.end()) return shards_[found->second];
    if (shards_.size() == 1) shards_[0].find(name);  // names some of those there are
    throw FileError(path_, name, text("is in none of the ", shards_.size(), " shards"));
  }

  /// The tensor of that name. These throw as those of SafetensorsFile, whose error names the shard.
  const SafetensorsEntry& find(const std::string& name) const { return shard(name).find(name); }
  TensorRef ref(const std::string& name) const { return shard(name).ref(name); }
  template <class T, int Rank>
  TensorView<const T, Rank, Host> view(const std::string& name) const {
    return shard(name).view<T, Rank>(name);
  }
  template <class T, int Rank>
  Tensor<T, Rank, Host> load(const std::string& name) const {
    return shard(name).load<T, Rank>(name);
  }
  template <class T, int Rank>
  Tensor<T, Rank, Host> load_as(const std::string& name) const {
    return shard(name).load_as<T, Rank>(name);
  }

 private:
  static bool has_ending(const std::string& text, const std::string& ending) {
    return text.size() >= ending.size() && text.compare(text.size() - ending.size(), ending.size(), ending) == 0;
  }
  static bool is_index(const std::string& file) { return has_ending(file, ".safetensors.index.json"); }

  /// The safetensors file or index that `path` means.
  static std::string find_file(const std::string& path) {
    namespace fs = std::filesystem;
    std::error_code code;
    if (!fs::is_directory(path, code)) return path;
    const fs::path directory(path);
    const std::string single = (directory / "model.safetensors").string();
    const std::string index = (directory / "model.safetensors.index.json").string();
    const bool has_single = fs::exists(single, code), has_index = fs::exists(index, code);
    if (has_single && has_index) {
      throw FileError(path, "holds both model.safetensors and model.safetensors.index.json: remove one, or name the one meant");
    }
    if (has_single) return single;
    if (has_index) return index;
    std::vector<std::string> files, indices;
    for (fs::directory_iterator it(directory, code); !code && it != fs::directory_iterator(); it.increment(code)) {
      const std::string name = it->path().string();
      if (is_index(name)) indices.push_back(name);
      if (has_ending(name, ".safetensors")) files.push_back(name);
    }
    if (code) throw FileError(path, "cannot be listed: " + code.message());
    if (indices.size() == 1) return indices[0];
    if (indices.empty() && files.size() == 1) return files[0];
    throw FileError(path, text("holds neither model.safetensors nor model.safetensors.index.json, and ", indices.size(),
                               " other indices and ", files.size(), " other safetensors files: name the one meant"));
  }

  void read_shards() {
    SafetensorsIndex index;
    {
      const MappedFile file(index_path_);
      index = parse_safetensors_index({reinterpret_cast<const char*>(file.data()), file.size()}, index_path_);
    }
    total_size_ = index.total_size;
    std::map<std::string, std::size_t> number;  // of each shard, in the order of names
    for (const auto& [tensor, shard] : index.shard_of) number.emplace(shard, 0);
    const std::filesystem::path directory = std::filesystem::path(index_path_).parent_path();
    for (auto& [shard, position] : number) {
      position = shards_.size();
      shards_.emplace_back((directory / shard).string());
    }
    for (const SafetensorsFile& shard : shards_) {
      const auto position = static_cast<std::size_t>(&shard - shards_.data());
      for (const SafetensorsEntry& entry : shard.tensors()) {
        const auto other = shard_of_.emplace(entry.name, position);
        if (!other.second) {
          throw FileError(shard.path(), entry.name, "is in " + detail::quote(shards_[other.first->second].path()) + ", too");
        }
      }
    }
    for (const auto& [tensor, shard] : index.shard_of) {
      const std::size_t expected = number[shard];
      const auto found = shard_of_.find(tensor);
      if (found == shard_of_.end() || found->second != expected) {
        throw FileError(index_path_, tensor,
                        "is said to be in " + detail::quote(shard) + ", which does not hold it" +
                            (found == shard_of_.end() ? "" : "; " + detail::quote(shards_[found->second].path()) + " does"));
      }
    }
    if (shard_of_.size() == index.shard_of.size()) return;
    for (const auto& [tensor, position] : shard_of_) {
      if (index.shard_of.count(tensor) == 0) {
        throw FileError(index_path_, tensor, "is in " + detail::quote(shards_[position].path()) + ", and not in the index");
      }
    }
  }

  std::string path_, index_path_;
  std::vector<SafetensorsFile> shards_;
  std::map<std::string, std::size_t> shard_of_;
  std::optional<std::uint64_t> total_size_;
};

}  // namespace w8a8
