#include <cuda_runtime_api.h>

#include <chrono>
#include <cmath>
#include <initializer_list>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "inputs.hpp"
#include "library_calls.hpp"
#include "measure_limits.hpp"
#include "peers.hpp"
#include "suites.hpp"
#include "timer.hpp"
#include "w8a8/support/device.hpp"

namespace w8a8::bench {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string version_text(int version) { return std::to_string(version / 1000) + "." + std::to_string(version / 10 % 100); }

/// Everything that the rows of a run share.
struct Run {
  const Options& options;
  DeviceProperties device;
  Timer& timer;
  const Pools& pools;
  const Limits& limits;
  CublasPeers& peers;

  double l2() const { return device.l2_bytes; }
  std::uint8_t* out() const { return const_cast<std::uint8_t*>(pools.out.data()); }
  std::int8_t* codes() const { return const_cast<std::int8_t*>(pools.codes.data()); }
  float* code_scales() const { return const_cast<float*>(pools.code_scales.data()); }
  GemmOptions gemm_options() const {
    GemmOptions gemm;
    gemm.kernel = options.kernel;
    gemm.configuration = options.configuration;
    gemm.dependent_launch = options.dependent_launch;
    gemm.workspace = const_cast<std::uint8_t*>(pools.workspace.data());
    gemm.workspace_bytes = static_cast<std::size_t>(pools.workspace.bytes());
    return gemm;
  }
};

double output_bytes(const Options& options) { return options.output == Output::float32 ? 4 : 2; }

/// What the suites differ in.
struct SuiteWork {
  virtual ~SuiteWork() = default;
  /// The rows of the suite for the shapes asked for.
  virtual std::vector<Shape> rows(const std::vector<Shape>& shapes) const { return shapes; }
  virtual PoolUse pools(const Options& options, const Shape& shape) const = 0;
  /// Bytes that a launch must move.
  virtual double bytes(const Options& options, const Shape& shape) const = 0;
  virtual double operations(const Shape& shape) const { return shape.operations(); }
  virtual std::string kernel(const Run& run, const Shape& shape) const = 0;
  virtual Work ours(const Run& run, const Shape& shape) const = 0;
  virtual bool takes_peer(const std::string&) const { return true; }
  virtual std::optional<Work> peer(const Run& run, const std::string& name, const Shape& shape, double guess_us) const {
    return run.peers.work(name, shape, guess_us);
  }
};

bool wants(const Options& options, std::initializer_list<const char*> names) {
  for (const std::string& peer : options.peers) {
    for (const char* name : names) {
      if (peer == name) return true;
    }
  }
  return false;
}

struct GemmSuite : SuiteWork {
  PoolUse pools(const Options& options, const Shape& shape) const override {
    PoolUse use;
    use.fp16 = wants(options, {peer_fp16});
    use.fp8 = wants(options, {peer_fp8, peer_fp8_rowwise});
    use.accumulators = wants(options, {peer_int8});
    use.out_element = output_bytes(options);
    use.workspace = gemm_workspace(shape.m, shape.n, shape.k);
    return use;
  }

  double bytes(const Options& options, const Shape& s) const override {
    return 1.0 * s.m * s.k + 1.0 * s.n * s.k + output_bytes(options) * s.m * s.n + 4.0 * s.m + 4.0 * s.n +
           (options.bias ? output_bytes(options) * s.n : 0);
  }

  static GemmArguments arguments(const Run& run, const Shape& shape, int set) {
    const OperandSets inputs(shape, 1, run.l2());
    const Pools::ScaleSet scales = run.pools.scale_set(shape, set);
    return {run.pools.int8.data() + inputs.x(set),
            run.pools.int8.data() + inputs.w(set),
            scales.token,
            scales.channel,
            run.options.bias ? scales.bias : nullptr,
            run.out(),
            shape.m,
            shape.n,
            shape.k};
  }

  std::string kernel(const Run& run, const Shape& shape) const override {
    return gemm_kernel(run.options.output, arguments(run, shape, 0), run.gemm_options());
  }

