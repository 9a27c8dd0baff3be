// What a sweep over M says: the steps between neighbours, and where a peer is faster. Plain arithmetic, tested without a GPU.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "report.hpp"

namespace w8a8::bench {

/// Steps above this are measured again, calmly, before they are reported.
inline constexpr double suspicious_step = 1.04;

/// The sweep of one layer.
struct SweepSummary {
  std::string name;
  int n = 0, k = 0;
  double largest_step = 1;                                    ///< time of an M over that of the M before it in the list
  int largest_step_m = 0;                                     ///< the M after the step
  std::vector<std::pair<int, double>> steps_above_5_percent;  ///< M after the step, ratio
  std::vector<int> slower_than_fp16;                          ///< M at which cuBLASLt FP16 is faster
  double worst_against_fp16 = 0;                              ///< its time over ours; 0: not measured
};

/// Rows of one layer, M ascending.
inline SweepSummary summarize_sweep(const std::vector<Row>& rows) {
  SweepSummary summary;
  const Row* before = nullptr;
  for (const Row& row : rows) {
    summary.name = row.shape.name;
    summary.n = row.shape.n;
    summary.k = row.shape.k;
    if (before) {
      const double step = row.burst.median / before->burst.median;
      if (summary.largest_step_m == 0 || step > summary.largest_step) {
        summary.largest_step = step;
        summary.largest_step_m = row.shape.m;
      }
      if (step > 1.05) summary.steps_above_5_percent.emplace_back(row.shape.m, step);
    }
    const auto peer = row.peers.find("cublaslt_fp16");
    if (peer != row.peers.end() && peer->second.median > 0) {
      const double ratio = peer->second.median / row.burst.median;
      if (ratio < 1) summary.slower_than_fp16.push_back(row.shape.m);
      if (summary.worst_against_fp16 == 0 || ratio < summary.worst_against_fp16) summary.worst_against_fp16 = ratio;
    }
    before = &row;
  }
  return summary;
}

/// Indices of rows on either side of a step up that is suspiciously high, ascending, at most `most` of them.
inline std::vector<std::size_t> rows_to_repeat(const std::vector<Row>& rows, std::size_t most) {
  std::vector<std::size_t> again;
  for (std::size_t i = 1; i < rows.size() && again.size() + 2 <= most; ++i) {
    if (rows[i].burst.median <= suspicious_step * rows[i - 1].burst.median) continue;
    if (again.empty() || again.back() != i - 1) again.push_back(i - 1);
    again.push_back(i);
  }
  return again;
}

inline nlohmann::json to_json(const SweepSummary& summary) {
  using detail::figure;
  nlohmann::json steps = nlohmann::json::array();
  for (const auto& step : summary.steps_above_5_percent) steps.push_back({{"m", step.first}, {"ratio", figure(step.second)}});
  return {{"name", summary.name},
          {"n", summary.n},
          {"k", summary.k},
          {"largest_step", figure(summary.largest_step)},
          {"largest_step_m", summary.largest_step_m},
          {"steps_above_5_percent", steps},
          {"slower_than_fp16", summary.slower_than_fp16},
          {"worst_against_fp16", figure(summary.worst_against_fp16)}};
}

inline std::string to_text(const SweepSummary& summary) {
  char line[160];
  std::snprintf(line, sizeof line, "%s: largest step %.1f%% up to M = %d, %zu steps above 5%%", summary.name.c_str(),
                100 * (summary.largest_step - 1), summary.largest_step_m, summary.steps_above_5_percent.size());
  std::string text = line;
  if (summary.worst_against_fp16 > 0) {
    std::snprintf(line, sizeof line, "; cuBLASLt FP16 is faster at %zu M, at worst %.2fx", summary.slower_than_fp16.size(),
                  summary.worst_against_fp16);
    text += line;
  }
  for (const auto& step : summary.steps_above_5_percent) {
    std::snprintf(line, sizeof line, "\n  +%.1f%% at M = %d", 100 * (step.second - 1), step.first);
    text += line;
  }
  return text;
}

}  // namespace w8a8::bench
