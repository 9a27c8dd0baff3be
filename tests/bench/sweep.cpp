// What a sweep over M says.
#include <string>
#include <utility>
#include <vector>

#include "../../bench/sweep_summary.hpp"
#include "support/catch.hpp"

namespace {

using namespace w8a8::bench;

/// Rows at M = 1, 2, ... that take so long; cuBLASLt FP16 beside them.
std::vector<Row> rows_with(const std::vector<std::pair<double, double>>& times_us) {
  std::vector<Row> rows;
  for (const auto& [ours, peer] : times_us) {
    Row row;
    row.shape = {"64x128", static_cast<int>(rows.size()) + 1, 64, 128};
    row.burst = {ours, ours, ours, false};
    if (peer > 0) row.peers["cublaslt_fp16"] = {peer, peer, peer, false};
    rows.push_back(row);
  }
  return rows;
}

}  // namespace

TEST_CASE("sweep: the largest step, and all above 5%") {
  const SweepSummary summary = summarize_sweep(rows_with({{10, 0}, {11, 0}, {11, 0}, {10, 0}, {10.6, 0}, {12, 0}}));
  CHECK(summary.largest_step == Approx(12 / 10.6));
  CHECK(summary.largest_step_m == 6);
  REQUIRE(summary.steps_above_5_percent.size() == 3);
  CHECK(summary.steps_above_5_percent[0].first == 2);
  CHECK(summary.slower_than_fp16.empty());
  CHECK(summary.worst_against_fp16 == 0);
  const auto json = to_json(summary);
  CHECK(json["largest_step_m"] == 6);
  CHECK(json["steps_above_5_percent"][1]["m"] == 5);
  CHECK(json["worst_against_fp16"].is_null());
  CHECK(to_text(summary).find("largest step 13.2% up to M = 6, 3 steps above 5%") != std::string::npos);
}

TEST_CASE("sweep: a time that falls has no step up") {
  const SweepSummary summary = summarize_sweep(rows_with({{10, 0}, {9, 0}, {8, 0}}));
  CHECK(summary.largest_step == Approx(0.9));
  CHECK(summary.steps_above_5_percent.empty());
  CHECK(summarize_sweep({}).largest_step_m == 0);
}

TEST_CASE("sweep: where cuBLASLt FP16 is faster") {
  const SweepSummary summary = summarize_sweep(rows_with({{10, 20}, {10, 9}, {10, 10}, {10, 9.5}}));
  CHECK(summary.slower_than_fp16 == std::vector<int>{2, 4});
  CHECK(summary.worst_against_fp16 == Approx(0.9));
  CHECK(to_text(summary).find("faster at 2 M, at worst 0.90x") != std::string::npos);
}

TEST_CASE("sweep: rows on both sides of a high step are measured again") {
  const std::vector<Row> rows = rows_with({{10, 0}, {10, 0}, {11, 0}, {12, 0}, {12, 0}, {12.3, 0}, {13, 0}});
  CHECK(rows_to_repeat(rows, 24) == std::vector<std::size_t>{1, 2, 3, 5, 6});
  CHECK(rows_to_repeat(rows, 3) == std::vector<std::size_t>{1, 2});
  CHECK(rows_to_repeat({}, 24).empty());
}
