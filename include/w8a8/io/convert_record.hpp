// The record of a conversion, w8a8_convert.json in its output directory: which shards are done, with what input and options, and
// what each layer lost. A run that was cut off goes on from there.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "w8a8/io/file_error.hpp"
#include "w8a8/io/json.hpp"
#include "w8a8/io/quantization_config.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8 {

/// What quantization cost one layer's weight (smoothed, where it is): signal-to-noise ratios in dB, infinite where nothing was
/// lost.
struct ConvertedLayer {
  std::string name;   ///< of the module
  std::string dtype;  ///< of its weight before
  std::int64_t out_features = 0, in_features = 0;
  double snr_db = 0.0;
  std::int64_t worst_channel = 0;  ///< the output channel with the lowest ratio
  double worst_snr_db = 0.0;
};

/// The name of the file in the output directory that says what is done and with what options: a run that was cut off goes on from
/// there, and a finished checkpoint keeps it as its record.
inline constexpr const char* convert_record_name = "w8a8_convert.json";

namespace detail {

/// A sum over bytes, 8 at a time, that changes with every bit: against accidents, not against forgers. It does not depend on how
/// the bytes are cut into calls of update(), as long as all but the last are multiples of 8.
class Checksum {
 public:
  void update(const void* data, std::size_t bytes) {
    const char* from = static_cast<const char*>(data);
    for (; bytes > 0;) {
      std::uint64_t word = 0;
      const std::size_t count = min_of<std::size_t>(bytes, sizeof word);
      std::memcpy(&word, from, count);
      state_ = (state_ ^ word) * 0x9e3779b97f4a7c15u;
      state_ ^= state_ >> 29;
      from += count;
      bytes -= count;
    }
  }
  void update(const std::string& text) {
    const std::uint64_t length = text.size();
    update(&length, sizeof length);
    update(text.data(), text.size());
  }

  std::string hex() const {
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(state_));
    return digits;
  }

 private:
  std::uint64_t state_ = 0x2545f4914f6cdd1du;
};

/// The checksum of a file's bytes, or an empty text where it cannot be read.
inline std::string file_checksum(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> buffer(1 << 20);
  Checksum sum;
  while (file) {
    file.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    sum.update(buffer.data(), static_cast<std::size_t>(file.gcount()));
  }
  return file.eof() ? sum.hex() : "";
}

inline Json layer_json(const ConvertedLayer& layer) {
  const auto number = [](double db) { return std::isfinite(db) ? Json(db) : Json(nullptr); };
  return {{"name", layer.name},
          {"dtype", layer.dtype},
          {"out_features", layer.out_features},
          {"in_features", layer.in_features},
          {"snr_db", number(layer.snr_db)},
          {"worst_channel", layer.worst_channel},
          {"worst_snr_db", number(layer.worst_snr_db)}};
}

inline ConvertedLayer layer_from_json(const Json& json) {
  const auto number = [](const Json& db) { return db.is_null() ? std::numeric_limits<double>::infinity() : db.get<double>(); };
  return {json.at("name").get<std::string>(),
          json.at("dtype").get<std::string>(),
          json.at("out_features").get<std::int64_t>(),
          json.at("in_features").get<std::int64_t>(),
          number(json.at("snr_db")),
          json.at("worst_channel").get<std::int64_t>(),
          number(json.at("worst_snr_db"))};
}

/// The record in the directory `output`. It is kept compact: a mixture of experts has tens of thousands of layers.
class ConvertRecord {
 public:
  ConvertRecord() = default;

  /// Reads the record of a run before this one, or begins one where the directory is not there or empty. fingerprint: stands for
  /// everything that the output depends on. Throws FileError where the directory holds something else, or the record of another
  /// conversion.
  ConvertRecord(const std::string& output, const std::string& fingerprint) : output_(output) {
    namespace fs = std::filesystem;
    document_ = {{"program", "w8a8_convert"},
                 {"version", text(W8A8_VERSION_MAJOR, ".", W8A8_VERSION_MINOR, ".", W8A8_VERSION_PATCH)},
                 {"fingerprint", fingerprint},
                 {"shards", Json::object()}};
    std::error_code code;
    if (!fs::exists(output, code)) return;
    if (!fs::is_directory(output, code)) throw FileError(output, "is not a directory");
    bool empty = true;
    for (fs::directory_iterator it(output, code); !code && it != fs::directory_iterator(); it.increment(code))
      empty = empty && is_leftover(it->path().filename().string());
    if (code) throw FileError(output, "cannot be listed: " + code.message());
    if (empty) return;
    if (!fs::exists(path(), code)) {
      throw FileError(output,
                      text("is not empty and holds no ", convert_record_name, " to go on from: choose another directory"));
    }
    Json found = read_json(path());
    if (!found.is_object() || !member(found, "shards").is_object()) throw FileError(path(), "is no record of a conversion");
    for (const char* key : {"program", "version", "fingerprint"}) {
      if (member(found, key) != document_[key]) {
        throw FileError(path(), text("is of a conversion with other input, options or version (", key,
                                     " differs): choose another directory, or remove this one"));
      }
    }
    document_ = std::move(found);
  }

  /// Makes the directory where it is not there; removes what a run that was killed left half written.
  void open() const {
    namespace fs = std::filesystem;
    std::error_code code;
    fs::create_directories(output_, code);
    if (code) throw FileError(output_, "cannot be made: " + code.message());
    write_json(path(), document_, -1);
    std::vector<fs::path> leftovers;
    const auto options = fs::directory_options::skip_permission_denied;
    for (fs::recursive_directory_iterator it(output_, options, code); !code && it != fs::recursive_directory_iterator();
         it.increment(code)) {
      if (is_leftover(it->path().filename().string())) leftovers.push_back(it->path());
    }
    for (const fs::path& each : leftovers) fs::remove(each, code);
  }

  /// True where the shard is done, and it is there as it was written; then its layers join `layers`.
  bool keeps(const std::string& file, std::vector<ConvertedLayer>& layers) const {
    const Json& entry = member(document_["shards"], file.c_str());
    if (entry.is_null()) return false;
    try {
      const auto checksum = entry.at("checksum").get<std::string>();
      std::vector<ConvertedLayer> found;
      for (const Json& layer : entry.at("layers")) found.push_back(layer_from_json(layer));
      if (checksum.empty() || file_checksum((std::filesystem::path(output_) / file).string()) != checksum) return false;
      layers.insert(layers.end(), found.begin(), found.end());
      return true;
    } catch (const Json::exception&) {
      return false;
    }
  }

  /// Records a shard that has its name now, and its layers: those of `layers` from the first `before` on.
  void add(const std::string& file, const std::vector<ConvertedLayer>& layers, std::size_t before) {
    Json own = Json::array();
    for (std::size_t i = before; i < layers.size(); ++i) own.push_back(layer_json(layers[i]));
    document_["shards"][file] = {{"checksum", file_checksum((std::filesystem::path(output_) / file).string())}, {"layers", own}};
    write_json(path(), document_, -1);
  }

 private:
  std::string path() const { return (std::filesystem::path(output_) / convert_record_name).string(); }

  /// What an AtomicFile of a process that was killed leaves: "name.tmp-<process>-<number>".
  static bool is_leftover(const std::string& name) {
    const std::size_t mark = name.rfind(".tmp-");
    return mark != std::string::npos && mark > 0 && name.find_first_not_of("0123456789-", mark + 5) == std::string::npos;
  }

  std::string output_;
  Json document_;
};

}  // namespace detail

}  // namespace w8a8
