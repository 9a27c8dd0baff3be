// The index of a checkpoint that is split into shards (model.safetensors.index.json), parsed as hostile input, and written.
//
// A JSON object: "weight_map" maps each tensor's name to the file beside the index that holds it; "metadata", where present, says
// the bytes of all tensors ("total_size") and whatever else its writer liked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "w8a8/io/file_error.hpp"
#include "w8a8/io/json.hpp"

namespace w8a8 {

struct SafetensorsIndex {
  std::map<std::string, std::string> shard_of;  ///< tensor to file name, which holds no path separator
  std::optional<std::uint64_t> total_size;  ///< what the index says of the tensors' bytes, where it is an integer; often wrong
};

/// Longer indices are refused.
inline constexpr std::size_t maximum_safetensors_index = 100'000'000;

namespace detail {

/// Empty where a file of that name lies beside the index, whatever the name; else what is wrong with it.
inline std::string shard_name_fault(std::string_view name) {
  if (name.empty()) return "is empty";
  if (name == "." || name == "..") return "is a directory";
  for (const char c : name) {
    if (c == '/' || c == '\\') return "holds a path separator";
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) return "holds a control character";
  }
  if (name.size() > 255) return "is longer than 255 bytes";
  return "";
}

/// Receives the index piece by piece; keeps names and shards, and passes over what other writers add.
class SafetensorsIndexHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit SafetensorsIndexHandler(const std::string& file) : file_(file) {}

  SafetensorsIndex take() {
    if (!sections_.count("weight_map")) throw FileError(file_, "has no weight_map");
    if (index_.shard_of.empty()) throw FileError(file_, "its weight_map is empty");
    return std::move(index_);
  }

  bool start_object(std::size_t) override {
    if (in_weight_map() && depth_ == 2) unexpected("an object");
    ++depth_;
    return true;
  }
  bool start_array(std::size_t) override {
    value("an array");
    ++depth_;
    return true;
  }
  bool end_object() override { return --depth_, true; }
  bool end_array() override { return --depth_, true; }

  bool key(string_t& key) override {
    if (depth_ == 1) {
      section_ = key;
      if (!sections_.insert(section_).second) throw FileError(file_, "has two entries " + quote(section_));
    } else if (depth_ == 2) {
      name_ = key;
      if (in_weight_map() && !index_.shard_of.emplace(name_, std::string()).second) {
        throw FileError(file_, name_, "appears twice in the weight_map");
      }
    }
    return true;
  }

  bool string(string_t& shard) override {
    if (depth_ != 2 || !in_weight_map()) return value("a string");
    const std::string fault = shard_name_fault(shard);
    if (!fault.empty()) throw FileError(file_, name_, "the name of its file, " + quote(shard) + ", " + fault);
    index_.shard_of[name_] = shard;
    return true;
  }

  bool number_unsigned(number_unsigned_t number) override {
    value("a number");
    if (depth_ == 2 && section_ == "metadata" && name_ == "total_size") index_.total_size = number;
    return true;
  }

  bool null() override { return value("null"); }
  bool boolean(bool) override { return value("a boolean"); }
  bool number_integer(number_integer_t) override { return value("a number"); }
  bool number_float(number_float_t, const string_t&) override { return value("a number"); }
  bool binary(binary_t&) override { return value("binary data"); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    throw FileError(file_, text("is not valid JSON at byte ", position, ": ", json_reason(error)));
  }

 private:
  bool in_weight_map() const { return depth_ >= 1 && section_ == "weight_map"; }

  /// A value that is no object; in the weight_map only texts belong.
  bool value(const char* what) const {
    if (depth_ == 0) throw FileError(file_, text("is ", what, ", not an object"));
    if (in_weight_map()) unexpected(what);
    return true;
  }

  [[noreturn]] void unexpected(const char* what) const {
    if (depth_ == 1) throw FileError(file_, text("its weight_map is ", what, ", not an object"));
    throw FileError(file_, name_, text("the name of its file is ", what));
  }

  const std::string& file_;
  SafetensorsIndex index_;
  std::set<std::string> sections_;
  std::string section_, name_;
  std::size_t depth_ = 0;  // containers that are open
};

}  // namespace detail

/// Parses and checks the index `json`; `file` is its name, for errors. Throws FileError that names the file, the tensor and the
/// reason. That the shards hold what the index says is for Checkpoint to see.
inline SafetensorsIndex parse_safetensors_index(std::string_view json, const std::string& file) {
  if (json.size() > maximum_safetensors_index) {
    throw FileError(file, text("is ", json.size(), " bytes long, more than the limit of ", maximum_safetensors_index));
  }
  // The JSON library takes a NUL for the end of its input and would not see what follows it.
  if (json.find('\0') != std::string_view::npos) throw FileError(file, "holds a NUL byte");
  detail::SafetensorsIndexHandler handler(file);
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &handler)) throw FileError(file, "is not valid JSON");
  return handler.take();
}

/// Writes an index to `path`, atomically. Throws FileError where a name is not valid UTF-8 or the disk refuses.
inline void write_safetensors_index(const std::string& path, const SafetensorsIndex& index) {
  Json document = {{"metadata", Json::object()}, {"weight_map", Json::object()}};
  if (index.total_size) document["metadata"]["total_size"] = *index.total_size;
  auto& map = document["weight_map"].get_ref<Json::object_t&>();
  for (const auto& [name, shard] : index.shard_of) map.push_back({name, Json(shard)});
  write_json(path, document);
}

}  // namespace w8a8
