// What a run reports: the JSON of a result file, the table, the progress line.
#pragma once

#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "limits.hpp"
#include "shapes.hpp"
#include "statistics.hpp"

namespace w8a8::bench {

/// Times of one row in microseconds; zero or less where a figure was not taken.
struct Row {
  Shape shape;
  std::string kernel;           ///< the configuration that ran
  Summary burst;                ///< after 100 ms of idling
  Summary sustained;            ///< after 400 ms of load
  double sm_mhz = 0;            ///< SM clock in the bursts
  double sm_mhz_sustained = 0;  ///< SM clock in the sustained figure
  double operations = 0, bytes = 0;
  double limit_us = 0;
  Summary dependent, dependent_sustained;  ///< with dependent launch, in the suites that measure both
  double copy_fraction = 0;                ///< of the card's copy bandwidth, in the suite that is to reach it
  std::map<std::string, Summary> peers, peers_sustained;
  std::map<std::string, std::string> peer_kernels;  ///< what the peer ran, where it can be told
  std::map<std::string, Summary> peer_parts;        ///< kernels of a peer, each for itself: no peers of ours

  /// True where the row or one of its peers scattered too much to be trusted.
  bool noisy() const {
    for (const auto& peer : peers) {
      if (peer.second.noisy) return true;
    }
    return burst.noisy;
  }
};

struct Report {
  std::string suite;
  nlohmann::json context = nlohmann::json::object();
  Limits limits;
  std::vector<Row> rows;
  struct Skipped {
    Shape shape;
    std::string reason;
  };
  std::vector<Skipped> skipped;
  nlohmann::json summary;  ///< what the suite reads out of its rows; null for none
};

namespace detail {

/// Four significant digits are more than a timing holds; null where there is no figure.
inline nlohmann::json figure(double value) {
  if (!(value > 0)) return nullptr;
  char text[32];
  std::snprintf(text, sizeof text, "%.5g", value);
  return std::stod(text);
}

inline nlohmann::json figures(const std::map<std::string, Summary>& summaries) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& entry : summaries) json[entry.first] = figure(entry.second.median);
  return json;
}

}  // namespace detail

inline nlohmann::json to_json(const Limits& limits) {
  using detail::figure;
  nlohmann::json stream = nlohmann::json::array();
  for (const auto& point : limits.stream_read) stream.push_back({{"bytes", point.bytes}, {"us", figure(point.us)}});
  return {{"wgmma_s8_tops", figure(limits.wgmma_s8_tops)},
          {"wgmma_s8_tops_sustained", figure(limits.wgmma_s8_tops_sustained)},
          {"mma_sync_s8_tops", figure(limits.mma_sync_s8_tops)},
          {"mma_sync_s8_tops_sustained", figure(limits.mma_sync_s8_tops_sustained)},
          {"dram_read_gbps", figure(limits.dram_read_gbps)},
          {"dram_copy_gbps", figure(limits.dram_copy_gbps)},
          {"empty_kernel_us", figure(limits.empty_kernel_us)},
          {"stream_read_us", stream}};
}

inline nlohmann::json to_json(const Row& row) {
  using detail::figure;
  const double us = row.burst.median;
  nlohmann::json json = {{"name", row.shape.name},
                         {"m", row.shape.m},
                         {"n", row.shape.n},
                         {"k", row.shape.k},
                         {"kernel", row.kernel},
                         {"us", figure(us)},
                         {"us_min", figure(row.burst.min)},
                         {"us_max", figure(row.burst.max)},
                         {"us_sustained", figure(row.sustained.median)},
                         {"sm_mhz", figure(row.sm_mhz)},
                         {"sm_mhz_sustained", figure(row.sm_mhz_sustained)},
                         {"tops", us > 0 ? figure(row.operations / us * 1e-6) : nullptr},
                         {"gbps", us > 0 ? figure(row.bytes / us * 1e-3) : nullptr},
                         {"limit_us", figure(row.limit_us)},
                         {"noisy", row.noisy()},
                         {"peers", detail::figures(row.peers)},
                         {"peers_sustained", detail::figures(row.peers_sustained)}};
  if (row.dependent.median > 0) {
    json["us_dependent_launch"] = figure(row.dependent.median);
    json["us_dependent_launch_sustained"] = figure(row.dependent_sustained.median);
  }
  if (row.copy_fraction > 0) json["copy_fraction"] = figure(row.copy_fraction);
  if (!row.peer_kernels.empty()) json["peer_kernels"] = row.peer_kernels;
  if (!row.peer_parts.empty()) json["peer_parts"] = detail::figures(row.peer_parts);
  return json;
}

