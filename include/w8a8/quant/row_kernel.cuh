// The row kernel: load, statistics, codes, one read of the input. `Threads` threads share a row and keep up to `Groups` groups of
// it each in registers; longer rows are read once a pass. Every quantizer and every fused form is this kernel with another
// producer.
#pragma once

#include <cstdint>
#include <cub/version.cuh>
#include <cub/warp/warp_reduce.cuh>
#include <cuda/functional>
#include <type_traits>

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
/// the row is longer than the threads keep and each pass reads it again. Registers are bounded so that `Ctas` CTAs fit an SM.
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

/// Shared memory of the reductions; each word is written once a row, so that one barrier a reduction is enough.
template <class Config, class Producer, class Encoder>
struct RowStorage {
  static constexpr int sums = static_cast<int>(Producer::moment);  // none, squares, mean and squares
  using WarpMax = cub::WarpReduce<std::uint32_t>;
  typename WarpMax::TempStorage warp[Config::warps * Config::rows];
  std::uint32_t extent[Encoder::words > 0 ? Encoder::words : 1][32];
  float partial[sums + 1][Config::warps > 1 && sums > 0 ? Config::threads : 1];
  float column[sums + 1][32];
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

/// Folds in halves: value[i] += value[i + h] for h = Width / 2, ..., 1, absent values being zero. The sum is value[0].
template <int Width, int Count>
W8A8_DEVICE void fold(float (&value)[Count]) {
  if constexpr (Width > 1) {
    W8A8_UNROLL
    for (int i = 0; i < Width / 2; ++i) {
      if (i + Width / 2 < Count) value[i] = add(value[i], value[i + Width / 2]);
    }
    fold<Width / 2>(value);
  }
}

/// The fold of a thread's own slots, then across warps, then across lanes: the order of row.hpp. The same bits in all threads.
template <class Config, class Storage>
W8A8_DEVICE float fold_slots(float (&slot)[Config::groups], Storage& storage, int which, int lane) {
  fold<8>(slot);
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
    fold<Config::warps>(part);
    sum = part[0];
  }
  W8A8_UNROLL
  for (int half = 16; half > 0; half /= 2) sum = add(sum, __shfl_xor_sync(0xffffffffu, sum, half));
  return sum;
}

/// The statistics that the producer's finish() needs. take(visit): calls visit(i, values, count) for each group of this thread, i
/// the slot it belongs to.
template <class Config, bool Aligned, class Producer, class Storage, class Take>
W8A8_DEVICE Moments row_moments(const Producer& producer, int columns, Storage& storage, int lane, Take&& take) {
  Moments moments;
  if constexpr (Producer::moment == Moment::variance) {
    float slot[Config::groups] = {};
    take([&](int i, const Values& x, int) { add_elements(x, slot[i]); });
    moments.mean = divide(fold_slots<Config>(slot, storage, 1, lane), static_cast<float>(columns));
  }
  if constexpr (Producer::moment != Moment::none) {
    float slot[Config::groups] = {};
    take([&](int i, const Values& x, int count) { add_squares<Producer::moment, Aligned>(x, moments.mean, count, slot[i]); });
    moments.reciprocal_deviation = reciprocal_deviation(fold_slots<Config>(slot, storage, 0, lane), columns, producer.epsilon);
  }
  return moments;
}

/// One aligned row that the threads keep, by the `Config::threads` threads that call it with lane = 0, 1, ...
template <class Config, class Producer, class Encoder, class Storage>
W8A8_DEVICE void process_resident_row(const RowTask<Producer, Encoder>& task, std::int64_t row, int lane, Storage& storage) {
  const Producer& producer = task.producer;
  const int columns = task.shape.columns, begin = lane * group_size;

  // Calls f(i, k, count) for group i of this thread; count is 0 where the row ends before it.
  const auto group = [&](int i, auto&& f) {
    constexpr int stride = Config::threads * group_size;
    f(i, std::int64_t{begin} + i * stride, columns > begin + i * stride ? group_size : 0);
  };
  // For each group that some thread has.
  const auto each_group = [&](auto&& f) {
    W8A8_UNROLL
    for (int i = 0; i < Config::groups; ++i) {
      if (i == 0 || i * Config::threads * group_size < columns) group(i, f);
    }
  };

  // Without a branch in between, so that all loads are under way before the first is waited for.
  typename Producer::Raw raw[Config::groups];
  W8A8_UNROLL
  for (int i = 0; i < Config::groups; ++i) {
    group(i, [&](int, std::int64_t k, int count) { raw[i] = producer.template fetch<true>(row, k, count); });
  }
  typename Producer::Cached cache[Config::groups];
  each_group([&](int i, std::int64_t k, int count) { cache[i] = producer.template merge<true>(raw[i], row, k, count); });

  if constexpr (Producer::moment != Moment::none) {
    const Moments moments = row_moments<Config, true>(producer, columns, storage, lane, [&](auto&& f) {
      each_group([&](int i, std::int64_t, int count) { f(i, cache[i], count); });
    });
    each_group([&](int i, std::int64_t k, int count) {
      cache[i] = producer.finish(cache[i], moments, producer.template parameters<true>(k, count));
    });
  }
  Extent<Encoder> extent;
  if constexpr (Encoder::words > 0) {
    each_group([&](int i, std::int64_t, int) { Encoder::widen(extent.word, cache[i]); });
    reduce_extent<Config>(extent, storage, lane);
  }
  const auto coder = make_coder(task.encoder, extent, row, lane == 0);
  each_group([&](int i, std::int64_t k, int count) {
    const Values v = values_of(cache[i]);
    producer.template emit<true>(v, row, k, count);
    store_group<true>(task.out.at(row, k), coder.encode(v), count);
  });
}

