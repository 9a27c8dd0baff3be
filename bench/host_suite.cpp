#include <chrono>
#include <cmath>
#include <fstream>
#include <random>
#include <thread>
#include <vector>

#include "suites.hpp"
#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/gemm/host_gemm.hpp"
#include "w8a8/tensor/tensor.hpp"

namespace w8a8::bench {

namespace {

constexpr const char* triple_loop_name = "triple_loop";

/// What anyone would write first; one thread.
template <class Out>
void triple_loop(const Tensor<std::int8_t, 2, Host>& x, const Tensor<std::int8_t, 2, Host>& w, const std::vector<float>& token,
                 const std::vector<float>& channel, const std::vector<float>& bias, Tensor<Out, 2, Host>& out) {
  for (std::int64_t m = 0; m < x.extent(0); ++m) {
    for (std::int64_t n = 0; n < w.extent(0); ++n) {
      std::int32_t sum = 0;
      const std::int8_t *row = x.data() + m * x.extent(1), *column = w.data() + n * w.extent(1);
      for (std::int64_t k = 0; k < x.extent(1); ++k) sum += row[k] * column[k];
      out.data()[m * w.extent(0) + n] = from_float<Out>(std::fma(static_cast<float>(sum) * channel[n], token[m], bias[n]));
    }
  }
}

/// Runs f once to warm up, then at least three times and for about 0.2 s. Microseconds a call.
template <class F>
std::vector<double> time_calls(F&& f) {
  using Clock = std::chrono::steady_clock;
  const auto once = [&] {
    const auto start = Clock::now();
    f();
    return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
  };
  std::vector<double> samples;
  const double first = once();
  for (double spent = 0; samples.size() < 3 || (spent < 2e5 && samples.size() < 1000);) {
    samples.push_back(once());
    spent += samples.back();
    if (first > 1e6) break;  // a second a call: one more has to do
  }
  return samples;
}

template <class Out>
Row measure(const Options& options, const Shape& shape) {
  std::mt19937_64 generator(options.seed);
  std::normal_distribution<float> bell(0, 35);
  Tensor<std::int8_t, 2, Host> x({shape.m, shape.k}), w({shape.n, shape.k});
  for (auto* tensor : {&x, &w}) {
    for (std::int64_t i = 0; i < tensor->size(); ++i) {
      tensor->data()[i] = static_cast<std::int8_t>(std::lround(std::fmin(127.0f, std::fmax(-127.0f, bell(generator)))));
    }
  }
  std::vector<float> token(static_cast<std::size_t>(shape.m), 0.01f), channel(static_cast<std::size_t>(shape.n), 0.02f);
  std::vector<float> addend(static_cast<std::size_t>(shape.n), options.bias ? 0.5f : 0.0f);
  std::vector<Out> bias(static_cast<std::size_t>(shape.n), from_float<Out>(0.5f));
  Tensor<Out, 2, Host> out({shape.m, shape.n});

  Row row;
  row.shape = shape;
  row.kernel = "host_gemm/" + std::to_string(std::max(1u, std::thread::hardware_concurrency())) + "_threads";
  row.operations = shape.operations();
  row.bytes = 1.0 * shape.m * shape.k + 1.0 * shape.n * shape.k + static_cast<double>(sizeof(Out)) * shape.m * shape.n;
  const Dequantize dequantize(VectorView<const float, Host>(token.data(), {shape.m}),
                              VectorView<const float, Host>(channel.data(), {shape.n}));
  row.burst = summarize(time_calls([&] {
    if (options.bias) {
      gemm(x.view(), w.view(), dequantize | Bias(VectorView<const Out, Host>(bias.data(), {shape.n})), out.view());
    } else {
      gemm(x.view(), w.view(), dequantize, out.view());
    }
  }));
  if (!options.peers.empty()) {
    row.peers[triple_loop_name] = summarize(time_calls([&] { triple_loop(x, w, token, channel, addend, out); }));
  }
  return row;
}

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const std::size_t colon = line.find(": ");
    if (line.rfind("model name", 0) == 0 && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown CPU";
}

}  // namespace

Report run_host_suite(const Options& options) {
  Console console(options);
  Report report;
  report.suite = options.suite_name;
  report.context = common_context(options);
  report.context["device"] = cpu_name();
  report.context["driver"] = "none";
  report.context["cuda"] = "none";
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  const int total = static_cast<int>(options.shapes.size());
  for (int done = 0; done < total; ++done) {
    const Shape& shape = options.shapes[static_cast<std::size_t>(done)];
    console.next(done, total, shape, elapsed());
    if (options.time_budget > 0 && elapsed() > options.time_budget) {
      console.skip(shape, "the time budget is spent");
      report.skipped.push_back({shape, "the time budget is spent"});
      continue;
    }
    switch (options.output) {
      case Output::half: report.rows.push_back(measure<half>(options, shape)); break;
      case Output::bfloat16: report.rows.push_back(measure<bfloat16>(options, shape)); break;
      case Output::float32: report.rows.push_back(measure<float>(options, shape)); break;
    }
    console.row(report.rows.back());
    if (!options.json.empty()) write_results(to_json(report), options.json, false);
  }
  return report;
}

}  // namespace w8a8::bench
