// Writing safetensors files: tensor by tensor, atomically.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "w8a8/io/atomic_file.hpp"
#include "w8a8/io/file_error.hpp"
#include "w8a8/io/safetensors_header.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/tensor/tensor_ref.hpp"

namespace w8a8 {

/// A tensor that a file is going to hold.
struct TensorSpec {
  std::string name;
  std::string dtype;  ///< "F32", "F16", "BF16", "I8" or another of the format's
  std::vector<std::int64_t> shape;
};

/// The bytes of the tensor; `file` is the file that is going to hold it, for errors. Throws FileError where its name, dtype or
/// shape cannot be stored.
inline std::uint64_t tensor_bytes(const TensorSpec& spec, const std::string& file) {
  if (spec.name.empty() || spec.name == "__metadata__") throw FileError(file, spec.name, "is no name for a tensor");
  const int element_bits = detail::safetensors_dtype_bits(spec.dtype);
  if (element_bits == 0) throw FileError(file, spec.name, "has the unknown dtype " + detail::quote(spec.dtype));
  if (spec.shape.size() > maximum_safetensors_rank) {
    throw FileError(file, spec.name, text("has more than ", maximum_safetensors_rank, " dimensions"));
  }
  // As the reader does it: sizes of 0 count as 1 until the end.
  std::uint64_t bits = static_cast<std::uint64_t>(element_bits);
  bool empty = false;
  for (const std::int64_t size : spec.shape) {
    if (size < 0 || !detail::multiply_checked(bits, size == 0 ? 1 : static_cast<std::uint64_t>(size), bits)) {
      throw FileError(file, spec.name, "has the impossible shape " + shape_text(spec.shape));
    }
    empty = empty || size == 0;
  }
  if (empty) return 0;
  if (bits % 8 != 0) throw FileError(file, spec.name, "does not fill whole bytes");
  return bits / 8;
}

/// A tensor with its name.
struct NamedTensor {
  std::string name;
  TensorRef tensor;
};

/// Writes a file whose tensors are known by shape beforehand and come one at a time, in any order: memory holds one of them.
/// The file appears under its name on commit(), whole; without it nothing is left behind.
class SafetensorsWriter {
 public:
  /// Throws FileError where the file cannot be made, or a tensor's name (empty or twice there), dtype or shape cannot be stored.
  SafetensorsWriter(const std::string& path, std::vector<TensorSpec> tensors,
                    const std::map<std::string, std::string>& metadata = {})
      : file_(path) {
    // Wide elements first: every tensor then starts at a multiple of its element's size.
    std::stable_sort(tensors.begin(), tensors.end(), [](const TensorSpec& a, const TensorSpec& b) {
      return detail::safetensors_dtype_bits(a.dtype) > detail::safetensors_dtype_bits(b.dtype);
    });
    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    if (!metadata.empty()) header["__metadata__"] = metadata;
    std::uint64_t offset = 0;
    for (const TensorSpec& spec : tensors) {
      const std::uint64_t bytes = tensor_bytes(spec, path);
      if (!slots_.emplace(spec.name, Slot{offset, bytes, 0}).second) throw FileError(path, spec.name, "is given twice");
      header[spec.name] = {{"dtype", spec.dtype}, {"shape", spec.shape}, {"data_offsets", {offset, offset + bytes}}};
      offset += bytes;
      // No single one is larger than 2^60 bytes, so this sum cannot have wrapped.
      if (offset > maximum_data) throw FileError(path, spec.name, "is too much: the file would pass 2^62 bytes");
    }
    std::string json = dump(header);
    json.resize(round_up<std::size_t>(json.size(), alignment), ' ');
    if (json.size() > maximum_safetensors_header) throw FileError(path, text("would need a header of ", json.size(), " bytes"));
    unsigned char length[8];
    for (int i = 0; i < 8; ++i) length[i] = static_cast<unsigned char>(json.size() >> (8 * i));
    file_.write(0, length, sizeof length);
    file_.write(sizeof length, json.data(), json.size());
    data_begin_ = sizeof length + json.size();
  }

  /// Writes one tensor. Throws FileError where it is not among those announced, its size differs, or the disk refuses it.
  void write(const std::string& name, const TensorRef& tensor) {
    Slot& slot = find(name);
    if (tensor.bytes != slot.bytes) {
      throw FileError(file_.path(), name, text("was announced with ", slot.bytes, " bytes and has ", tensor.bytes));
    }
    slot.written = 0;
    append(name, tensor.data, tensor.bytes);
  }

  /// Writes the next bytes of a tensor, which so may come in pieces: memory holds less than one tensor. Throws FileError where it
  /// is not among those announced, grows beyond its size, or the disk refuses it.
  void append(const std::string& name, const void* data, std::uint64_t bytes) {
    Slot& slot = find(name);
    if (bytes > slot.bytes - slot.written) {
      throw FileError(file_.path(), name, text("was announced with ", slot.bytes, " bytes and has more"));
    }
    file_.write(data_begin_ + slot.offset + slot.written, data, bytes);
    slot.written += bytes;
  }

  /// Gives the file its name. Throws FileError where a tensor is missing or the disk refuses.
  void commit() {
    for (const auto& [name, slot] : slots_) {
      if (slot.written < slot.bytes) {
        throw FileError(file_.path(), name,
                        slot.written == 0
                            ? "was announced and not written"
                            : text("was announced with ", slot.bytes, " bytes, and ", slot.written, " were written"));
      }
    }
    file_.commit();
  }

 private:
  static constexpr std::uint64_t maximum_data = std::uint64_t{1} << 62;
  static constexpr std::size_t alignment = 8;  // of the header's length: the data then starts at a multiple of 8

  struct Slot {
    std::uint64_t offset, bytes, written;
  };

  Slot& find(const std::string& name) {
    const auto found = slots_.find(name);
    if (found == slots_.end()) throw FileError(file_.path(), name, "was not announced");
    return found->second;
  }

  std::string dump(const nlohmann::ordered_json& header) const {
    try {
      return header.dump();
    } catch (const nlohmann::json::exception&) {
      throw FileError(file_.path(), "a name or the metadata is not valid UTF-8");
    }
  }

  AtomicFile file_;
  std::map<std::string, Slot> slots_;
  std::uint64_t data_begin_ = 0;
};

/// Writes the tensors to `path` in one go, atomically. Throws FileError as SafetensorsWriter does.
inline void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                              const std::map<std::string, std::string>& metadata = {}) {
  std::vector<TensorSpec> specs;
  for (const NamedTensor& each : tensors) specs.push_back({each.name, each.tensor.dtype, each.tensor.shape});
  SafetensorsWriter writer(path, std::move(specs), metadata);
  for (const NamedTensor& each : tensors) writer.write(each.name, each.tensor);
  writer.commit();
}

}  // namespace w8a8
