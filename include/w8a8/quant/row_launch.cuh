// The choice of a block for a row, and the launch of the row kernel with it.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <type_traits>

#include "w8a8/quant/producer.hpp"
#include "w8a8/quant/quantize.hpp"
#include "w8a8/quant/row.hpp"
#include "w8a8/quant/row_block.cuh"
#include "w8a8/quant/row_kernel.cuh"
#include "w8a8/quant/tuning.hpp"
#include "w8a8/support/device.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/support/launch.cuh"

namespace w8a8::detail {

template <class Config, bool Aligned, class Producer, class Encoder>
void launch_rows(const char* function, const RowTask<Producer, Encoder>& task, DependentLaunch dependent_launch,
                 cudaStream_t stream) {
  constexpr auto kernel = row_kernel<Config, Aligned, Producer, Encoder>;
  LaunchConfig config;
  config.grid = static_cast<unsigned>(ceil_div(task.shape.rows, std::int64_t{Config::rows}));
  config.block = Config::threads * Config::rows;
  config.dependent_launch = dependent_launch != DependentLaunch::none && waits_for_dependencies(kernel);
  config.stream = stream;
  launch(function, kernel, config, task, config.dependent_launch ? dependent_launch : DependentLaunch::none);
}

/// Launches the CTAs of an SM times the SMs, to walk over the rows: true, or false where they would not have several each, or
/// where the device cannot.
template <class Config, class Producer, class Encoder>
bool launch_walk(const char* function, const RowTask<Producer, Encoder>& task, DependentLaunch dependent_launch,
                 cudaStream_t stream) {
  constexpr auto kernel = row_kernel<Config, true, Producer, Encoder>;
  int device = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  LaunchConfig config;
  config.grid = static_cast<unsigned>(Config::ctas * device_attribute(cudaDevAttrMultiProcessorCount, device));
  if (task.shape.rows <= config.grid || !is_compiled_for_device(kernel, Config::threads)) return false;
  config.block = Config::threads;
  config.shared_bytes = Config::span * sizeof(typename Producer::Element);
  config.dependent_launch = dependent_launch != DependentLaunch::none;
  config.stream = stream;
  launch(function, kernel, config, task, dependent_launch);
  return true;
}

/// One aligned layout. Registers are bounded for as many CTAs an SM as the compiler can serve without much spilling. Streams: the
/// producer may have optional matrices, which costs registers.
template <bool Streams, class Producer, class Encoder>
void run_aligned_rows(const char* function, const RowTask<Producer, Encoder>& task, DependentLaunch dependent_launch,
                      cudaStream_t stream) {
  constexpr bool sums = Producer::moment != Moment::none, two_sums = Producer::moment == Moment::variance;
  const int columns = task.shape.columns;
  const auto run = [&](auto config) { launch_rows<decltype(config), true>(function, task, dependent_launch, stream); };
  // A row that fills its threads gets a kernel that knows it: up to 6% less time. With optional matrices memory is the limit.
  const auto run_full = [&](auto full, auto config) {
    if (!Streams && columns == decltype(full)::span) {
      if constexpr (!Streams) run(full);
    } else {
      run(config);
    }
  };
  // Where computing a row takes about as long as reading it, or an SM holds one row only, the two overlap in a CTA that walks.
  const auto walk = [&](auto worth, auto full, auto config) {
    if constexpr (!Streams && decltype(worth)::value) {
      if (columns == decltype(full)::span) return launch_walk<decltype(full)>(function, task, dependent_launch, stream);
      return launch_walk<decltype(config)>(function, task, dependent_launch, stream);
    } else {
      return false;
    }
  };
  using Heavy = std::bool_constant<Producer::heavy>;
  using LongSum = std::bool_constant<sums && sizeof(typename Producer::Cached) == 16>;
  switch (select_row_layout(task.shape.rows, columns, Streams)) {
    case RowLayout::warp_5: {
      if constexpr (!Streams && Producer::heavy && two_sums) {
        using Halves = RowConfig<16, 9, 8, 4, full_row>;
        if (columns == Halves::span) return run(Halves{});
      }
      constexpr int ctas = Streams && Producer::heavy && !sums ? 5 : 6;
      return run(RowConfig<32, 5, 4, ctas>{});
    }
    case RowLayout::t256_2: return run(RowConfig<256, 2, 1, 1, early_parameters(2)>{});
    case RowLayout::t128_4: {
      constexpr int ctas = two_sums ? 7 : 8;
      if (walk(Heavy{}, RowConfig<128, 4, 1, ctas, full_row | walking_cta>{}, RowConfig<128, 4, 1, ctas, walking_cta>{})) return;
      return run_full(RowConfig<128, 4, 1, 8, full_row>{}, RowConfig<128, 4, 1, 8>{});
    }
    case RowLayout::t128_5:
      if constexpr (!Streams && sums) {
        using Walking = RowConfig<128, 5, 1, 6, full_row | walking_cta>;
        if (walk(Heavy{}, Walking{}, Walking{})) return;
        return run(RowConfig<128, 5, 1, 6, full_row>{});
      }
      [[fallthrough]];
    case RowLayout::t256_4: {
      constexpr int ctas = two_sums ? 3 : 4;
      if (walk(Heavy{}, RowConfig<256, 4, 1, ctas, full_row | walking_cta>{}, RowConfig<256, 4, 1, ctas, walking_cta>{})) return;
      return run_full(RowConfig<256, 4, 1, 4, full_row>{}, RowConfig<256, 4, 1, 4>{});
    }
    case RowLayout::t256_7: {
      constexpr unsigned walking = walking_cta | early_parameters(2);
      if (walk(Heavy{}, RowConfig<256, 7, 1, 2, full_row | walking>{}, RowConfig<256, 7, 1, 2, walking>{})) return;
      constexpr int ctas = Streams && !two_sums ? 2 : 3;
      constexpr unsigned leader = sums && !two_sums ? leading_warp : 0;
      return run_full(RowConfig<256, 7, 1, ctas, full_row | leader>{}, RowConfig<256, 7, 1, ctas, leader>{});
    }
    case RowLayout::t512_4:
      if constexpr (!Streams) return run(RowConfig<512, 4, 1, 2>{});
      break;
    case RowLayout::t512_7:
      if constexpr (!Streams) {
        constexpr unsigned walking = walking_cta | early_parameters(2);
        if (walk(LongSum{}, RowConfig<512, 7, 1, 1, full_row | walking>{}, RowConfig<512, 7, 1, 1, walking>{})) return;
        return run(RowConfig < 512, 7, 1, sums ? 1 : 2 > {});
      }
      break;
    case RowLayout::t1024_4: return run(RowConfig<1024, 4>{});
    case RowLayout::streamed: return run(RowConfig<1024, 4, 1, 1, streamed_row>{});
  }
}

/// Launches a checked row task on `stream`, with the block that fits the row.
template <class Producer, class Encoder>
void run_rows_on_device(const char* function, const RowTask<Producer, Encoder>& task, const QuantizeOptions& options,
                        cudaStream_t stream) {
  const DependentLaunch dependent_launch = !options.dependent_launch ? DependentLaunch::none
                                           : options.early_successor ? DependentLaunch::early_successor
                                                                     : DependentLaunch::successor_after_wait;
  if (task.shape.rows == 0) return;
  if (task.shape.columns % group_size != 0 || !task.out.aligned() || !task.producer.aligned()) {
    const auto run = [&](auto config) { launch_rows<decltype(config), false>(function, task, dependent_launch, stream); };
    if (task.shape.columns <= 1280) return run(RowConfig<32, 5, 4>{});
    if (task.shape.columns <= 4096) return run(RowConfig<128, 4>{});
    return run(RowConfig<1024, 4, 1, 1, streamed_row>{});
  }
  using Lean = std::decay_t<decltype(task.producer.without_streams())>;
  if (std::is_same_v<Producer, Lean> || !task.producer.has_streams()) {
    const RowTask<Lean, Encoder> lean{task.producer.without_streams(), task.encoder, task.out, task.shape};
    run_aligned_rows<false>(function, lean, dependent_launch, stream);
  } else if constexpr (!std::is_same_v<Producer, Lean>) {
    run_aligned_rows<true>(function, task, dependent_launch, stream);
  }
}

}  // namespace w8a8::detail