inline nlohmann::json to_json(const Report& report) {
  nlohmann::json results = nlohmann::json::array(), skipped = nlohmann::json::array();
  for (const Row& row : report.rows) results.push_back(to_json(row));
  for (const auto& row : report.skipped) {
    skipped.push_back(
        {{"name", row.shape.name}, {"m", row.shape.m}, {"n", row.shape.n}, {"k", row.shape.k}, {"reason", row.reason}});
  }
  nlohmann::json json = {
      {"suite", report.suite}, {"context", report.context}, {"limits", to_json(report.limits)}, {"results", results}};
  if (!skipped.empty()) json["skipped"] = skipped;
  if (!report.summary.is_null()) json["summary"] = report.summary;
  return json;
}

/// Throws UsageError that names the first field by which `json` is not a result file. `file` is for the message.
inline void validate_results(const nlohmann::json& json, const std::string& file) {
  const auto require = [&](bool good, const std::string& where, const std::string& expected) {
    if (!good) throw UsageError(file + ": not a result file: " + where + " must be " + expected);
  };
  const auto number = [](const nlohmann::json& object, const char* key, bool nullable) {
    const auto found = object.find(key);
    return found != object.end() && (found->is_number() || (nullable && found->is_null()));
  };
  require(json.is_object(), "the document", "an object");
  require(json.contains("context") && json["context"].is_object(), "context", "an object");
  for (const char* key : {"device", "driver", "cuda", "date", "headers_sha256"}) {
    require(json["context"].contains(key) && json["context"][key].is_string(), std::string("context.") + key, "a string");
  }
  require(json.contains("limits") && json["limits"].is_object(), "limits", "an object");
  for (const char* key : {"wgmma_s8_tops", "mma_sync_s8_tops", "dram_read_gbps", "dram_copy_gbps"}) {
    require(number(json["limits"], key, true), std::string("limits.") + key, "a number or null");
  }
  require(json.contains("results") && json["results"].is_array(), "results", "an array");
  int index = 0;
  for (const nlohmann::json& row : json["results"]) {
    const std::string where = "results[" + std::to_string(index++) + "]";
    require(row.is_object(), where, "an object");
    for (const char* key : {"name", "kernel"}) require(row.contains(key) && row[key].is_string(), where + "." + key, "a string");
    for (const char* key : {"m", "n", "k"}) {
      require(row.contains(key) && row[key].is_number_integer(), where + "." + key, "an integer");
    }
    for (const char* key : {"us", "us_min", "us_max"}) {
      require(number(row, key, false) && row[key].get<double>() > 0, where + "." + key, "a number above 0");
    }
    for (const char* key : {"us_sustained", "sm_mhz", "tops", "gbps", "limit_us"}) {
      require(number(row, key, true), where + "." + key, "a number or null");
    }
    for (const char* key : {"us_dependent_launch", "us_dependent_launch_sustained", "copy_fraction"}) {
      require(!row.contains(key) || number(row, key, true), where + "." + key, "a number or null");
    }
    require(row.contains("peers") && row["peers"].is_object(), where + ".peers", "an object");
    for (const auto& peer : row["peers"].items()) {
      require(peer.value().is_number() || peer.value().is_null(), where + ".peers." + peer.key(), "a number or null");
    }
  }
}

/// Reads and validates a result file. Throws UsageError.
inline nlohmann::json read_results(const std::string& file) {
  std::ifstream stream(file);
  if (!stream) throw UsageError(file + ": cannot be read");
  const nlohmann::json json = nlohmann::json::parse(stream, nullptr, false);
  if (json.is_discarded()) throw UsageError(file + ": not JSON");
  validate_results(json, file);
  return json;
}

/// The text of a result file: a line a row, so that a change of one row is a change of one line.
inline std::string result_text(const nlohmann::json& json) {
  std::string text = "{";
  for (const auto& member : json.items()) {
    text += (text.size() > 1 ? ",\n " : "\n ") + nlohmann::json(member.key()).dump() + ": ";
    if (member.key() == "results" && !member.value().empty()) {
      std::string rows;
      for (const nlohmann::json& row : member.value()) rows += (rows.empty() ? "[\n  " : ",\n  ") + row.dump();
      text += rows + "\n ]";
    } else {
      text += member.value().dump();
    }
  }
  return text + "\n}\n";
}

