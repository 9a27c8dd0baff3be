// The row kernel: load, statistics, codes, one read of the input. `Threads` threads share a row and keep up to `Groups` groups of
// it each in registers; longer rows are read once a pass. Every quantizer and every fused form is this kernel with another
// producer.
#pragma once

#include <cstdint>
#include <cub/warp/warp_reduce.cuh>

#include "w8a8/ptx/dependent_launch.cuh"
#include "w8a8/quant/encoder.hpp"
#include "w8a8/quant/producer.hpp"
#include "w8a8/quant/quantize.hpp"
#include "w8a8/quant/row.hpp"
#include "w8a8/quant/tuning.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/launch.cuh"

namespace w8a8::detail {

/// How a row is spread: `Threads` a row (a power of two), `Groups` groups kept a thread, `Rows` rows a CTA. Without `Resident`
/// the row is longer than the threads keep and each pass reads it again.
template <int Threads_, int Groups_, int Rows_, bool Resident_, int Ctas_ = 1>
struct RowConfig {
  static constexpr int threads = Threads_, groups = Groups_, rows = Rows_, ctas = Ctas_;
  static constexpr bool resident = Resident_;
  static constexpr int warps = threads / 32;
  static constexpr int span = threads * groups * group_size;  // elements kept
  static_assert(threads >= 32 && (threads & (threads - 1)) == 0, "the folding order of a row sum needs a power of two");
  static_assert(groups <= 8, "fold_slots() folds up to eight");
  static_assert(rows == 1 || threads == 32, "several rows a CTA: one warp each, so that no barrier is needed");
  static_assert(resident ? threads * groups <= sum_slots : threads * groups == sum_slots,
                "slot g mod 4096 belongs to one thread");
};

/// Shared memory of the reductions; each is used once a row, so that one barrier a reduction is enough.
template <class Config, class Producer, class Encoder>
struct RowStorage {
  using WarpMax = cub::WarpReduce<std::uint32_t>;
  typename WarpMax::TempStorage warp[Config::warps * Config::rows];
  std::uint32_t extent[Encoder::words > 0 ? Encoder::words : 1][32];
  float partial[static_cast<int>(Producer::moment) + 1]
               [Config::warps > 1 && Producer::moment != Moment::none ? Config::threads : 1];
  float column[static_cast<int>(Producer::moment) + 1][32];
};

#if CUB_VERSION >= 200800
using Maximum = ::cuda::maximum<>;
#else
using Maximum = ::cub::Max;
#endif

/// The maximum of each extent word over the row's threads, in all of them.
template <class Config, class Encoder, class Storage>
W8A8_DEVICE void reduce_extent(Extent<Encoder>& extent, Storage& storage, int lane) {
  using WarpMax = typename Storage::WarpMax;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  W8A8_UNROLL
  for (int w = 0; w < Encoder::words; ++w) {
    const std::uint32_t most = WarpMax(storage.warp[warp]).Reduce(extent.word[w], Maximum{});
    extent.word[w] = __shfl_sync(0xffffffffu, most, 0);
  }
  if constexpr (Config::warps > 1) {
    W8A8_UNROLL
    for (int w = 0; w < Encoder::words; ++w) {
      if (lane % 32 == 0) storage.extent[w][warp] = extent.word[w];
    }
    __syncthreads();
    W8A8_UNROLL
    for (int w = 0; w < Encoder::words; ++w) {
      const std::uint32_t most =
          WarpMax(storage.warp[warp]).Reduce(lane % 32 < Config::warps ? storage.extent[w][lane % 32] : 0u, Maximum{});
      extent.word[w] = __shfl_sync(0xffffffffu, most, 0);
    }
  }
}

/// The fold of a thread's own slots, then across warps, then across lanes: the order of row.hpp. The same bits in all threads.
template <class Config, class Storage>
W8A8_DEVICE float fold_slots(float (&slot)[Config::groups], Storage& storage, int which, int lane) {
  W8A8_UNROLL
  for (int half = 4; half > 0; half /= 2) {
    W8A8_UNROLL
    for (int i = 0; i < half; ++i) {
      if (i + half < Config::groups) slot[i] = add(slot[i], slot[i + half]);
    }
  }
  float sum = slot[0];
  const int warp = lane / 32;
  if constexpr (Config::warps == 32) {
    // Warp w folds the lane w of all warps: half the shared-memory traffic of what fewer warps do below.
    storage.partial[which][lane] = sum;
    __syncthreads();
    float across = storage.partial[which][(lane % 32) * 32 + warp];
    W8A8_UNROLL
    for (int half = 16; half > 0; half /= 2) across = add(across, __shfl_xor_sync(0xffffffffu, across, half));
    if (lane % 32 == 0) storage.column[which][warp] = across;
    __syncthreads();
    sum = storage.column[which][lane % 32];
  } else if constexpr (Config::warps > 1) {
    storage.partial[which][lane] = sum;
    __syncthreads();
    float part[Config::warps];
    W8A8_UNROLL
    for (int w = 0; w < Config::warps; ++w) part[w] = storage.partial[which][w * 32 + lane % 32];
    W8A8_UNROLL
    for (int half = Config::warps / 2; half > 0; half /= 2) {
      W8A8_UNROLL
      for (int w = 0; w < half; ++w) part[w] = add(part[w], part[w + half]);
    }
    sum = part[0];
  }
  W8A8_UNROLL
  for (int half = 16; half > 0; half /= 2) sum = add(sum, __shfl_xor_sync(0xffffffffu, sum, half));
  return sum;
}

/// One row, by the `Config::threads` threads that call it with lane = 0, 1, ...
template <class Config, bool Aligned, class Producer, class Encoder, class Storage>
W8A8_DEVICE void process_row(const RowTask<Producer, Encoder>& task, std::int64_t row, int lane, Storage& storage) {
  const Producer& producer = task.producer;
  const int columns = task.shape.columns;
  Group<typename Producer::Cached> cache[Config::groups];

  // Calls f(i, k, count) for each group of this thread, once cache[i] holds it.
  const auto visit = [&](bool first, auto&& f) {
    for (int base = 0; base < columns; base += Config::span) {
      const auto each_group = [&](auto&& g) {
        W8A8_UNROLL
        for (int i = 0; i < Config::groups; ++i) {
          const int k = base + (i * Config::threads + lane) * group_size;
          if (k < columns) g(i, k, Aligned ? group_size : min_of(group_size, columns - k));
        }
      };
      if (first) {
        each_group([&](int i, int k, int count) { cache[i] = producer.template load<Aligned>(row, k, count); });
      } else if (!Config::resident) {
        each_group([&](int i, int k, int count) { cache[i] = producer.template reload<Aligned>(row, k, count); });
      }
      each_group(f);
      if (Config::resident) break;
    }
  };

  Moments moments;
  bool first = true;
  if constexpr (Producer::moment == Moment::variance) {
    float slot[Config::groups] = {};
    visit(first, [&](int i, int, int) { add_group(cache[i], slot[i]); });
    moments.mean = divide(fold_slots<Config>(slot, storage, 0, lane), static_cast<float>(columns));
    first = false;
  }
  if constexpr (Producer::moment != Moment::none) {
    float slot[Config::groups] = {};
    visit(first, [&](int i, int, int count) { add_squares(cache[i], moments.mean, count, slot[i]); });
    moments.reciprocal_deviation = reciprocal_deviation(fold_slots<Config>(slot, storage, 1, lane), columns, producer.epsilon);
    first = false;
  }
  Extent<Encoder> extent;
  if constexpr (Encoder::words > 0) {
    visit(first, [&](int i, int k, int count) {
      if constexpr (Producer::identity) {
        Encoder::widen(extent.word, cache[i]);
      } else {
        Encoder::widen(extent.word, producer.template finish<Aligned>(cache[i], moments, k, count));
      }
    });
    reduce_extent<Config>(extent, storage, lane);
    first = false;
  }
  const auto coder = make_coder(task.encoder, extent, row, lane == 0);
  visit(first, [&](int i, int k, int count) {
    const Group<float> v = producer.template finish<Aligned>(cache[i], moments, k, count);
    producer.template emit<Aligned>(v, row, k, count);
    Group<std::int8_t> codes;
    coder.encode(v, codes);
    store_group<Aligned>(task.out.at(row, k), codes, count);
  });
}

template <class Config, class Producer, class Encoder>
__global__ void __launch_bounds__(Config::threads* Config::rows, Config::ctas)
    row_kernel(const __grid_constant__ RowTask<Producer, Encoder> task, bool aligned, bool dependent_launch) {
  __shared__ RowStorage<Config, Producer, Encoder> storage;
  if (dependent_launch) {
    // In this order: a kernel that starts its successor must itself have seen its predecessor's end, or the successor, which
    // waits for this kernel only, could run beside the kernel before both.
    ptx::griddepcontrol_wait();
    ptx::griddepcontrol_launch_dependents();
  }
  const int lane = static_cast<int>(threadIdx.x) % Config::threads;
  const std::int64_t row = std::int64_t{blockIdx.x} * Config::rows + threadIdx.x / Config::threads;
  if (row >= task.shape.rows) return;
  if (aligned) {
    process_row<Config, true>(task, row, lane, storage);
  } else {
    process_row<Config, false>(task, row, lane, storage);
  }
}

template <class Config, class Producer, class Encoder>
void launch_rows(const char* function, const RowTask<Producer, Encoder>& task, bool dependent_launch, cudaStream_t stream) {
  const bool aligned = task.shape.columns % group_size == 0 && task.out.aligned() && task.producer.aligned();
  LaunchConfig config;
  config.grid = static_cast<unsigned>(ceil_div(task.shape.rows, std::int64_t{Config::rows}));
  config.block = Config::threads * Config::rows;
  config.dependent_launch = dependent_launch && waits_for_dependencies(row_kernel<Config, Producer, Encoder>);
  config.stream = stream;
  launch(function, row_kernel<Config, Producer, Encoder>, config, task, aligned, config.dependent_launch);
}

/// Launches a checked row task on `stream`, with the block that fits the row.
template <class Producer, class Encoder>
void run_rows_on_device(const char* function, const RowTask<Producer, Encoder>& task, bool dependent_launch,
                        cudaStream_t stream) {
  if (task.shape.rows == 0) return;
  const auto run = [&](auto config) { launch_rows<decltype(config)>(function, task, dependent_launch, stream); };
  switch (select_row_layout(task.shape.rows, task.shape.columns)) {
    case RowLayout::warp_5: return run(RowConfig<32, 5, 4, true>{});
    case RowLayout::t128_4: return run(RowConfig<128, 4, 1, true>{});
    case RowLayout::t256_4: return run(RowConfig<256, 4, 1, true>{});
    case RowLayout::t512_1: return run(RowConfig<512, 1, 1, true>{});
    case RowLayout::t512_4: return run(RowConfig<512, 4, 1, true>{});
    case RowLayout::t512_7: return run(RowConfig<512, 7, 1, true>{});
    case RowLayout::t1024_4: return run(RowConfig<1024, 4, 1, true>{});
    case RowLayout::streamed: return run(RowConfig<1024, 4, 1, false>{});
  }
}

}  // namespace w8a8::detail
