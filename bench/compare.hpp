// Two result files against each other: which rows changed by more than they scatter, and whether anything got slower.
#pragma once

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "report.hpp"
#include "statistics.hpp"

namespace w8a8::bench {

/// Slower than this, beyond the spread, is a regression.
inline constexpr double regression_threshold = 1.03;

struct Change {
  Shape shape;
  double old_us, new_us;
  bool beyond_spread;  ///< each median lies outside the other run's [us_min, us_max]

  double ratio() const { return new_us / old_us; }
  bool regressed() const { return beyond_spread && ratio() > regression_threshold; }
};

struct Comparison {
  std::vector<Change> rows;  ///< in both files, in the order of the new one
  std::vector<Shape> only_old, only_new;
  double burst_mean = 1;      ///< geometric mean of new / old: above 1 is slower
  double sustained_mean = 1;  ///< of us_sustained, over the rows that have it in both
  double dependent_mean = 1;  ///< of us_dependent_launch, likewise
  double peer_mean = 1;       ///< of the peers' times: what the card itself did
  bool regressed = false;
};

namespace detail {

inline Shape shape_of(const nlohmann::json& row) { return {row["name"], row["m"], row["n"], row["k"]}; }

}  // namespace detail

/// Compares validated documents. A regression is a row that is more than 3% slower beyond its spread, or a geometric mean, burst,
/// sustained or with dependent launch, that is more than 3% slower. Throws UsageError where the files share no row.
inline Comparison compare_results(const nlohmann::json& before, const nlohmann::json& after) {
  Comparison comparison;
  std::vector<double> burst, sustained, dependent, peers;
  std::vector<bool> matched(before["results"].size(), false);
  for (const nlohmann::json& row : after["results"]) {
    const Shape shape = detail::shape_of(row);
    const nlohmann::json* old = nullptr;
    for (std::size_t i = 0; i < matched.size() && !old; ++i) {
      if (!matched[i] && detail::shape_of(before["results"][i]) == shape) {
        matched[i] = true;
        old = &before["results"][i];
      }
    }
    if (!old) {
      comparison.only_new.push_back(shape);
      continue;
    }
    const auto outside = [](double us, const nlohmann::json& other) {
      return us < other["us_min"].get<double>() || us > other["us_max"].get<double>();
    };
    const double old_us = (*old)["us"], new_us = row["us"];
    comparison.rows.push_back({shape, old_us, new_us, outside(old_us, row) && outside(new_us, *old)});
    burst.push_back(new_us / old_us);
    const auto both = [&](const char* key, std::vector<double>& ratios) {
      const auto then = old->find(key), now = row.find(key);
      if (then != old->end() && now != row.end() && then->is_number() && now->is_number()) {
        ratios.push_back(now->get<double>() / then->get<double>());
      }
    };
    both("us_sustained", sustained);
    both("us_dependent_launch", dependent);
    for (const auto& peer : row["peers"].items()) {
      const auto found = (*old)["peers"].find(peer.key());
      if (found != (*old)["peers"].end() && found->is_number() && peer.value().is_number()) {
        peers.push_back(peer.value().get<double>() / found->get<double>());
      }
    }
  }
  for (std::size_t i = 0; i < matched.size(); ++i) {
    if (!matched[i]) comparison.only_old.push_back(detail::shape_of(before["results"][i]));
  }
  if (comparison.rows.empty()) throw UsageError("compare: the two files have no row in common");
  comparison.burst_mean = geometric_mean(burst);
  comparison.sustained_mean = geometric_mean(sustained);
  comparison.dependent_mean = geometric_mean(dependent);
  comparison.peer_mean = geometric_mean(peers);
  comparison.regressed = comparison.burst_mean > regression_threshold || comparison.sustained_mean > regression_threshold ||
                         comparison.dependent_mean > regression_threshold;
  for (const Change& row : comparison.rows) comparison.regressed = comparison.regressed || row.regressed();
  return comparison;
}

inline std::string to_text(const Comparison& comparison) {
  std::string out;
  char line[160];
  int changed = 0;
  for (const Change& row : comparison.rows) {
    if (!row.beyond_spread) continue;
    if (changed++ == 0) {
      std::snprintf(line, sizeof line, "%-12s %-17s %8s %8s %8s\n", "name", "MxNxK", "old us", "new us", "change");
      out += line;
    }
    std::snprintf(line, sizeof line, "%-12s %-17s %8s %8s %+7.1f%%%s\n", row.shape.name.c_str(), row.shape.text().c_str(),
                  detail::short_number(row.old_us).c_str(), detail::short_number(row.new_us).c_str(), 100 * (row.ratio() - 1),
                  row.regressed() ? "  REGRESSION" : "");
    out += line;
  }
  std::snprintf(line, sizeof line, "%d of %zu rows changed beyond their spread\n", changed, comparison.rows.size());
  out += line;
  for (const Shape& shape : comparison.only_old) out += "only in the old file: " + shape.name + " " + shape.text() + "\n";
  for (const Shape& shape : comparison.only_new) out += "only in the new file: " + shape.name + " " + shape.text() + "\n";
  std::snprintf(line, sizeof line, "geometric mean of new / old: burst %.3f, sustained %.3f, dependent launch %.3f, peers %.3f\n",
                comparison.burst_mean, comparison.sustained_mean, comparison.dependent_mean, comparison.peer_mean);
  out += line;
  out += comparison.regressed ? "slower by more than 3%: a regression\n" : "no regression\n";
  return out;
}

}  // namespace w8a8::bench