/// Writes by way of FILE.part, so that a run that is cut off leaves no file that looks whole. Throws UsageError.
inline void write_results(const nlohmann::json& json, const std::string& file, bool complete) {
  const std::string part = file + ".part";
  {
    std::ofstream stream(part);
    stream << result_text(json);
    if (!stream) throw UsageError("--json: cannot write " + part);
  }
  if (complete && std::rename(part.c_str(), file.c_str()) != 0) throw UsageError("--json: cannot write " + file);
}

namespace detail {

/// At most seven characters: 1.234, 12.34, 123.4, 12345.
inline std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value < 10 ? "%.3f" : value < 100 ? "%.2f" : value < 1000 ? "%.1f" : "%.0f", value);
  return text;
}

/// "cublaslt_fp8_rowwise" as "fp8_rowwise", "cublaslt_int8_dequant" as "int8".
inline std::string short_peer(const std::string& name) {
  std::string text = name.rfind("cublaslt_", 0) == 0 ? name.substr(9) : name;
  if (text == "int8_dequant") text = "int8";
  return text;
}

}  // namespace detail

/// What the rows of a table have in the column after the limit.
enum class TableColumn { limit_percent, dependent_launch };

/// The heads of the table; it fits 80 columns. Times in microseconds; "pdl": with programmatic dependent launch.
inline std::string table_header(TableColumn column = TableColumn::limit_percent) {
  char line[128];
  std::snprintf(line, sizeof line, "%-11s %-17s %7s %7s %7s %-16s %6s", "name", "MxNxK", "us", "limit",
                column == TableColumn::limit_percent ? "%lim" : "pdl us", "best peer", "ratio");
  return line;
}

/// A row of the table. The ratio is the best peer's time over ours: above 1 we are faster. '~' marks a row that was too noisy.
inline std::string table_row(const Row& row) {
  const double us = row.burst.median;
  std::string best = "-", ratio = "-";
  double best_us = 0;
  for (const auto& peer : row.peers) {
    const double peer_us = peer.second.median;
    if (peer_us > 0 && (best_us == 0 || peer_us < best_us)) {
      best_us = peer_us;
      best = detail::short_number(peer_us) + " " + detail::short_peer(peer.first);
    }
  }
  char text[160];
  if (best_us > 0 && us > 0) {
    std::snprintf(text, sizeof text, "%.2fx", best_us / us);
    ratio = text;
  }
  std::string third = "-";
  if (row.dependent.median > 0) {
    third = detail::short_number(row.dependent.median);
  } else if (row.limit_us > 0 && us > 0) {
    char percent[16];
    std::snprintf(percent, sizeof percent, "%.0f%%", 100 * row.limit_us / us);
    third = percent;
  }
  // A name that is too long for its column borrows from the shape's, which is flushed right then.
  const std::string size = row.shape.text();
  std::string label = row.shape.name + std::string(row.shape.name.size() < 11 ? 11 - row.shape.name.size() : 0, ' ') + ' ';
  if (row.shape.name.size() > 11 && label.size() + size.size() < 29) label.resize(29 - size.size(), ' ');
  label += size;
  std::snprintf(text, sizeof text, "%-29s %7s %7s %7s %-16s %6s%s", label.c_str(),
                us > 0 ? detail::short_number(us).c_str() : "-",
                row.limit_us > 0 ? detail::short_number(row.limit_us).c_str() : "-", third.c_str(), best.c_str(), ratio.c_str(),
                row.noisy() ? " ~" : "");
  return text;
}

/// "[12/55] l8b_down 64x4096x14336, 1:20 left".
inline std::string progress_line(int done, int total, const Shape& next, double elapsed_seconds) {
  std::string line = "[" + std::to_string(done + 1) + "/" + std::to_string(total) + "] " + next.name + " " + next.text();
  if (done > 0) {
    const int left = static_cast<int>(std::lround(elapsed_seconds / done * (total - done)));
    char text[32];
    std::snprintf(text, sizeof text, ", %d:%02d left", left / 60, left % 60);
    line += text;
  }
  return line;
}

}  // namespace w8a8::bench
