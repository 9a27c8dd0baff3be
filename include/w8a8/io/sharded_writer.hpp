// Writing a checkpoint as one safetensors file, or as several with an index where it is larger than a shard may be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "w8a8/io/file_error.hpp"
#include "w8a8/io/safetensors_index.hpp"
#include "w8a8/io/safetensors_writer.hpp"
#include "w8a8/tensor/tensor_ref.hpp"

namespace w8a8 {

/// A file of a checkpoint that is going to be written.
struct Shard {
  std::string file;  ///< "model.safetensors", or "model-00002-of-00007.safetensors"
  std::vector<TensorSpec> tensors;
  std::uint64_t bytes = 0;  ///< of the tensors
};

/// Distributes tensors over shards of at most `maximum_bytes` bytes of data, in their order. Each of `units` stays together; one
/// larger than a shard gets a shard of its own. Throws Error where maximum_bytes is 0, FileError where a tensor cannot be stored.
inline std::vector<Shard> plan_shards(const std::vector<std::vector<TensorSpec>>& units, std::uint64_t maximum_bytes) {
  if (maximum_bytes == 0) throw Error("plan_shards", "maximum_bytes", "a count > 0", "0");
  std::vector<Shard> shards(1);
  for (const std::vector<TensorSpec>& unit : units) {
    std::uint64_t bytes = 0;
    for (const TensorSpec& tensor : unit) bytes += tensor_bytes(tensor, "model.safetensors");
    const Shard& last = shards.back();
    if (!last.tensors.empty() && (last.bytes > maximum_bytes || bytes > maximum_bytes - last.bytes)) shards.emplace_back();
    shards.back().tensors.insert(shards.back().tensors.end(), unit.begin(), unit.end());
    shards.back().bytes += bytes;
  }
  shards[0].file = "model.safetensors";
  for (std::size_t i = 0; i < shards.size() && shards.size() > 1; ++i) {
    char name[64];
    std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, shards.size());
    shards[i].file = name;
  }
  return shards;
}

/// The index of such shards.
inline SafetensorsIndex index_of(const std::vector<Shard>& shards) {
  SafetensorsIndex index;
  index.total_size = 0;
  for (const Shard& shard : shards) {
    *index.total_size += shard.bytes;
    for (const TensorSpec& tensor : shard.tensors) index.shard_of[tensor.name] = shard.file;
  }
  return index;
}

/// Writes a checkpoint into a directory, tensor by tensor and in any order; memory holds one of them. A shard appears under its
/// name when its last tensor is written, the index on commit(): until then, and after a crash, no reader takes the directory for
/// a checkpoint. (A checkpoint of one shard has no index: its file appears on commit().)
class ShardedWriter {
 public:
  /// Throws FileError where the directory holds a checkpoint already, a tensor is given twice, or a file cannot be made.
  ShardedWriter(const std::string& directory, std::vector<Shard> shards, std::map<std::string, std::string> metadata = {})
      : directory_(directory), shards_(std::move(shards)), metadata_(std::move(metadata)), writers_(shards_.size()) {
    for (const char* name : {"model.safetensors", "model.safetensors.index.json"}) {
      std::error_code code;
      if (std::filesystem::exists(path_of(name), code))
        throw FileError(path_of(name), "exists: a checkpoint is never overwritten");
    }
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      left_.push_back(shards_[i].tensors.size());
      for (const TensorSpec& tensor : shards_[i].tensors) {
        if (!slots_.emplace(tensor.name, Slot{i, tensor_bytes(tensor, path_of(shards_[i].file)), false, 0}).second) {
          throw FileError(path_of(shards_[i].file), tensor.name, "is given twice");
        }
      }
    }
  }

  /// As SafetensorsWriter::write(), once for each tensor.
  void write(const std::string& name, const TensorRef& tensor) {
    Slot& slot = find(name);
    if (slot.written != 0 || tensor.bytes != slot.bytes) {
      throw FileError(
          path_of(shards_[slot.shard].file), name,
          slot.written != 0 ? "was written before" : text("was announced with ", slot.bytes, " bytes and has ", tensor.bytes));
    }
    append(name, tensor.data, tensor.bytes);
  }

  /// As SafetensorsWriter::append().
  void append(const std::string& name, const void* data, std::uint64_t bytes) {
    Slot& slot = find(name);
    if (slot.done) {
      if (bytes == 0) return;
      throw FileError(path_of(shards_[slot.shard].file), name, text("was announced with ", slot.bytes, " bytes and has more"));
    }
    auto& writer = writers_[slot.shard];
    if (!writer) writer.emplace(path_of(shards_[slot.shard].file), shards_[slot.shard].tensors, metadata_);
    writer->append(name, data, bytes);
    slot.written += bytes;
    if (slot.written < slot.bytes) return;
    slot.done = true;
    if (--left_[slot.shard] > 0 || shards_.size() == 1) return;
    writer->commit();
    writer.reset();
  }

  /// Writes the index. Throws FileError where a tensor with elements is missing or the disk refuses.
  void commit() {
    for (const auto& [name, slot] : slots_) {
      if (slot.done) continue;
      if (slot.bytes > 0) throw FileError(path_of(shards_[slot.shard].file), name, "was announced and not written whole");
      append(name, nullptr, 0);
    }
    if (shards_.size() > 1) {
      write_safetensors_index(path_of("model.safetensors.index.json"), index_of(shards_));
    } else if (shards_.size() == 1) {
      if (!writers_[0]) writers_[0].emplace(path_of(shards_[0].file), shards_[0].tensors, metadata_);
      writers_[0]->commit();
      writers_[0].reset();
    }
  }

 private:
  struct Slot {
    std::size_t shard;
    std::uint64_t bytes;
    bool done;
    std::uint64_t written;
  };

  std::string path_of(const std::string& file) const { return (std::filesystem::path(directory_) / file).string(); }

  Slot& find(const std::string& name) {
    const auto found = slots_.find(name);
    if (found == slots_.end()) throw FileError(directory_, name, "was not announced");
    return found->second;
  }

  std::string directory_;
  std::vector<Shard> shards_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, Slot> slots_;
  std::vector<std::size_t> left_;  // tensors to come, of each shard
  std::vector<std::optional<SafetensorsWriter>> writers_;
};

}  // namespace w8a8
