// Result files: the schema, what is refused, the table.
#include "../../bench/report.hpp"

#include <cstdio>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "result_document.hpp"
#include "support/catch.hpp"

namespace {

using namespace w8a8::bench;
using nlohmann::json;
using w8a8_test::document_with;

std::string refusal(const json& document) {
  try {
    validate_results(document, "file.json");
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a written report satisfies the schema") {
  const json document = document_with({10, 20});
  CHECK(refusal(document) == "");
  const json& row = document["results"][0];
  CHECK(row["us"] == 10);
  CHECK(row["us_min"] == Approx(9.9));
  CHECK(row["us_sustained"] == 11);
  CHECK(row["tops"] == Approx(2.0 * 16 * 4096 * 1024 / 10e-6 * 1e-12).epsilon(1e-3));
  CHECK(row["gbps"] == Approx(5e6 / 10e-6 * 1e-9));
  CHECK(row["peers"]["cublaslt_fp16"] == 20);
  CHECK(document["limits"]["wgmma_s8_tops"] == 1900);
}

TEST_CASE("figures that were not taken are null") {
  Report report = w8a8_test::report_with({10});
  report.limits = {};
  report.rows[0].sustained = {};
  report.rows[0].sm_mhz = 0;
  report.rows[0].limit_us = 0;
  const json document = to_json(report);
  CHECK(refusal(document) == "");
  CHECK(document["limits"]["wgmma_s8_tops"].is_null());
  CHECK(document["results"][0]["us_sustained"].is_null());
  CHECK(document["results"][0]["sm_mhz"].is_null());
  CHECK(document["results"][0]["limit_us"].is_null());
}

TEST_CASE("what only some suites measure stands only in their rows") {
  Report report = w8a8_test::report_with({10, 20});
  Row& row = report.rows[0];
  row.dependent = {8, 8, 8, false};
  row.copy_fraction = 0.93;
  row.peer_parts["cublaslt_int8_to_s32"] = {9, 9, 9, false};
  row.peer_kernels["cublaslt_fp16"] = "algo66";
  report.summary = {{"largest_step", 1.1}};
  const json document = to_json(report);
  CHECK(refusal(document) == "");
  CHECK(document["results"][0]["us_dependent_launch"] == 8);
  CHECK(document["results"][0]["us_dependent_launch_sustained"].is_null());
  CHECK(document["results"][0]["copy_fraction"] == 0.93);
  CHECK(document["results"][0]["peer_parts"]["cublaslt_int8_to_s32"] == 9);
  CHECK(document["results"][0]["peer_kernels"]["cublaslt_fp16"] == "algo66");
  CHECK(document["summary"]["largest_step"] == 1.1);
  for (const char* field : {"us_dependent_launch", "copy_fraction", "peer_parts", "peer_kernels"}) {
    CHECK_FALSE(document["results"][1].contains(field));
  }
  CHECK_FALSE(document_with({10}).contains("summary"));
}

TEST_CASE("a file has a line a row") {
  const std::string text = result_text(document_with({10, 20}));
  CHECK(json::parse(text) == document_with({10, 20}));
  CHECK(text.find("\n  {\"gbps\"") != std::string::npos);
  CHECK(json::parse(result_text(document_with({}))) == document_with({}));
}

TEST_CASE("skipped rows are listed with their reason") {
  Report report = w8a8_test::report_with({10});
  report.skipped.push_back({{"big", 1, 2, 3}, "needs more memory"});
  const json document = to_json(report);
  CHECK(document["results"].size() == 1);
  CHECK(document["skipped"][0]["reason"] == "needs more memory");
}

TEST_CASE("a document that breaks the schema is refused by the name of the field") {
  const std::vector<std::pair<std::string, std::function<void(json&)>>> damages = {
      {"the document", [](json& d) { d = json::array(); }},
      {"context", [](json& d) { d.erase("context"); }},
      {"context.device", [](json& d) { d["context"].erase("device"); }},
      {"context.driver", [](json& d) { d["context"]["driver"] = 5; }},
      {"context.cuda", [](json& d) { d["context"].erase("cuda"); }},
      {"context.date", [](json& d) { d["context"].erase("date"); }},
      {"context.headers_sha256", [](json& d) { d["context"].erase("headers_sha256"); }},
      {"limits", [](json& d) { d["limits"] = 1; }},
      {"limits.wgmma_s8_tops", [](json& d) { d["limits"]["wgmma_s8_tops"] = "fast"; }},
      {"limits.dram_copy_gbps", [](json& d) { d["limits"].erase("dram_copy_gbps"); }},
      {"results", [](json& d) { d.erase("results"); }},
      {"results[1]", [](json& d) { d["results"][1] = 3; }},
      {"results[1].name", [](json& d) { d["results"][1].erase("name"); }},
      {"results[0].m", [](json& d) { d["results"][0]["m"] = 1.5; }},
      {"results[0].kernel", [](json& d) { d["results"][0].erase("kernel"); }},
      {"results[0].us", [](json& d) { d["results"][0]["us"] = nullptr; }},
      {"results[0].us", [](json& d) { d["results"][0]["us"] = 0; }},
      {"results[0].us_max", [](json& d) { d["results"][0].erase("us_max"); }},
      {"results[0].us_sustained", [](json& d) { d["results"][0].erase("us_sustained"); }},
      {"results[0].limit_us", [](json& d) { d["results"][0]["limit_us"] = "5"; }},
      {"results[0].us_dependent_launch", [](json& d) { d["results"][0]["us_dependent_launch"] = "5"; }},
      {"results[1].copy_fraction", [](json& d) { d["results"][1]["copy_fraction"] = true; }},
      {"results[0].peers", [](json& d) { d["results"][0].erase("peers"); }},
      {"results[0].peers.cublaslt_fp16", [](json& d) { d["results"][0]["peers"]["cublaslt_fp16"] = "5"; }},
  };
  for (const auto& [field, damage] : damages) {
    json document = document_with({10, 20});
    damage(document);
    CHECK(refusal(document).find("file.json: not a result file: " + field + " must be ") == 0);
  }
}

TEST_CASE("result files are read back, and what is none is refused") {
  const std::string file = "w8a8_bench_report_test.json";
  write_results(document_with({10}), file, false);
  CHECK_FALSE(std::ifstream(file).good());
  CHECK(std::ifstream(file + ".part").good());
  write_results(document_with({10}), file, true);
  CHECK_FALSE(std::ifstream(file + ".part").good());
  CHECK(read_results(file) == document_with({10}));
  std::ofstream(file) << "{";
  CHECK_THROWS_AS(read_results(file), UsageError);
  std::remove(file.c_str());
  CHECK_THROWS_AS(read_results(file), UsageError);
  CHECK_THROWS_AS(write_results(document_with({10}), "no/such/folder/file.json", true), UsageError);
}

TEST_CASE("a row of the table") {
  Row row = w8a8_test::report_with({10}).rows[0];
  row.shape = {"l70_down", 8192, 8192, 28672};
  row.peers["cublaslt_int8_dequant"] = {12.5, 12.5, 12.5, false};
  const std::string line = table_row(row);
  CHECK(line.size() <= 80);
  CHECK(table_header().size() <= 80);
  CHECK(line.find("8192x8192x28672") != std::string::npos);
  CHECK(line.find("80%") != std::string::npos);
  CHECK(line.find("12.50 int8") != std::string::npos);  // the best peer, not the first
  CHECK(line.find("1.25x") != std::string::npos);
  CHECK(line.find('~') == std::string::npos);
  row.dependent = {8.5, 8.5, 8.5, false};
  CHECK(table_row(row).find("8.500") != std::string::npos);
  CHECK(table_row(row).size() <= 80);
  CHECK(table_header(TableColumn::dependent_launch).size() <= 80);
  row.peers["cublaslt_fp16"].noisy = true;
  CHECK(table_row(row).find('~') != std::string::npos);
  CHECK(to_json(row)["noisy"] == true);
}

TEST_CASE("a long name borrows from the shape's column") {
  Row row = w8a8_test::report_with({10}).rows[0];
  row.shape = {"rms_residual_out", 32768, 0, 1152};
  const std::string line = table_row(row);
  CHECK(line.size() <= 80);
  CHECK(line.find("rms_residual_out   32768x1152   10.00") == 0);
}

TEST_CASE("the progress line tells what is left") {
  const Shape shape{"qkv", 16, 6144, 4096};
  CHECK(progress_line(0, 10, shape, 0) == "[1/10] qkv 16x6144x4096");
  CHECK(progress_line(4, 10, shape, 50) == "[5/10] qkv 16x6144x4096, 1:15 left");
}
