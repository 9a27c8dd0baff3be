// JSON from files, as hostile input: what the readers of io/ share, and small documents as a tree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "w8a8/io/atomic_file.hpp"
#include "w8a8/io/file_error.hpp"
#include "w8a8/io/mapped_file.hpp"

namespace w8a8 {

/// A JSON document whose objects keep the order of their entries.
using Json = nlohmann::ordered_json;

/// Longer documents are refused: a tree takes many times its text.
inline constexpr std::size_t maximum_json_bytes = 16u << 20;

/// Documents nested deeper than this are refused.
inline constexpr std::size_t maximum_json_depth = 64;

namespace detail {

/// The reason in an exception of the JSON library, fit for a message. The library's text ends with what it read last, which may
/// be as long as the file.
inline std::string json_reason(const std::exception& error) {
  std::string reason = error.what();
  reason = reason.substr(0, reason.find("; last read"));
  const std::size_t bracket = reason.find("] ");
  if (bracket != std::string::npos) reason.erase(0, bracket + 2);
  return quote(reason);
}

/// "/a/b" of a document, the member that is being read.
inline std::string json_path(const std::vector<std::string>& keys) {
  std::string path;
  for (const std::string& key : keys) path += "/" + key;
  return path;
}

/// Builds a tree, and refuses what the library's own builder takes: equal keys in one object (it keeps the last) and any depth
/// (copies and destructors of a tree are recursive).
class JsonTreeHandler : public nlohmann::json_sax<Json> {
 public:
  explicit JsonTreeHandler(const std::string& file) : file_(file) {}

  Json take() { return std::move(root_); }

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t value) override { return put(value); }
  bool number_unsigned(number_unsigned_t value) override { return put(value); }
  bool number_float(number_float_t value, const string_t&) override { return put(value); }
  bool string(string_t& value) override { return put(std::move(value)); }
  bool binary(binary_t&) override { throw FileError(file_, "holds binary data"); }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& key) override {
    if (!keys_.back().insert(key).second) throw FileError(file_, "has two entries " + quote(json_path(path_) + "/" + key));
    key_ = key;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    throw FileError(file_, text("is not valid JSON at byte ", position, ": ", json_reason(error)));
  }

 private:
  /// Places a value where the document is; returns true for the handler to return.
  template <class T>
  bool put(T&& value) {
    place(Json(std::forward<T>(value)));
    return true;
  }

  Json& place(Json&& value) {
    if (open_.empty()) return root_ = std::move(value);
    if (open_.back()->is_array()) {
      auto& array = open_.back()->get_ref<Json::array_t&>();
      array.push_back(std::move(value));
      return array.back();
    }
    // Not operator[]: it searches all entries before this one.
    auto& object = open_.back()->get_ref<Json::object_t&>();
    object.push_back({key_, std::move(value)});
    return object.back().second;
  }

  bool open(Json&& value) {
    if (open_.size() == maximum_json_depth) throw FileError(file_, text("is nested deeper than ", maximum_json_depth));
    if (!open_.empty()) path_.push_back(open_.back()->is_array() ? std::to_string(open_.back()->size()) : key_);
    open_.push_back(&place(std::move(value)));
    keys_.emplace_back();
    return true;
  }

  bool close() {
    open_.pop_back();
    keys_.pop_back();
    if (!path_.empty()) path_.pop_back();
    return true;
  }

  const std::string& file_;
  Json root_;
  std::vector<Json*> open_;  // the containers that are open: none moves before it is closed
  std::vector<std::set<std::string>> keys_;
  std::vector<std::string> path_;
  std::string key_;
};

}  // namespace detail

/// Parses the document `json`; `file` is its name, for errors. Throws FileError where it is not valid JSON, longer than
/// maximum_json_bytes, nested deeper than maximum_json_depth, or has two equal keys in one object.
inline Json parse_json(std::string_view json, const std::string& file) {
  if (json.size() > maximum_json_bytes) {
    throw FileError(file, text("is ", json.size(), " bytes long, more than the limit of ", maximum_json_bytes));
  }
  // The JSON library takes a NUL for the end of its input and would not see what follows it.
  if (json.find('\0') != std::string_view::npos) throw FileError(file, "holds a NUL byte");
  detail::JsonTreeHandler handler(file);
  if (!Json::sax_parse(json.begin(), json.end(), &handler)) throw FileError(file, "is not valid JSON");
  return handler.take();
}

/// Reads the document in the file `path`. Throws FileError as parse_json does, or where the file cannot be read.
inline Json read_json(const std::string& path) {
  const MappedFile file(path);
  return parse_json({reinterpret_cast<const char*>(file.data()), file.size()}, path);
}

/// Writes a document to `path`, atomically, indented by `indent` (-1: on one line). Throws FileError where a text in it is not
/// valid UTF-8 or the disk refuses.
inline void write_json(const std::string& path, const Json& document, int indent = 2) {
  std::string out;
  try {
    out = document.dump(indent) + "\n";
  } catch (const Json::exception& error) {
    throw FileError(path, "cannot be written: " + detail::json_reason(error));
  }
  AtomicFile file(path);
  file.write(0, out.data(), out.size());
  file.commit();
}

}  // namespace w8a8
