// The header of a safetensors file (https://huggingface.co/docs/safetensors, "Format"), parsed as hostile input.
//
// A file is 8 bytes (the header's length, little-endian), the header (a JSON object), then the tensors' bytes. The header maps
// each tensor's name to {"dtype": "F16", "shape": [N, K], "data_offsets": [begin, end]}, offsets counted from the first byte
// after the header; "__metadata__", where present, maps strings to strings. The tensors cover their bytes without gap or overlap.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "w8a8/io/file_error.hpp"
#include "w8a8/io/json.hpp"
#include "w8a8/tensor/tensor_ref.hpp"

namespace w8a8 {

/// One tensor as the header describes it.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;                ///< as the file spells it; not only those that this library reads
  std::vector<std::int64_t> shape;  ///< sizes >= 0
  std::uint64_t begin = 0;          ///< first byte, counted from the end of the header
  std::uint64_t end = 0;            ///< one past the last byte
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors;  ///< in the order of their bytes
  std::map<std::string, std::string> metadata;
};

/// Longer headers are refused, as the format's reference implementation does.
inline constexpr std::uint64_t maximum_safetensors_header = 100'000'000;

/// More dimensions than this are refused.
inline constexpr std::size_t maximum_safetensors_rank = 32;

namespace detail {

/// Bits of an element, or 0 for a name that the format did not have when this was written.
inline int safetensors_dtype_bits(std::string_view dtype) {
  constexpr std::pair<std::string_view, int> known[] = {
      {"BOOL", 8},    {"U8", 8},   {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F6_E2M3", 6},
      {"F6_E3M2", 6}, {"F4", 4},   {"I16", 16}, {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},
      {"U32", 32},    {"F32", 32}, {"F64", 64}, {"I64", 64},    {"U64", 64},    {"C64", 64}};
  for (const auto& [name, bits] : known) {
    if (name == dtype) return bits;
  }
  return 0;
}

/// a * b, or false where it exceeds 2^63 - 1.
inline bool multiply_checked(std::uint64_t a, std::uint64_t b, std::uint64_t& product) {
  constexpr std::uint64_t limit = std::numeric_limits<std::int64_t>::max();
  if (b != 0 && a > limit / b) return false;
  product = a * b;
  return true;
}

/// Receives the header's JSON piece by piece. Nothing is built for pieces that are not expected, names are checked as they come
/// (a document tree would silently keep the last of two equal names), and nesting stops at the first object too many.
class SafetensorsHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit SafetensorsHandler(const std::string& file) : file_(file) {}

  SafetensorsHeader take() { return std::move(header_); }

  bool start_object(std::size_t) override {
    if (array_ || depth_ >= 2) fail("holds an object where none belongs (nested too deep)");
    if (depth_ == 1 && !in_metadata()) header_.tensors.push_back({name_, {}, {}, 0, 0});
    ++depth_;
    has_dtype_ = has_shape_ = has_offsets_ = false;
    return true;
  }

  bool key(string_t& key) override {
    if (depth_ == 1) {
      name_ = key;
      if (!names_.emplace(name_, true).second) fail("appears twice");
    } else if (in_metadata()) {
      field_ = key;
      if (!header_.metadata.emplace(field_, std::string()).second) fail("has two entries " + quote(field_));
    } else {
      field_ = key;
      bool* seen = field_ == "dtype"          ? &has_dtype_
                   : field_ == "shape"        ? &has_shape_
                   : field_ == "data_offsets" ? &has_offsets_
                                              : nullptr;
      if (seen == nullptr) fail("has an entry " + quote(field_) + "; only dtype, shape and data_offsets are known");
      if (*seen) fail("has two entries '" + field_ + "'");
      *seen = true;
    }
    return true;
  }

  bool string(string_t& value) override {
    if (depth_ == 2 && in_metadata()) {
      header_.metadata[field_] = value;
    } else if (depth_ == 2 && field_ == "dtype") {
      header_.tensors.back().dtype = value;
    } else {
      unexpected("a string");
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (depth_ != 2 || in_metadata() || field_ == "dtype" || array_) unexpected("an array");
    array_ = true;
    offsets_ = 0;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (!array_) unexpected("a number");
    SafetensorsEntry& entry = header_.tensors.back();
    if (field_ == "shape") {
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        fail(text("has a size of ", value, ", beyond 2^63 - 1"));
      if (entry.shape.size() == maximum_safetensors_rank) fail(text("has more than ", maximum_safetensors_rank, " dimensions"));
      entry.shape.push_back(static_cast<std::int64_t>(value));
    } else {
      if (offsets_ == 2) fail("has more than two data_offsets");
      (offsets_++ == 0 ? entry.begin : entry.end) = value;
    }
    return true;
  }

  bool end_array() override {
    array_ = false;
    if (field_ == "data_offsets" && offsets_ != 2) fail("has fewer than two data_offsets");
    return true;
  }

  bool end_object() override {
    if (depth_ == 2 && !in_metadata()) {
      if (!has_dtype_) fail("has no dtype");
      if (!has_shape_) fail("has no shape");
      if (!has_offsets_) fail("has no data_offsets");
    }
    --depth_;
    return true;
  }

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(number_integer_t value) override { return unexpected(text("the negative number ", value).c_str()); }
  bool number_float(number_float_t, const string_t& written) override {
    return unexpected(("the number " + quote(written) + ", which is no integer below 2^64").c_str());
  }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    throw FileError(file_, text("its header is not valid JSON at byte ", position, ": ", json_reason(error)));
  }

 private:
  bool in_metadata() const { return name_ == "__metadata__"; }

  [[noreturn]] void fail(const std::string& reason) const {
    if (depth_ == 0) throw FileError(file_, "its header " + reason);
    throw FileError(file_, name_, reason);
  }

  [[noreturn]] bool unexpected(const char* what) const {
    if (depth_ == 0) throw FileError(file_, text("its header is ", what, ", not an object"));
    if (depth_ == 1) throw FileError(file_, name_, text("its entry is ", what, ", not an object"));
    throw FileError(file_, name_, text("its entry ", quote(field_), " holds ", what));
  }

  const std::string& file_;
  SafetensorsHeader header_;
  std::map<std::string, bool> names_;
  std::string name_, field_;  // the tensor and the entry being read
  int depth_ = 0;             // objects that are open
  bool array_ = false;        // inside an entry's array
  int offsets_ = 0;
  bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
};

/// Checks one tensor's bytes against its shape and the file.
inline void check_safetensors_entry(const SafetensorsEntry& entry, std::uint64_t data_bytes, const std::string& file) {
  if (entry.begin > entry.end)
    throw FileError(file, entry.name, text("its data_offsets ", entry.begin, ", ", entry.end, " run backwards"));
  if (entry.end > data_bytes) {
    throw FileError(file, entry.name,
                    text("its data ends at byte ", entry.end, ", but the file holds ", data_bytes, " bytes of data"));
  }
  // Sizes of 0 count as 1 here, so that strides, which skip them, cannot overflow either.
  std::uint64_t bits = 1;
  const int element_bits = safetensors_dtype_bits(entry.dtype);
  bool empty = false, fits = multiply_checked(1, static_cast<std::uint64_t>(element_bits == 0 ? 1 : element_bits), bits);
  for (const std::int64_t size : entry.shape) {
    empty = empty || size == 0;
    fits = fits && multiply_checked(bits, static_cast<std::uint64_t>(size == 0 ? 1 : size), bits);
  }
  if (!fits) throw FileError(file, entry.name, text("its shape ", shape_text(entry.shape), " overflows"));
  if (element_bits == 0) return;
  if (empty) bits = 0;
  if (bits % 8 != 0)
    throw FileError(file, entry.name,
                    text("its shape ", shape_text(entry.shape), " of ", entry.dtype, " does not fill whole bytes"));
  if (entry.end - entry.begin != bits / 8) {
    throw FileError(file, entry.name,
                    text("its shape ", shape_text(entry.shape), " of ", entry.dtype, " takes ", bits / 8,
                         " bytes, its data_offsets span ", entry.end - entry.begin));
  }
}

}  // namespace detail