  Work ours(const Run& run, const Shape& shape) const override {
    return {"ours", OperandSets(shape, 1, run.l2()).sets, [run, shape](int set, cudaStream_t stream) {
              call_gemm(run.options.output, arguments(run, shape, set), run.gemm_options(), stream);
            }};
  }
};

/// Rows of X in half precision, taken from a pool one after the other. n of a row is 0.
struct QuantizeSuite : SuiteWork {
  std::vector<Shape> rows(const std::vector<Shape>& shapes) const override {
    std::vector<Shape> rows;
    std::set<std::pair<int, int>> seen;
    for (const Shape& shape : shapes) {
      if (seen.insert({shape.m, shape.k}).second) rows.push_back({shape.name, shape.m, 0, shape.k});
    }
    return rows;
  }

  PoolUse pools(const Options&, const Shape&) const override {
    PoolUse use;
    use.int8 = false;
    use.fp16 = true;
    use.codes = true;
    return use;
  }

  double bytes(const Options&, const Shape& s) const override { return 3.0 * s.m * s.k + 4.0 * s.m; }
  double operations(const Shape&) const override { return 0; }
  std::string kernel(const Run&, const Shape&) const override { return "quantize_per_token"; }
  bool takes_peer(const std::string&) const override { return false; }

  Work ours(const Run& run, const Shape& shape) const override {
    const OperandSets inputs(shape, 2, run.l2());
    return {"ours", inputs.sets, [run, shape, inputs](int set, cudaStream_t stream) {
              call_quantize(run.pools.fp16.data() + inputs.x(set) / 2, run.codes(), run.code_scales(), shape.m, shape.k,
                            run.options.dependent_launch, stream);
            }};
  }
};

/// Quantization of X (half), then the GEMM on its codes.
struct LinearSuite : GemmSuite {
  PoolUse pools(const Options& options, const Shape& shape) const override {
    PoolUse use = GemmSuite::pools(options, shape);
    use.fp16 = true;
    use.codes = true;
    return use;
  }

  double bytes(const Options& options, const Shape& s) const override { return GemmSuite::bytes(options, s) + 1.0 * s.m * s.k; }

  static const half* activations(const Run& run, const Shape& shape, int set) {
    const std::size_t x_bytes = align_slice(2.0 * shape.m * shape.k);
    const std::size_t slots = OperandSets(shape, 2, run.l2()).bytes() / x_bytes;
    return run.pools.fp16.data() + (static_cast<std::size_t>(set) % slots) * x_bytes / 2;
  }

  static void quantize(const Run& run, const Shape& shape, int set, cudaStream_t stream) {
    call_quantize(activations(run, shape, set), run.codes(), run.code_scales(), shape.m, shape.k, run.options.dependent_launch,
                  stream);
  }

  static GemmArguments quantized_arguments(const Run& run, const Shape& shape, int set) {
    GemmArguments a = arguments(run, shape, set);
    a.x = run.codes();
    a.token_scale = run.code_scales();
    return a;
  }

  /// The weight may be read while the quantizer runs: so does the layer (nn/w8a8_linear.hpp).
  static GemmOptions gemm_options(const Run& run) {
    GemmOptions options = run.gemm_options();
    options.dependent_launch = true;
    return options;
  }

  std::string kernel(const Run& run, const Shape& shape) const override {
    return gemm_kernel(run.options.output, quantized_arguments(run, shape, 0), gemm_options(run));
  }

  Work ours(const Run& run, const Shape& shape) const override {
    return {"ours", OperandSets(shape, 1, run.l2()).sets, [run, shape](int set, cudaStream_t stream) {
              quantize(run, shape, set, stream);
              call_gemm(run.options.output, quantized_arguments(run, shape, set), gemm_options(run), stream);
            }};
  }

  // The FP8 peers would need a quantizer of their own.
  bool takes_peer(const std::string& name) const override { return name == peer_int8 || name == peer_fp16; }

