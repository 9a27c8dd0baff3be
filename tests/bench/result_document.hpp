// A result file as a run writes it, for the tests of what reads it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "../../bench/report.hpp"

namespace w8a8_test {

/// A report with one row of each time: name "a", "b", …; +-1% of spread, one peer that takes twice as long.
inline w8a8::bench::Report report_with(const std::vector<double>& times_us) {
  w8a8::bench::Report report;
  report.suite = "gemm";
  report.context = {
      {"device", "a card"}, {"driver", "1"}, {"cuda", "13.0"}, {"date", "2026-01-01T00:00:00Z"}, {"headers_sha256", "0"}};
  report.limits.wgmma_s8_tops = 1900;
  report.limits.mma_sync_s8_tops = 1300;
  report.limits.dram_read_gbps = 4500;
  report.limits.dram_copy_gbps = 3900;
  report.limits.stream_read = {{1e6, 1.0}, {1e7, 4.0}};
  std::string name = "a";
  for (const double us : times_us) {
    w8a8::bench::Row row;
    row.shape = {name, 16, 4096, 1024};
    row.kernel = "kernel/configuration";
    row.burst = {us, 0.99 * us, 1.01 * us, false};
    row.sustained = {1.1 * us, 1.1 * us, 1.1 * us, false};
    row.sm_mhz = 1980;
    row.operations = row.shape.operations();
    row.bytes = 5e6;
    row.limit_us = 0.8 * us;
    row.peers["cublaslt_fp16"] = {2 * us, 2 * us, 2 * us, false};
    report.rows.push_back(row);
    ++name[0];
  }
  return report;
}

inline nlohmann::json document_with(const std::vector<double>& times_us) { return w8a8::bench::to_json(report_with(times_us)); }

}  // namespace w8a8_test
