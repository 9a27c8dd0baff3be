// What one gemm() on the GPU launches: which of the four kernels, in which parts and configurations. A named configuration goes
// before the caller's tuning table, and that before the tables of gemm/tuning/.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdlib>
#include <string>
#include <type_traits>

#include "w8a8/gemm/config_list.hpp"
#include "w8a8/gemm/floating_gemm.cuh"
#include "w8a8/gemm/problem.hpp"
#include "w8a8/gemm/sm80_decode.cuh"
#include "w8a8/gemm/sm80_gemm.cuh"
#include "w8a8/gemm/sm90_decode.cuh"
#include "w8a8/gemm/sm90_gemm.cuh"
#include "w8a8/gemm/tuning/dispatch.hpp"
#include "w8a8/gemm/tuning/parts.hpp"
#include "w8a8/gemm/tuning/table.hpp"
#include "w8a8/support/device.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8 {

namespace detail {

// One entry for each of the four kernels, so that planning and launching are written once. part_columns: of which multiple of
// columns a configuration makes a part that others follow; 0 where it makes all. refusal(): why the kernel cannot run the
// problem; "" where it can. shared_bytes: of a CTA, where not all devices that the kernel runs on have as much.
struct Sm80GemmEntry {
  using Configs = Sm80GemmConfigs;
  static constexpr Kernel family = Kernel::sm80;
  template <class Config>
  static constexpr int part_columns = Config::block_n;
  static GemmParts select(int m, int n, int k, const DeviceProperties& device) { return select_sm80_gemm(m, n, k, device); }
  template <class Out>
  static std::string refusal(const GemmProblem<Out>& p, const DeviceProperties& device) {
    return sm80_gemm_refusal(p, device);
  }
  template <class Config, class Out, class Epilogue>
  static constexpr std::size_t shared_bytes = sizeof(Sm80GemmStorage<Config, Out, Epilogue>);
  template <class Config, class Out, class Epilogue>
  static bool is_compiled() {
    return true;
  }
  template <class... Arguments>
  static void launch(const Arguments&... arguments) {
    launch_sm80_gemm(arguments...);
  }
};

struct Sm80DecodeEntry {
  using Configs = Sm80DecodeConfigs;
  static constexpr Kernel family = Kernel::sm80;
  template <class Config>
  static constexpr int part_columns = 0;
  static GemmParts select(int m, int n, int k, const DeviceProperties& device) {
    return {select_sm80_decode(m, n, k, device), n};
  }
  template <class Out>
  static std::string refusal(const GemmProblem<Out>& p, const DeviceProperties& device) {
    return sm80_decode_refusal(p, device);
  }
  template <class Config, class Out, class Epilogue>
  static constexpr std::size_t shared_bytes = sizeof(Sm80DecodeStorage<Config, Epilogue>);
  template <class Config, class Out, class Epilogue>
  static bool is_compiled() {
    return true;
  }
  template <class Out, class Epilogue>
  static void launch(const GemmProblem<Out>& problem, const Epilogue& epilogue, const GemmPart& all, const GemmOptions& options,
                     const DeviceProperties& device, cudaStream_t stream) {
    launch_sm80_decode(problem, epilogue, all.configuration, options, device, stream);
  }
};

struct Sm90GemmEntry {
  using Configs = Sm90GemmConfigs;
  static constexpr Kernel family = Kernel::sm90;
  template <class Config>
  static constexpr int part_columns = Config::tile_n;
  static GemmParts select(int m, int n, int k, const DeviceProperties& device) { return select_sm90_gemm(m, n, k, device); }
  template <class Out>
  static std::string refusal(const GemmProblem<Out>& p, const DeviceProperties& device) {
    return sm90_gemm_refusal(p, device);
  }
  template <class Config, class Out, class Epilogue>
  static constexpr std::size_t shared_bytes = 0;
  template <class Config, class Out, class Epilogue>
  static bool is_compiled() {
    return sm90_gemm_is_compiled<Config, Out, Epilogue>();
  }
  template <class... Arguments>
  static void launch(const Arguments&... arguments) {
    launch_sm90_gemm(arguments...);
  }
};

struct Sm90DecodeEntry {
  using Configs = Sm90DecodeConfigs;
  static constexpr Kernel family = Kernel::sm90;
  template <class Config>
  static constexpr int part_columns = 0;
  static GemmParts select(int m, int n, int k, const DeviceProperties& device) {
    return {select_sm90_decode(m, n, k, device), n};
  }
  template <class Out>
  static std::string refusal(const GemmProblem<Out>& p, const DeviceProperties& device) {
    return sm90_decode_refusal(p, device);
  }
  template <class Config, class Out, class Epilogue>
  static constexpr std::size_t shared_bytes = 0;
  template <class Config, class Out, class Epilogue>
  static bool is_compiled() {
    return sm90_decode_is_compiled<Config, Out, Epilogue>();
  }
  template <class Out, class Epilogue>
  static void launch(const GemmProblem<Out>& problem, const Epilogue& epilogue, const GemmPart& all, const GemmOptions& options,
                     const DeviceProperties& device, cudaStream_t stream) {
    launch_sm90_decode(problem, epilogue, all.configuration, options, device, stream);
  }
};

/// Calls f with the entry of `kernel`.
template <class F>
void visit_kernel(GpuKernel kernel, F&& f) {
  switch (kernel) {
    case GpuKernel::sm80_gemm: return f(Sm80GemmEntry{});
    case GpuKernel::sm80_decode: return f(Sm80DecodeEntry{});
    case GpuKernel::sm90_gemm: return f(Sm90GemmEntry{});
    case GpuKernel::sm90_decode: return f(Sm90DecodeEntry{});
  }
}

inline constexpr GpuKernel gpu_kernels[] = {GpuKernel::sm80_gemm, GpuKernel::sm80_decode, GpuKernel::sm90_gemm,
                                            GpuKernel::sm90_decode};

/// What one call launches: a kernel, part by part. No parts where none was found.
struct GemmPlan {
  GpuKernel kernel = GpuKernel::sm80_gemm;
  GemmParts parts;
};

/// The name of the configuration, "sm90_gemm/128x96", or where there are two those of both, and the column that the second one
/// starts at: "sm90_gemm/256x192@7872+128x80".
template <class Entry>
std::string parts_name(Entry, const GemmParts& parts) {
  std::string name;
  for (const GemmPart& part : parts) {
    const std::string each = Entry::Configs::names()[static_cast<std::size_t>(part.configuration)];
    name += name.empty() ? each : text("@", part.begin, "+", each.substr(each.find('/') + 1));
  }
  return name;
}

/// The parts of that name that make n columns; none where the kernel has no such configurations, or cannot part n there.
template <class Entry>
GemmParts named_parts(Entry entry, const std::string& name, int n) {
  using Configs = typename Entry::Configs;
  const std::size_t at = name.find('@'), plus = name.find('+');
  const int first = Configs::find(name.substr(0, at));
  if (first < 0 || at == std::string::npos || plus == std::string::npos) return {at == std::string::npos ? first : -1, n};
  const int rest = Configs::find(name.substr(0, name.find('/') + 1) + name.substr(plus + 1));
  const int boundary = static_cast<int>(std::strtol(name.c_str() + at + 1, nullptr, 10));
  int columns = 0;
  Configs::visit(first, [&](auto config) { columns = Entry::template part_columns<decltype(config)>; });
  if (columns == 0 || rest < 0 || boundary <= 0 || boundary >= n || boundary % columns != 0) return {};
  const GemmParts parts(first, boundary, rest, n);
  return parts_name(entry, parts) == name ? parts : GemmParts();
}

inline std::string plan_name(const GemmPlan& plan) {
  std::string name;
  visit_kernel(plan.kernel, [&](auto entry) { name = parts_name(entry, plan.parts); });
  return name;
}

/// The shared memory of a CTA that the parts need, in bytes.
template <class Epilogue, class Out, class Entry>
std::size_t shared_bytes_of(Entry, const GemmParts& parts) {
  std::size_t most = 0;
  for (const GemmPart& part : parts) {
    Entry::Configs::visit(part.configuration, [&](auto config) {
      most = max_of(most, Entry::template shared_bytes<decltype(config), Out, Epilogue>);
    });
  }
  return most;
}

/// Why `Entry` cannot run the problem in these parts, or "" where it can.
template <class Epilogue, class Entry, class Out>
std::string refusal(Entry entry, const GemmProblem<Out>& problem, const GemmParts& parts, const DeviceProperties& device) {
  const std::string reason = Entry::refusal(problem, device);
  if (!reason.empty()) return reason;
  const std::size_t shared_bytes = shared_bytes_of<Epilogue, Out>(entry, parts);
  if (shared_bytes > static_cast<std::size_t>(device.shared_memory_per_block)) {
    return text("a configuration of at most ", device.shared_memory_per_block, " bytes of shared memory a block, not ",
                shared_bytes);
  }
  for (const GemmPart& part : parts) {
    bool compiled = false;
    Entry::Configs::visit(part.configuration,
                          [&](auto config) { compiled = Entry::template is_compiled<decltype(config), Out, Epilogue>(); });
    if (!compiled) return "code for sm_90a, which this program was not compiled for";
  }
  return "";
}

/// What the tuning tables choose. They count on the states of Dequantize | Bias: an epilogue with larger ones gets what they
/// choose for a device of less shared memory, where it would not fit.
template <class Epilogue, class Entry, class Out>
GemmParts chosen_parts(Entry entry, const GemmProblem<Out>& problem, const DeviceProperties& device) {
  DeviceProperties assumed = device;
  for (;;) {
    const GemmParts parts = entry.select(problem.m, problem.n, problem.k, assumed);
    const auto excess = static_cast<int>(shared_bytes_of<Epilogue, Out>(entry, parts)) - device.shared_memory_per_block;
    if (excess <= 0 || assumed.shared_memory_per_block <= 0) return parts;
    assumed.shared_memory_per_block -= excess;
  }
}

/// The plan for a named configuration. Throws Error where the name is unknown or the kernel cannot run the problem.
template <class Epilogue, class Out>
GemmPlan named_plan(const GemmProblem<Out>& problem, const std::string& name, const DeviceProperties& device) {
  GemmPlan plan;
  std::string known, reason;
  for (const GpuKernel kernel : gpu_kernels) {
    visit_kernel(kernel, [&](auto entry) {
      using Configs = typename decltype(entry)::Configs;
      for (const std::string& each : Configs::names()) known += (known.empty() ? "" : ", ") + each;
      const GemmParts parts = named_parts(entry, name, problem.n);
      if (parts.empty()) return;
      plan = {kernel, parts};
      reason = refusal<Epilogue>(entry, problem, parts, device);
    });
  }
  if (plan.parts.empty()) {
    throw Error("gemm", "options.configuration",
                text("one of ", known, "; or FIRST@COLUMN+REST, with a multiple of the first one's tile below N"), name);
  }
  if (!reason.empty()) throw Error("gemm", "options.configuration", reason, name);
  return plan;
}

/// The plan of the tuning tables. Throws Error where no kernel of the family asked for can run the problem.
template <class Epilogue, class Out>
GemmPlan choose_plan(const GemmProblem<Out>& problem, Kernel family, const DeviceProperties& device) {
  GemmPlan plan;
  std::string reason;
  for (const GpuKernel kernel : kernel_preference(family, problem.m, problem.n, problem.k, device)) {
    visit_kernel(kernel, [&](auto entry) {
      const GemmParts parts = chosen_parts<Epilogue>(entry, problem, device);
      reason =
          parts.empty() ? text("a shape that ", kernel_name(family), " takes") : refusal<Epilogue>(entry, problem, parts, device);
      if (reason.empty()) plan = {kernel, parts};
    });
    if (!plan.parts.empty()) return plan;
  }
  throw Error("gemm", "options.kernel", reason, kernel_name(family));
}

/// The plan of the caller's tuning table, or one without parts.
template <class Epilogue, class Out>
GemmPlan tuned_plan(const GemmProblem<Out>& problem, const GemmOptions& options, const DeviceProperties& device) {
  GemmPlan plan;
  if (options.tuning == nullptr || !options.tuning->is_for(device)) return plan;
  const TuningEntry* const tuned = options.tuning->find(problem.m, problem.n, problem.k);
  if (tuned == nullptr) return plan;
  for (const GpuKernel kernel : gpu_kernels) {
    visit_kernel(kernel, [&](auto entry) {
      if (options.kernel != Kernel::automatic && options.kernel != entry.family) return;
      const GemmParts parts = named_parts(entry, tuned->configuration, problem.n);
      if (!parts.empty() && refusal<Epilogue>(entry, problem, parts, device).empty()) plan = {kernel, parts};
    });
  }
  return plan;
}

template <class Epilogue, class Out>
GemmPlan make_plan(const GemmProblem<Out>& problem, const GemmOptions& options, const DeviceProperties& device) {
  if (options.kernel == Kernel::host) throw Error("gemm", "options.kernel", "auto, sm80 or sm90 for device views", "host");
  if (device.compute_capability < 80) {
    throw Error("gemm", "device", "compute capability 8.0 or newer (int8 mma.sync)",
                text(device.compute_capability / 10, ".", device.compute_capability % 10));
  }
  if (!options.configuration.empty()) return named_plan<Epilogue>(problem, options.configuration, device);
  if (const GemmPlan tuned = tuned_plan<Epilogue>(problem, options, device); !tuned.parts.empty()) return tuned;
  return choose_plan<Epilogue>(problem, options.kernel, device);
}

/// A checked gemm() on the current device, and what will run it.
template <class Out, class Operand, class Epilogue>
struct PlannedGemm {
  GemmProblem<Out, Operand> problem;
  Epilogue epilogue;
  GemmOptions options;
  DeviceProperties device;
  std::conditional_t<is_floating_v<Operand>, int, GemmPlan> plan;  ///< not set where there is no output

  /// Throws CudaError where a launch is refused.
  void enqueue(cudaStream_t stream) const {
    if (problem.m == 0 || problem.n == 0) return;
    if constexpr (is_floating_v<Operand>) {
      launch_floating_gemm(problem, epilogue, plan, options, device, stream);
    } else {
      visit_kernel(plan.kernel, [&](auto entry) {
        for (const GemmPart& part : plan.parts) decltype(entry)::launch(problem, epilogue, part, options, device, stream);
      });
    }
  }
};

}  // namespace detail
}  // namespace w8a8
