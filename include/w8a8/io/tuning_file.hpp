// Tuning files: the configurations that `w8a8_bench tune` found fastest on a card, as JSON, read as hostile input.
//
// {"schema": "w8a8-tuning-1", "device": "NVIDIA H200", "compute_capability": 90, "multiprocessors": 132,
//  "entries": [{"m": 16, "n": 6144, "k": 4096, "configuration": "sm80_decode/16x32_w4_s4", "us": 8.5}, ...]}
//
// Each of these entries must be there, once, and no other; "device" is for people. Names of configurations are not checked here:
// gemm() passes over those that it does not know, as a file of another version may hold.
#pragma once

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "w8a8/gemm/problem.hpp"
#include "w8a8/gemm/tuning/table.hpp"
#include "w8a8/io/atomic_file.hpp"
#include "w8a8/io/file_error.hpp"
#include "w8a8/io/mapped_file.hpp"

namespace w8a8 {

inline constexpr const char* tuning_file_schema = "w8a8-tuning-1";

/// Larger files are refused: this is some 100,000 entries.
inline constexpr std::size_t maximum_tuning_file = 16'000'000;

/// Longer names of configurations are refused.
inline constexpr std::size_t maximum_configuration_name = 100;

namespace detail {

/// Receives the file's JSON piece by piece: nothing is built for pieces that are not expected, and an entry that is there twice
/// is seen.
class TuningHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit TuningHandler(const std::string& file) : file_(file) {}

  /// Once the document is complete.
  TuningTable take() {
    return TuningTable(static_cast<int>(header_[capability]), static_cast<int>(header_[multiprocessors]), std::move(entries_));
  }

  bool start_object(std::size_t) override {
    if (depth_ == 0) return open();
    if (depth_ != 1 || !array_) unexpected("an object");
    entries_.emplace_back();
    seen_ = 0;
    return open();
  }

  bool end_object() override {
    const bool entry = depth_ == 2;
    for (int i = 0; i < 5; ++i) {
      if (!((entry ? seen_ : seen_header_) & 1u << i)) fail(text("has no ", names(entry)[i]));
    }
    --depth_;
    return true;
  }

  bool key(string_t& name) override {
    const bool entry = depth_ == 2;
    unsigned& seen = entry ? seen_ : seen_header_;
    for (field_ = 0; field_ < 5; ++field_) {
      if (name == names(entry)[field_]) break;
    }
    if (field_ == 5) fail("has an unknown member " + quote(name));
    if (seen & 1u << field_) fail("has two members " + quote(name));
    seen |= 1u << field_;
    return true;
  }

  bool start_array(std::size_t) override {
    if (depth_ != 1 || array_ || field_ != entries) unexpected("an array");
    array_ = true;
    return true;
  }

  bool end_array() override {
    array_ = false;
    return true;
  }

  bool string(string_t& value) override {
    if (depth_ == 1 && !array_ && field_ == schema) {
      if (value != tuning_file_schema) fail(text("has schema ", quote(value), "; known is '", tuning_file_schema, "'"));
    } else if (depth_ == 2 && field_ == configuration) {
      if (value.empty() || value.size() > maximum_configuration_name) {
        fail(text("has a configuration of ", value.size(), " characters; 1 to ", maximum_configuration_name, " are allowed"));
      }
      entries_.back().configuration = value;
    } else if (!(depth_ == 1 && !array_ && field_ == device)) {
      unexpected("a string");
    }
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    constexpr number_unsigned_t limit = 0x7fffffff;
    if (depth_ == 2 && field_ == us) return microseconds(static_cast<double>(value));
    const bool header = depth_ == 1 && !array_ && (field_ == capability || field_ == multiprocessors);
    if (!header && !(depth_ == 2 && field_ <= k)) unexpected("a number");
    const char* name = names(depth_ == 2)[field_];
    if (value < 1 || value > limit) fail(text("has ", name, " = ", value, "; 1 to ", limit, " is allowed"));
    if (header) {
      header_[field_] = value;
      return true;
    }
    if (field_ == k && value > static_cast<number_unsigned_t>(maximum_k)) {
      fail(text("has k = ", value, "; 1 to ", maximum_k, " is allowed"));
    }
    TuningEntry& entry = entries_.back();
    (field_ == m ? entry.m : field_ == n ? entry.n : entry.k) = static_cast<int>(value);
    return true;
  }

