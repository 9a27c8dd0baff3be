// Reading safetensors files: memory-mapped, checked as a whole when opened, tensors as views without a copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "w8a8/io/file_error.hpp"
#include "w8a8/io/mapped_file.hpp"
#include "w8a8/io/safetensors_header.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/tensor/tensor.hpp"
#include "w8a8/tensor/tensor_ref.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

/// An open safetensors file. The constructor checks the whole header; after that the tensors of dtype F32, F16, BF16 and I8 can
/// be read, those of any other dtype are listed. Views refer to the mapping and end with the object. Move-only; safe to read from
/// several threads.
class SafetensorsFile {
 public:
  /// Throws FileError where the file cannot be mapped, is too short, or its header breaks the format.
  explicit SafetensorsFile(const std::string& path) : path_(path), mapping_(path) {
    if (mapping_.size() < 8) throw FileError(path, text("is too short for a safetensors file: ", mapping_.size(), " bytes"));
    std::uint64_t header_bytes = 0;
    for (int i = 7; i >= 0; --i) header_bytes = header_bytes << 8 | std::to_integer<std::uint64_t>(mapping_.data()[i]);
    if (header_bytes > maximum_safetensors_header) {
      throw FileError(path, text("its header is said to be ", header_bytes, " bytes long, more than the limit of ",
                                 maximum_safetensors_header));
    }
    if (header_bytes > mapping_.size() - 8) {
      throw FileError(
          path, text("its header is said to be ", header_bytes, " bytes long, but the file ends after ", mapping_.size() - 8));
    }
    data_ = mapping_.data() + 8 + header_bytes;
    header_ =
        parse_safetensors_header({reinterpret_cast<const char*>(mapping_.data()) + 8, static_cast<std::size_t>(header_bytes)},
                                 mapping_.size() - 8 - header_bytes, path);
    for (std::size_t i = 0; i < header_.tensors.size(); ++i) index_.emplace(header_.tensors[i].name, i);
  }

  const std::string& path() const { return path_; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }

  /// All tensors, in the order of their bytes.
  const std::vector<SafetensorsEntry>& tensors() const { return header_.tensors; }

  bool contains(const std::string& name) const { return index_.count(name) != 0; }

  /// The tensor of that name. Throws FileError that names some of those there are.
  const SafetensorsEntry& find(const std::string& name) const {
    const auto found = index_.find(name);
    if (found != index_.end()) return header_.tensors[found->second];
    std::string known;
    constexpr std::size_t shown = 8;
    for (std::size_t i = 0; i < header_.tensors.size() && i < shown; ++i)
      known += (i ? ", " : "") + detail::quote(header_.tensors[i].name);
    if (header_.tensors.size() > shown) known += text(" and ", header_.tensors.size() - shown, " more");
    throw FileError(path_, name, "is not in the file, which holds " + (known.empty() ? std::string("no tensor") : known));
  }

  /// The tensor's bytes, whatever its dtype. Throws FileError where the file has none of that name.
  TensorRef ref(const std::string& name) const {
    const SafetensorsEntry& entry = find(name);
    return {entry.dtype, entry.shape, data_ + entry.begin, entry.end - entry.begin};
  }

  /// Lets the system take back the memory of bytes [begin, end) of the tensor, which are read from the file again when somebody
  /// looks. Throws FileError where the file has none of that name; a range beyond the tensor's is cut.
  void release(const std::string& name, std::uint64_t begin = 0, std::uint64_t end = ~std::uint64_t{0}) const {
    const SafetensorsEntry& entry = find(name);
    const std::uint64_t bytes = entry.end - entry.begin, last = min_of(end, bytes);
    if (begin >= last) return;
    mapping_.release(static_cast<std::size_t>(data_ - mapping_.data()) + static_cast<std::size_t>(entry.begin + begin),
                     static_cast<std::size_t>(last - begin));
  }

