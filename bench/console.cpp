#include <unistd.h>

#include <cstdio>
#include <ctime>

#include "headers_sha256.hpp"
#include "suites.hpp"

namespace w8a8::bench {

nlohmann::json common_context(const Options& options) {
  const std::time_t now = std::time(nullptr);
  char date[32];
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  nlohmann::json context = {{"date", date}, {"headers_sha256", W8A8_HEADERS_SHA256}, {"seed", options.seed}};
  if (options.suite != Suite::limits) {
    context["sustained"] = options.sustained == Sustained::own     ? "own load"
                           : options.sustained == Sustained::mixed ? "mixed load"
                                                                   : "none";
  }
  if (options.suite != Suite::limits && options.suite != Suite::quantize) {
    context["family"] = kernel_name(options.kernel);
    context["output"] = output_name(options.output);
    context["bias"] = options.bias;
  }
  if (options.suite == Suite::gemm || options.suite == Suite::quantize) context["dependent_launch"] = options.dependent_launch;
  if (!options.tuning_file.empty()) context["tuning"] = options.tuning_file;
  return context;
}

Console::Console(const Options&) : terminal_(isatty(STDERR_FILENO) != 0) {}

void Console::limits(const Limits& limits) const {
  clear_progress();
  const auto rate = [](double burst, double sustained) {
    return burst > 0 ? detail::short_number(burst) + " TOPS (sustained " + detail::short_number(sustained) + ")"
                     : std::string("none");
  };
  std::printf("limits: wgmma s8 %s, mma.sync s8 %s\n", rate(limits.wgmma_s8_tops, limits.wgmma_s8_tops_sustained).c_str(),
              rate(limits.mma_sync_s8_tops, limits.mma_sync_s8_tops_sustained).c_str());
  std::printf("        DRAM read %.0f GB/s, copy %.0f GB/s; empty kernel in a graph %.2f us\n", limits.dram_read_gbps,
              limits.dram_copy_gbps, limits.empty_kernel_us);
  std::printf("        streaming read, MB: us ");
  for (const auto& point : limits.stream_read) std::printf(" %g: %s", point.bytes * 1e-6, detail::short_number(point.us).c_str());
  std::printf("\n");
  std::fflush(stdout);
}

void Console::next(int done, int total, const Shape& shape, double elapsed_seconds) const {
  const std::string line = progress_line(done, total, shape, elapsed_seconds);
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
  } else if (done % (total > 100 ? 100 : 10) == 0 && done > 0) {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
  std::fflush(stderr);
}

void Console::row(const Row& row) {
  clear_progress();
  const auto column = row.dependent.median > 0 ? TableColumn::dependent_launch : TableColumn::limit_percent;
  if (!header_) std::printf("%s\n", table_header(column).c_str());
  header_ = true;
  std::printf("%s\n", table_row(row).c_str());
  std::fflush(stdout);
}

void Console::skip(const Shape& shape, const std::string& reason) const {
  clear_progress();
  std::printf("%-11s %-17s skipped: %s\n", shape.name.c_str(), shape.text().c_str(), reason.c_str());
  std::fflush(stdout);
}

void Console::line(const std::string& text) const {
  clear_progress();
  std::printf("%s\n", text.c_str());
  std::fflush(stdout);
}

void Console::clear_progress() const {
  if (terminal_) std::fprintf(stderr, "\r\033[K");
}

}  // namespace w8a8::bench
