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
      const std::uint64_t bytes = bytes_of(spec);
      if (!slots_.emplace(spec.name, Slot{offset, bytes, false}).second) throw FileError(path, spec.name, "is given twice");
      header[spec.name] = {{"dtype", spec.dtype}, {"shape", spec.shape}, {"data_offsets", {offset, offset + bytes}}};
      offset += bytes;
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
    const auto found = slots_.find(name);
    if (found == slots_.end()) throw FileError(file_.path(), name, "was not announced");
    Slot& slot = found->second;
    if (tensor.bytes != slot.bytes) {
      throw FileError(file_.path(), name, text("was announced with ", slot.bytes, " bytes and has ", tensor.bytes));
    }
    file_.write(data_begin_ + slot.offset, tensor.data, tensor.bytes);
    slot.written = true;
  }

  /// Gives the file its name. Throws FileError where a tensor is missing or the disk refuses.
  void commit() {
    for (const auto& [name, slot] : slots_) {
      if (!slot.written && slot.bytes > 0) throw FileError(file_.path(), name, "was announced and not written");
    }
    file_.commit();
  }

 private:
  static constexpr std::size_t alignment = 8;  // of the header's length: the data then starts at a multiple of 8

  struct Slot {
    std::uint64_t offset, bytes;
    bool written;
  };

  std::uint64_t bytes_of(const TensorSpec& spec) const {
    if (spec.name.empty() || spec.name == "__metadata__") throw FileError(file_.path(), spec.name, "is no name for a tensor");
    const int element_bits = detail::safetensors_dtype_bits(spec.dtype);
    if (element_bits == 0) throw FileError(file_.path(), spec.name, "has the unknown dtype " + detail::quote(spec.dtype));
    std::uint64_t bits = static_cast<std::uint64_t>(element_bits);
    for (const std::int64_t size : spec.shape) {
      if (size < 0 || !detail::multiply_checked(bits, static_cast<std::uint64_t>(size), bits)) {
        throw FileError(file_.path(), spec.name, "has the impossible shape " + shape_text(spec.shape));
      }
    }
    if (bits % 8 != 0) throw FileError(file_.path(), spec.name, "does not fill whole bytes");
    return bits / 8;
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
