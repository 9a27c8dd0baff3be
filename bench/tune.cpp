#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "suite_work.hpp"
#include "w8a8/io/tuning_file.hpp"

namespace w8a8::bench {

namespace {

constexpr double tune_idle_seconds = 0.030;
constexpr double pilot_us = 400;  ///< of launches, to tell the hopeless configurations
constexpr double hopeful = 1.15;  ///< times the pilot's best: measured properly
constexpr std::size_t most_hopeful = 6;
constexpr const char* default_choice = "built-in";

bool belongs_to(const std::string& configuration, Kernel family) {
  return family == Kernel::automatic || configuration.rfind(kernel_name(family), 0) == 0;
}

/// gemm() with one configuration; empty where it cannot run the shape.
std::optional<Work> tune_work(const Run& run, const Shape& shape, const std::string& configuration) {
  GemmOptions options = run.gemm_options();
  options.configuration = configuration;
  try {
    gemm_kernel(run.options.output, gemm_arguments(run, shape, 0), options);
  } catch (const CudaError&) {
    throw;
  } catch (const Error&) {
    return std::nullopt;
  }
  return Work{configuration, OperandSets(shape, 1, run.l2()).sets, [=](int set, cudaStream_t stream) {
                call_gemm(run.options.output, gemm_arguments(run, shape, set), options, stream);
              }};
}

/// The fastest configuration of a shape; as its peer, what gemm() picks by itself.
Row tune_row(const Run& run, const SuiteWork& suite, const Shape& shape) {
  Row row;
  row.shape = shape;
  row.operations = shape.operations();
  row.bytes = suite.bytes(run.options, shape);
  const std::string own = suite.kernel(run, shape);
  std::vector<std::pair<double, Work>> trials;
  const double guess_us = 2 + std::max(row.bytes / 3e6, row.operations / 1e9);
  const int launches = static_cast<int>(std::clamp(pilot_us / guess_us, 1.0, 64.0));
  std::vector<std::string> names = all_configurations();
  if (std::find(names.begin(), names.end(), own) == names.end()) names.push_back(own);  // two configurations in one
  for (const std::string& name : names) {
    if (!belongs_to(name, run.options.kernel)) continue;
    const std::optional<Work> work = tune_work(run, shape, name);
    if (work) trials.emplace_back(run.timer.estimate(*work, launches), *work);
  }
  std::sort(trials.begin(), trials.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Contender> contenders;
  for (const auto& [us, work] : trials) {
    const bool good = us <= hopeful * trials.front().first && contenders.size() < most_hopeful;
    if (good || work.name == own) contenders.push_back(run.timer.capture(work, us, graph_us));
  }
  run.timer.burst(contenders, 2, tune_idle_seconds, 5);
  for (const Contender& contender : contenders) {
    const Summary time = summarize(contender.burst);
    if (row.kernel.empty() || time.median < row.burst.median) {
      row.kernel = contender.work.name;
      row.burst = time;
    }
    if (contender.work.name == own) row.peers[default_choice] = time;
  }
  // What lies within the noise is no reason to depart from the built-in choice.
  const auto by_itself = row.peers.find(default_choice);
  if (by_itself != row.peers.end() && by_itself->second.median < 1.01 * row.burst.median) {
    row.kernel = own;
    row.burst = by_itself->second;
  }
  return row;
}

}  // namespace

void run_tune(const Run& run, const std::vector<Shape>& rows, Report& report, Console& console) {
  const std::unique_ptr<SuiteWork> suite = make_gemm_suite();
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  std::vector<TuningEntry> entries;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    console.next(static_cast<int>(i), static_cast<int>(rows.size()), rows[i], elapsed());
    const Row row = tune_row(run, *suite, rows[i]);
    if (row.kernel.empty()) {
      console.skip(rows[i], "no configuration takes it");
      continue;
    }
    report.rows.push_back(row);
    console.row(row);
    console.line("    " + row.kernel);
    entries.push_back({rows[i].m, rows[i].n, rows[i].k, row.kernel, std::round(1e3 * row.burst.median) / 1e3});
    if (!run.options.json.empty()) {
      const TuningTable table(run.device.compute_capability, run.device.multiprocessors, entries);
      write_tuning_file(run.options.json, table, device_name(run.device.ordinal));
    }
  }
}

}  // namespace w8a8::bench