/// Parses and checks the header `json` of a file with `data_bytes` bytes after the header; `file` is its name, for errors.
/// Throws FileError that names the file, the tensor and the reason. Memory stays within a small multiple of the header's length.
inline SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t data_bytes, const std::string& file) {
  if (json.empty() || json.front() != '{') throw FileError(file, "its header does not begin with '{'");
  // The JSON library takes a NUL for the end of its input and would not see what follows it.
  if (json.find('\0') != std::string_view::npos) throw FileError(file, "its header holds a NUL byte");
  detail::SafetensorsHandler handler(file);
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &handler)) throw FileError(file, "its header is not valid JSON");
  SafetensorsHeader header = handler.take();

  for (const SafetensorsEntry& entry : header.tensors) detail::check_safetensors_entry(entry, data_bytes, file);
  std::stable_sort(header.tensors.begin(), header.tensors.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::uint64_t covered = 0;
  const SafetensorsEntry* previous = nullptr;
  for (const SafetensorsEntry& entry : header.tensors) {
    if (entry.begin < covered) {
      throw FileError(file, entry.name, text("its data overlaps that of ", detail::quote(previous->name)));
    }
    if (entry.begin > covered) {
      throw FileError(file, entry.name,
                      text("its data begins at byte ", entry.begin, ", after a gap of ", entry.begin - covered, " bytes"));
    }
    covered = entry.end;
    previous = &entry;
  }
  if (covered != data_bytes) throw FileError(file, text("its last ", data_bytes - covered, " bytes belong to no tensor"));
  return header;
}

}  // namespace w8a8