/// One row that is longer than the threads keep, or not aligned: each pass reads it again.
template <class Config, bool Aligned, class Producer, class Encoder, class Storage>
W8A8_DEVICE void process_streamed_row(const RowTask<Producer, Encoder>& task, std::int64_t row, int lane, Storage& storage) {
  const Producer& producer = task.producer;
  const int columns = task.shape.columns;
  bool first = true;

  // Calls f(i, cached, k, count) for each group of this thread, with the producer's first step done once.
  const auto pass = [&](auto&& f) {
    for (int base = 0; base < columns; base += Config::span) {
      W8A8_UNROLL
      for (int i = 0; i < Config::groups; ++i) {
        const int k = base + (i * Config::threads + lane) * group_size, count = min_of(group_size, columns - k);
        if (count <= 0) continue;
        if (first) {
          f(i, producer.template merge<Aligned>(producer.template fetch<Aligned>(row, k, count), row, k, count), k, count);
        } else {
          f(i, producer.template reload<Aligned>(row, k, count), k, count);
        }
      }
    }
    first = false;
  };

  Moments moments;
  if constexpr (Producer::moment != Moment::none) {
    moments = row_moments<Config, Aligned>(producer, columns, storage, lane, [&](auto&& f) {
      pass([&](int i, const auto& cached, int, int count) { f(i, values_of(cached), count); });
    });
  }
  const auto values = [&](const auto& cached, int k, int count) {
    if constexpr (Producer::moment != Moment::none) {
      return producer.finish(cached, moments, producer.template parameters<Aligned>(k, count));
    } else {
      return values_of(cached);
    }
  };
  Extent<Encoder> extent;
  if constexpr (Encoder::words > 0) {
    pass([&](int, const auto& cached, int k, int count) { Encoder::widen(extent.word, values(cached, k, count)); });
    reduce_extent<Config>(extent, storage, lane);
  }
  const auto coder = make_coder(task.encoder, extent, row, lane == 0);
  pass([&](int, const auto& cached, int k, int count) {
    const Values v = values(cached, k, count);
    producer.template emit<Aligned>(v, row, k, count);
    store_group<Aligned>(task.out.at(row, k), coder.encode(v), count);
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
  if (!aligned) {
    process_streamed_row<Config, false>(task, row, lane, storage);
  } else if constexpr (Config::resident) {
    process_resident_row<Config>(task, row, lane, storage);
  } else {
    process_streamed_row<Config, true>(task, row, lane, storage);
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
  // CTAs an SM: as many as fit without the compiler having to spill more than a word or two.
  constexpr bool sums = Producer::moment != Moment::none;
  const auto run = [&](auto config) { launch_rows<decltype(config)>(function, task, dependent_launch, stream); };
  switch (select_row_layout(task.shape.rows, task.shape.columns)) {
    case RowLayout::warp_5: return run(RowConfig<32, 5, 4, true>{});
    case RowLayout::t128_4: return run(RowConfig<128, 4, 1, true, (sums ? 8 : 10)>{});
    case RowLayout::t256_4: return run(RowConfig<256, 4, 1, true, (sums ? 4 : 5)>{});
    case RowLayout::t512_1: return run(RowConfig<512, 1, 1, true>{});
    case RowLayout::t512_4: return run(RowConfig<512, 4, 1, true, (sums ? 2 : 3)>{});
    case RowLayout::t512_7: return run(RowConfig<512, 7, 1, true, (sums ? 1 : 2)>{});
    case RowLayout::t1024_4: return run(RowConfig<1024, 4, 1, true>{});
    case RowLayout::streamed: return run(RowConfig<1024, 4, 1, false>{});
  }
}

}  // namespace w8a8::detail
