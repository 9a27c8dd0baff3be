// The suites: each measures its rows and returns a report.
#pragma once

#include <string>

#include "options.hpp"
#include "report.hpp"

namespace w8a8::bench {

/// Any suite but compare, on the current CUDA device. Rows are printed as they are done.
Report run_gpu_suite(const Options& options);

/// The GEMM on the CPU, beside a plain triple loop.
Report run_host_suite(const Options& options);

/// Date (UTC) and the checksum of the headers that this program was compiled from, for the context of a report.
nlohmann::json common_context(const Options& options);

/// Prints the table and the progress line: the table on stdout, progress on stderr.
class Console {
 public:
  explicit Console(const Options& options);
  void limits(const Limits& limits) const;
  void next(int done, int total, const Shape& shape, double elapsed_seconds) const;
  void row(const Row& row);
  void line(const std::string& text) const;
  void skip(const Shape& shape, const std::string& reason) const;

 private:
  void clear_progress() const;
  bool terminal_;
  bool header_ = false;
};

}  // namespace w8a8::bench