  bool number_float(number_float_t value, const string_t&) override {
    return depth_ == 2 && field_ == us ? microseconds(value) : unexpected("a number that is no integer");
  }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    throw FileError(file_, text("is not valid JSON at byte ", position));
  }

 private:
  // Members by their position in names(): of the document, and of an entry.
  enum Header { schema, device, capability, multiprocessors, entries };
  enum Entry { m, n, k, configuration, us };
  static const char* const* names(bool entry) {
    static constexpr const char* of_header[] = {"schema", "device", "compute_capability", "multiprocessors", "entries"};
    static constexpr const char* of_entry[] = {"m", "n", "k", "configuration", "us"};
    return entry ? of_entry : of_header;
  }

  bool open() {
    ++depth_;
    return true;
  }

  bool microseconds(double value) {
    if (!(value > 0) || std::isinf(value)) fail("has us that is not a finite number above 0");
    entries_.back().microseconds = value;
    return true;
  }

  [[noreturn]] void fail(const std::string& reason) const {
    throw FileError(file_, depth_ == 2 ? text("entry ", entries_.size() - 1, " ", reason) : reason);
  }

  [[noreturn]] bool unexpected(const char* what) const {
    if (depth_ == 0) throw FileError(file_, text("is ", what, ", not an object"));
    if (depth_ == 1 && array_) throw FileError(file_, text("entry ", entries_.size(), " is ", what, ", not an object"));
    fail(text("has ", what, " in ", names(depth_ == 2)[field_]));
  }

  const std::string& file_;
  std::vector<TuningEntry> entries_;
  number_unsigned_t header_[5] = {};
  int depth_ = 0;                        // objects that are open
  bool array_ = false;                   // inside "entries"
  int field_ = 0;                        // the member being read
  unsigned seen_ = 0, seen_header_ = 0;  // a bit a member
};

}  // namespace detail

/// Parses the text of a tuning file; `file` is its name, for errors. Throws FileError that names the file and what is wrong with
/// it; memory stays within a small multiple of the text's length.
inline TuningTable parse_tuning_file(std::string_view json, const std::string& file) {
  if (json.size() > maximum_tuning_file) {
    throw FileError(file, text("has ", json.size(), " bytes; at most ", maximum_tuning_file, " are allowed"));
  }
  // The JSON library takes a NUL for the end of its input and would not see what follows it.
  if (json.find('\0') != std::string_view::npos) throw FileError(file, "holds a NUL byte");
  detail::TuningHandler handler(file);
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &handler)) throw FileError(file, "is not valid JSON");
  return handler.take();
}

/// Reads a tuning file. Throws FileError.
inline TuningTable read_tuning_file(const std::string& path) {
  const MappedFile file(path);
  return parse_tuning_file({reinterpret_cast<const char*>(file.data()), file.size()}, path);
}

/// Writes a tuning file, whole or not at all; `device` is the card's name. Throws FileError.
inline void write_tuning_file(const std::string& path, const TuningTable& table, const std::string& device) {
  nlohmann::ordered_json header = {{"schema", tuning_file_schema},
                                   {"device", device},
                                   {"compute_capability", table.compute_capability()},
                                   {"multiprocessors", table.multiprocessors()}};
  std::string json = header.dump();
  json.back() = ',';
  json += "\n\"entries\": [";
  const char* separator = "\n";
  for (const TuningEntry& entry : table.entries()) {
    const nlohmann::ordered_json line = {
        {"m", entry.m}, {"n", entry.n}, {"k", entry.k}, {"configuration", entry.configuration}, {"us", entry.microseconds}};
    json += separator + line.dump();
    separator = ",\n";
  }
  json += "\n]}\n";
  AtomicFile file(path);
  file.write(0, json.data(), json.size());
  file.commit();
}

}  // namespace w8a8
