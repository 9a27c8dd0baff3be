#include <cuda_runtime_api.h>

#include <chrono>
#include <cmath>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "measure_limits.hpp"
#include "suite_work.hpp"
#include "w8a8/io/tuning_file.hpp"

namespace w8a8::bench {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string version_text(int version) { return std::to_string(version / 1000) + "." + std::to_string(version / 10 % 100); }

struct Result {
  Summary *burst, *sustained;
};

/// Measures the row of that index.
Row measure_row(const Run& run, const SuiteWork& suite, const Shape& shape, RowPlan plan, int index) {
  Row row;
  row.shape = shape;
  row.operations = suite.operations(shape);
  row.bytes = suite.bytes(run.options, shape);
  row.limit_us = run.limits.limit_us(row.bytes, row.operations);
  if (suite.is_copy()) row.limit_us = std::max(row.limit_us, run.limits.copy_us(row.bytes));
  row.kernel = suite.kernel(run, shape);
  const double guess_us = 2 + 1.2 * row.limit_us;

  std::vector<Contender> contenders;
  std::vector<Result> results;  // where the figures of each contender belong
  const auto add = [&](std::optional<Work> work, Summary& burst, Summary& sustained) {
    if (!work) return;
    contenders.push_back(run.timer.prepare(std::move(*work), guess_us));
    results.push_back({&burst, &sustained});
  };
  add(suite.ours(run, shape), row.burst, row.sustained);
  add(suite.ours_dependent(run, shape), row.dependent, row.dependent_sustained);
  for (const std::string& name : run.options.peers) {
    if (suite.takes_peer(name)) {
      add(suite.peer(run, name, shape, guess_us), row.peers[name], row.peers_sustained[name]);
      const std::string kernel = run.peers.kernel(name, shape);
      if (!kernel.empty()) row.peer_kernels[name] = kernel;
    }
  }
  Summary none;
  for (const PeerPart& part : suite.parts()) {
    if (!wants_peer(run.options, {part.peer}) || row.peer_kernels.count(part.peer) == 0) continue;
    add(run.peers.work(part.part, shape, guess_us), row.peer_parts[part.part], none);
    contenders.back().only_burst = true;
  }

  run.timer.burst(contenders, plan.burst_rounds);
  if (plan.sustained) {
    run.timer.sustained(contenders, run.options.sustained == Sustained::mixed, static_cast<std::size_t>(index));
  }
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    *results[i].burst = summarize(contenders[i].burst);
    *results[i].sustained = summarize(contenders[i].sustained);
  }
  row.sm_mhz = median(contenders.front().burst_mhz);
  row.sm_mhz_sustained = median(contenders.front().sustained_mhz);
  if (suite.is_copy() && run.limits.dram_copy_gbps > 0) {
    row.copy_fraction = row.bytes / row.burst.median * 1e-3 / run.limits.dram_copy_gbps;
  }
  return row;
}

/// The rows whose pools fit into the card's memory; the others are reported as skipped.
std::vector<Shape> fitting_rows(const Options& options, const SuiteWork& suite, double l2_bytes, Report& report, Console& console,
                                PoolSizes& sizes) {
  std::size_t free = 0, total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  const std::size_t usable = free - std::min<std::size_t>(free, std::size_t{256} << 20);
  std::vector<Shape> rows;
  for (const Shape& shape : suite.rows(options)) {
    PoolSizes with = sizes;
    suite.include(with, options, shape, l2_bytes);
    if (with.total() <= usable) {
      sizes = with;
      rows.push_back(shape);
    } else {
      const std::string reason = "needs " + std::to_string(with.total() >> 20) + " MiB of device memory, " +
                                 std::to_string(usable >> 20) + " MiB are free";
      console.skip(shape, reason);
      report.skipped.push_back({shape, reason});
    }
  }
  return rows;
}

/// gemm, quantize, linear: row by row.
void run_rows(const Run& run, const SuiteWork& suite, const std::vector<Shape>& rows, Report& report, Console& console) {
  const Options& options = run.options;
  const auto start = std::chrono::steady_clock::now();
  int done = 0, contenders = 1 + suite.measures_dependent();
  for (const std::string& name : options.peers) contenders += suite.takes_peer(name);
  const double sustained =
      options.sustained == Sustained::none ? 0 : sustained_seconds(contenders, options.sustained == Sustained::mixed);
  for (const Shape& shape : rows) {
    const int total = static_cast<int>(rows.size());
    const double seconds =
        options.time_budget > 0 ? std::max(1e-3, options.time_budget - seconds_since(start)) / (total - done) : 0;
    const RowPlan plan = plan_row(seconds, contenders, sustained);
    console.next(done, total, shape, seconds_since(start));
    std::string refused;
    if (plan.burst_rounds == 0) {
      refused = "the time budget is spent";
    } else {
      try {
        report.rows.push_back(measure_row(run, suite, shape, plan, done));
        console.row(report.rows.back());
      } catch (const CudaError&) {
        throw;  // the device is in an unknown state
      } catch (const Error& error) {
        refused = error.what();
      }
    }
    if (!refused.empty()) {
      console.skip(shape, refused);
      report.skipped.push_back({shape, refused});
    }
    ++done;
    if (!options.json.empty()) write_results(to_json(report), options.json, false);
  }
}

}  // namespace

std::unique_ptr<SuiteWork> make_suite(Suite suite) {
  switch (suite) {
    case Suite::quantize: return make_quantize_suite();
    case Suite::linear: return make_linear_suite();
    default: return make_gemm_suite();
  }
}

Report run_gpu_suite(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  Console console(options);
  Report report;
  report.suite = options.suite_name;
  const DeviceProperties device = current_device();
  int driver = 0, runtime = 0;
  check_cuda(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  check_cuda(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  report.context = common_context(options);
  report.context["device"] = device_name(device.ordinal);
  report.context["driver"] = SmClock().driver_version() + " (CUDA " + version_text(driver) + ")";
  report.context["cuda"] = version_text(runtime);
  report.context["cublas"] = CublasPeers::version();
  const TuningTable tuning = options.tuning_file.empty() ? TuningTable() : read_tuning_file(options.tuning_file);

  Timer timer;
  const std::unique_ptr<SuiteWork> suite = make_suite(options.suite);
  PoolSizes sizes;
  sizes.int8 = limits_pool_bytes();
  std::vector<Shape> rows;
  if (options.suite == Suite::chain) {
    include_chain(sizes, options, device.l2_bytes);
  } else if (options.suite != Suite::limits) {
    rows = fitting_rows(options, *suite, device.l2_bytes, report, console, sizes);
  }
  Pools pools(sizes, options.seed);
  // What is bound by memory, or has no limit beside it, does without the tensor cores' rates.
  const bool only_memory = options.suite == Suite::sweep || options.suite == Suite::chain || options.suite == Suite::quantize;
  if (options.suite != Suite::tune) {
    report.limits = measure_limits(timer, device, pools.int8.data(), sizes.int8, only_memory);
    console.limits(report.limits);
  }

  CublasPeers peers(timer, pools, device.l2_bytes, options.output, options.bias);
  const Run run{options, device, timer, pools, report.limits, peers, &tuning};
  switch (options.suite) {
    case Suite::limits: break;
    case Suite::sweep: run_sweep(run, rows, report, console); break;
    case Suite::chain: run_chain(run, report, console); break;
    case Suite::tune: run_tune(run, rows, report, console); break;
    default: run_rows(run, *suite, rows, report, console);
  }
  report.context["seconds"] = std::round(seconds_since(start));
  return report;
}

}  // namespace w8a8::bench
