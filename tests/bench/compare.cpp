// w8a8_bench compare: which rows count as changed, and what is a regression.
#include "../../bench/compare.hpp"

#include <string>

#include "result_document.hpp"
#include "support/catch.hpp"

namespace {

using namespace w8a8::bench;
using w8a8_test::document_with;

}  // namespace

TEST_CASE("equal files: nothing changed") {
  const Comparison comparison = compare_results(document_with({10, 20}), document_with({10, 20}));
  CHECK(comparison.rows.size() == 2);
  CHECK_FALSE(comparison.rows[0].beyond_spread);
  CHECK(comparison.burst_mean == Approx(1));
  CHECK_FALSE(comparison.regressed);
  CHECK(to_text(comparison).find("0 of 2 rows changed") != std::string::npos);
}

TEST_CASE("a row that is 5% slower beyond its spread is a regression") {
  const Comparison comparison = compare_results(document_with({10, 20, 30, 40}), document_with({10, 21, 30, 40}));
  CHECK_FALSE(comparison.rows[0].beyond_spread);
  CHECK(comparison.rows[1].beyond_spread);
  CHECK(comparison.rows[1].regressed());
  CHECK(comparison.burst_mean < regression_threshold);
  CHECK(comparison.regressed);
  CHECK(to_text(comparison).find("REGRESSION") != std::string::npos);
}

TEST_CASE("a slower row within its spread is none") {
  auto after = document_with({10, 20, 30, 40});
  after["results"][1]["us"] = 21;
  after["results"][1]["us_min"] = 19;
  after["results"][1]["us_max"] = 23;
  const Comparison comparison = compare_results(document_with({10, 20, 30, 40}), after);
  CHECK_FALSE(comparison.rows[1].beyond_spread);
  CHECK_FALSE(comparison.regressed);
}

TEST_CASE("a change of 2% beyond the spread is reported and is no regression") {
  const Comparison comparison = compare_results(document_with({10, 20}), document_with({10, 20.5}));
  CHECK(comparison.rows[1].beyond_spread);
  CHECK_FALSE(comparison.regressed);
  CHECK(to_text(comparison).find("1 of 2 rows changed") != std::string::npos);
}

TEST_CASE("faster rows are no regression") {
  const Comparison comparison = compare_results(document_with({10, 20}), document_with({5, 20}));
  CHECK(comparison.rows[0].beyond_spread);
  CHECK(comparison.burst_mean == Approx(std::sqrt(0.5)).epsilon(1e-3));
  CHECK_FALSE(comparison.regressed);
}

TEST_CASE("a geometric mean that is more than 3% slower is a regression, whatever the spread") {
  auto before = document_with({10, 20}), after = document_with({10.4, 20.8});
  for (auto* document : {&before, &after}) {
    for (auto& row : (*document)["results"]) row["us_min"] = 1, row["us_max"] = 100;
  }
  const Comparison comparison = compare_results(before, after);
  CHECK_FALSE(comparison.rows[0].beyond_spread);
  CHECK(comparison.regressed);
}

TEST_CASE("a slower sustained mean alone is a regression") {
  auto after = document_with({10, 20});
  for (auto& row : after["results"]) row["us_sustained"] = 1.05 * row["us_sustained"].get<double>();
  CHECK(compare_results(document_with({10, 20}), after).regressed);
  for (auto& row : after["results"]) row["us_sustained"] = nullptr;
  CHECK_FALSE(compare_results(document_with({10, 20}), after).regressed);
}

TEST_CASE("a slower mean with dependent launch alone is a regression") {
  auto before = document_with({10, 20}), after = document_with({10, 20});
  for (auto& row : before["results"]) row["us_dependent_launch"] = 9;
  CHECK_FALSE(compare_results(before, after).regressed);
  for (auto& row : after["results"]) row["us_dependent_launch"] = 9.4;
  CHECK(compare_results(before, after).dependent_mean == Approx(9.4 / 9));
  CHECK(compare_results(before, after).regressed);
}

TEST_CASE("the peers' mean shows what the card did") {
  auto after = document_with({10, 20});
  for (auto& row : after["results"]) row["peers"]["cublaslt_fp16"] = 1.02 * row["peers"]["cublaslt_fp16"].get<double>();
  after["results"][0]["peers"]["another"] = 1;
  CHECK(compare_results(document_with({10, 20}), after).peer_mean == Approx(1.02));
}

TEST_CASE("rows are matched by name and shape, and the unmatched are named") {
  auto after = document_with({10, 20});
  after["results"][0]["m"] = 17;
  const Comparison comparison = compare_results(document_with({10, 20}), after);
  CHECK(comparison.rows.size() == 1);
  REQUIRE(comparison.only_old.size() == 1);
  REQUIRE(comparison.only_new.size() == 1);
  CHECK(comparison.only_old[0].m == 16);
  CHECK(comparison.only_new[0].m == 17);
  CHECK(to_text(comparison).find("only in the old file: a 16x4096x1024") != std::string::npos);
}

TEST_CASE("two rows of one shape are matched one to one") {
  auto before = document_with({10, 20}), after = document_with({10, 20});
  for (auto* document : {&before, &after}) (*document)["results"][1]["name"] = "a";
  const Comparison comparison = compare_results(before, after);
  CHECK(comparison.rows.size() == 2);
  CHECK(comparison.only_old.empty());
  CHECK(comparison.burst_mean == Approx(1));
}

TEST_CASE("files without a common row are refused") {
  auto after = document_with({10});
  after["results"][0]["name"] = "other";
  CHECK_THROWS_AS(compare_results(document_with({10}), after), UsageError);
}