  /// The tensor's elements in place. Throws FileError where there is none of that name, dtype T and Rank, or where the file
  /// placed its bytes at an address that T cannot be read from: load() copies such a tensor.
  template <class T, int Rank>
  TensorView<const T, Rank, Host> view(const std::string& name) const {
    const SafetensorsEntry& entry = find_typed<T>(name);
    const auto shape = shape_of<Rank>(entry);
    if (!is_aligned(data_ + entry.begin, alignof(T))) {
      throw FileError(path_, name,
                      text("its data is not aligned to ", alignof(T), " bytes: it can be loaded, but not viewed in place"));
    }
    return {reinterpret_cast<const T*>(data_ + entry.begin), shape};
  }

  /// A copy of the tensor. Throws FileError where there is none of that name, dtype T and Rank.
  template <class T, int Rank>
  Tensor<T, Rank, Host> load(const std::string& name) const {
    const SafetensorsEntry& entry = find_typed<T>(name);
    Tensor<T, Rank, Host> out(shape_of<Rank>(entry));
    if (entry.end > entry.begin) std::memcpy(out.data(), data_ + entry.begin, static_cast<std::size_t>(entry.end - entry.begin));
    return out;
  }

  /// A copy of a floating-point tensor (F32, F16 or BF16), each element rounded once to T. Throws FileError where there is none
  /// of that name and Rank, or it is not floating-point.
  template <class T, int Rank>
  Tensor<T, Rank, Host> load_as(const std::string& name) const {
    static_assert(is_floating_v<T>, "load_as: float, half or bfloat16");
    const SafetensorsEntry& entry = find(name);
    if (entry.dtype == dtype_name<T>()) return load<T, Rank>(name);
    if (entry.dtype == "F32") return converted<T, float, Rank>(entry);
    if (entry.dtype == "F16") return converted<T, half, Rank>(entry);
    if (entry.dtype == "BF16") return converted<T, bfloat16, Rank>(entry);
    throw FileError(path_, name, "its dtype is " + detail::quote(entry.dtype) + ", expected F32, F16 or BF16");
  }

 private:
  template <class T>
  const SafetensorsEntry& find_typed(const std::string& name) const {
    static_assert(is_floating_v<T> || std::is_same_v<T, std::int8_t>, "safetensors: float, half, bfloat16 or int8");
    const SafetensorsEntry& entry = find(name);
    if (entry.dtype == dtype_name<T>()) return entry;
    const bool readable = entry.dtype == "F32" || entry.dtype == "F16" || entry.dtype == "BF16" || entry.dtype == "I8";
    throw FileError(path_, name,
                    "its dtype is " + detail::quote(entry.dtype) + ", expected " + dtype_name<T>() +
                        (readable ? "" : " (F32, F16, BF16 and I8 can be read)"));
  }

  template <int Rank>
  typename TensorView<float, Rank, Host>::shape_type shape_of(const SafetensorsEntry& entry) const {
    if (entry.shape.size() != static_cast<std::size_t>(Rank)) {
      throw FileError(path_, entry.name,
                      text("its shape is ", shape_text(entry.shape), ", expected ", Rank, " dimension", Rank == 1 ? "" : "s"));
    }
    typename TensorView<float, Rank, Host>::shape_type shape{};
    for (std::size_t d = 0; d < shape.size(); ++d) shape[d] = entry.shape[d];
    return shape;
  }

  template <class T, class Stored, int Rank>
  Tensor<T, Rank, Host> converted(const SafetensorsEntry& entry) const {
    Tensor<T, Rank, Host> out(shape_of<Rank>(entry));
    const std::byte* from = data_ + entry.begin;
    for (std::int64_t i = 0; i < out.size(); ++i, from += sizeof(Stored)) {
      Stored element;
      std::memcpy(static_cast<void*>(&element), from, sizeof element);
      out.data()[i] = from_float<T>(to_float(element));
    }
    return out;
  }

  std::string path_;
  MappedFile mapping_;
  const std::byte* data_ = nullptr;  // the first byte after the header
  SafetensorsHeader header_;
  std::map<std::string, std::size_t> index_;
};

}  // namespace w8a8