  std::optional<Work> peer(const Run& run, const std::string& name, const Shape& shape, double guess_us) const override {
    if (name == peer_fp16) return run.peers.work(name, shape, guess_us);
    std::optional<Work> gemm = run.peers.work(name, shape, guess_us, run.codes());
    if (!gemm) return gemm;
    return Work{name, gemm->sets, [run, shape, launch = gemm->launch](int set, cudaStream_t stream) {
                  quantize(run, shape, set, stream);
                  launch(set, stream);
                }};
  }
};

std::unique_ptr<SuiteWork> make_suite(Suite suite) {
  switch (suite) {
    case Suite::quantize: return std::make_unique<QuantizeSuite>();
    case Suite::linear: return std::make_unique<LinearSuite>();
    default: return std::make_unique<GemmSuite>();
  }
}

/// Measures the row of that index.
Row measure_row(const Run& run, const SuiteWork& suite, const Shape& shape, RowPlan plan, int index) {
  Row row;
  row.shape = shape;
  row.operations = suite.operations(shape);
  row.bytes = suite.bytes(run.options, shape);
  row.limit_us = run.limits.limit_us(row.bytes, row.operations);
  row.kernel = suite.kernel(run, shape);
  const double guess_us = 2 + 1.2 * row.limit_us;
  std::vector<Contender> contenders;
  contenders.push_back(run.timer.prepare(suite.ours(run, shape), guess_us));
  for (const std::string& name : run.options.peers) {
    if (!suite.takes_peer(name)) continue;
    std::optional<Work> work = suite.peer(run, name, shape, guess_us);
    if (work) contenders.push_back(run.timer.prepare(std::move(*work), guess_us));
  }
  run.timer.burst(contenders, plan.burst_rounds);
  if (plan.sustained) {
    run.timer.sustained(contenders, run.options.sustained == Sustained::mixed, static_cast<std::size_t>(index));
  }
  for (const Contender& contender : contenders) {
    const Summary burst = summarize(contender.burst), sustained = summarize(contender.sustained);
    if (&contender == &contenders.front()) {
      row.burst = burst;
      row.sustained = sustained;
      row.sm_mhz = median(contender.burst_mhz);
      row.sm_mhz_sustained = median(contender.sustained_mhz);
    } else {
      row.peers[contender.work.name] = burst;
      row.peers_sustained[contender.work.name] = sustained;
    }
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
  for (const Shape& shape : suite.rows(options.shapes)) {
    PoolSizes with = sizes;
    with.include(pool_sizes(shape, suite.pools(options, shape), l2_bytes));
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

}  // namespace

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

  Timer timer;
  const std::unique_ptr<SuiteWork> suite = make_suite(options.suite);
  PoolSizes sizes;
  sizes.int8 = limits_pool_bytes();
  const std::vector<Shape> rows = options.suite == Suite::limits
                                      ? std::vector<Shape>{}
                                      : fitting_rows(options, *suite, device.l2_bytes, report, console, sizes);
  Pools pools(sizes, options.seed);
  report.limits = measure_limits(timer, device, pools.int8.data(), sizes.int8);
  console.limits(report.limits);
  if (options.suite == Suite::limits) return report;

  CublasPeers peers(timer, pools, device.l2_bytes, options.output, options.bias);
  const Run run{options, device, timer, pools, report.limits, peers};
  const auto rows_start = std::chrono::steady_clock::now();
  int done = 0, contenders = 1;
  for (const std::string& name : options.peers) contenders += suite->takes_peer(name);
  const int sustained_loads = options.sustained == Sustained::own ? contenders : options.sustained == Sustained::mixed ? 1 : 0;
  for (const Shape& shape : rows) {
    const int total = static_cast<int>(rows.size());
    const double seconds =
        options.time_budget > 0 ? std::max(1e-3, options.time_budget - seconds_since(rows_start)) / (total - done) : 0;
    const RowPlan plan = plan_row(seconds, contenders, sustained_loads);
    console.next(done, total, shape, seconds_since(rows_start));
    std::string refused;
    if (plan.burst_rounds == 0) {
      refused = "the time budget is spent";
    } else {
      try {
        report.rows.push_back(measure_row(run, *suite, shape, plan, done));
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
  report.context["seconds"] = std::round(seconds_since(start));
  return report;
}

}  // namespace w8a8::bench
