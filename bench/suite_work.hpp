// What the GPU suites share: the state of a run, and what each of them puts on the clock.
#pragma once

#include <cuda_runtime_api.h>

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "inputs.hpp"
#include "library_calls.hpp"
#include "limits.hpp"
#include "options.hpp"
#include "peers.hpp"
#include "report.hpp"
#include "suites.hpp"
#include "timer.hpp"
#include "w8a8/gemm/tuning/table.hpp"
#include "w8a8/support/device.hpp"

namespace w8a8::bench {

/// Everything that the rows of a run share.
struct Run {
  const Options& options;
  DeviceProperties device;
  Timer& timer;
  const Pools& pools;
  const Limits& limits;
  CublasPeers& peers;
  const TuningTable* tuning = nullptr;

  double l2() const { return device.l2_bytes; }
  std::uint8_t* out() const { return const_cast<std::uint8_t*>(pools.out.data()); }
  std::int8_t* codes() const { return const_cast<std::int8_t*>(pools.codes.data()); }
  float* code_scales() const { return const_cast<float*>(pools.code_scales.data()); }
  GemmOptions gemm_options() const {
    GemmOptions gemm;
    gemm.kernel = options.kernel;
    gemm.configuration = options.configuration;
    gemm.tuning = tuning;
    gemm.dependent_launch = options.dependent_launch;
    return gemm;
  }
};

inline double output_bytes(const Options& options) { return options.output == Output::float32 ? 4 : 2; }

inline bool wants_peer(const Options& options, std::initializer_list<const char*> names) {
  for (const std::string& peer : options.peers) {
    for (const char* name : names) {
      if (peer == name) return true;
    }
  }
  return false;
}

/// One kernel of a peer, measured for itself in bursts; no contender of ours.
struct PeerPart {
  const char* part;
  const char* peer;
};

/// What the suites of rows differ in.
struct SuiteWork {
  virtual ~SuiteWork() = default;
  /// The rows of the suite for the shapes asked for.
  virtual std::vector<Shape> rows(const Options& options) const { return options.shapes; }
  /// Grows `sizes` by what a row needs.
  virtual void include(PoolSizes& sizes, const Options& options, const Shape& shape, double l2_bytes) const = 0;
  /// Bytes that a launch must move.
  virtual double bytes(const Options& options, const Shape& shape) const = 0;
  virtual double operations(const Shape& shape) const { return shape.operations(); }
  virtual std::string kernel(const Run& run, const Shape& shape) const = 0;
  virtual Work ours(const Run& run, const Shape& shape) const = 0;
  /// The same with programmatic dependent launch, where the suite measures both.
  virtual std::optional<Work> ours_dependent(const Run&, const Shape&) const { return std::nullopt; }
  virtual bool measures_dependent() const { return false; }
  virtual bool is_copy() const { return false; }  ///< reads and writes alike: the limit is the card's copy bandwidth
  virtual bool takes_peer(const std::string&) const { return true; }
  virtual std::optional<Work> peer(const Run& run, const std::string& name, const Shape& shape, double guess_us) const {
    return run.peers.work(name, shape, guess_us);
  }
  virtual std::vector<PeerPart> parts() const { return {}; }
};

/// gemm, linear, quantize.
std::unique_ptr<SuiteWork> make_suite(Suite suite);

// gemm_suite.cpp
std::unique_ptr<SuiteWork> make_gemm_suite();
std::unique_ptr<SuiteWork> make_linear_suite();
// quantize_suite.cpp
std::unique_ptr<SuiteWork> make_quantize_suite();

/// The operands of gemm() on an input set of a shape.
GemmArguments gemm_arguments(const Run& run, const Shape& shape, int set);

// sweep.cpp, chain.cpp, tune.cpp: suites with a course of their own. Rows go to `report` and to the console.
void run_sweep(const Run& run, const std::vector<Shape>& rows, Report& report, Console& console);
void include_chain(PoolSizes& sizes, const Options& options, double l2_bytes);
void run_chain(const Run& run, Report& report, Console& console);
void run_tune(const Run& run, const std::vector<Shape>& rows, Report& report, Console& console);

}  // namespace w8a8::bench
