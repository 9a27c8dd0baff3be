// The row kernel: load, statistics, codes, one read of the input. `Threads` threads share a row and keep up to `Groups` groups of
// it each in registers; longer rows are read once a pass. Where computing takes about as long as reading, a CTA walks over rows
// and has the next one copied to shared memory meanwhile. Every quantizer and every fused form is this kernel with another
// producer.
#pragma once

#include <cstdint>
#include <cub/version.cuh>
#include <cub/warp/warp_reduce.cuh>
#include <cuda/functional>
#include <type_traits>

#include "w8a8/ptx/address.cuh"
#include "w8a8/ptx/dependent_launch.cuh"
#include "w8a8/ptx/mbarrier.cuh"
#include "w8a8/ptx/opaque.cuh"
#include "w8a8/ptx/tma.cuh"
#include "w8a8/quant/encoder.hpp"
#include "w8a8/quant/producer.hpp"
#include "w8a8/quant/quantize.hpp"
#include "w8a8/quant/row.hpp"
#include "w8a8/quant/tuning.hpp"
#include "w8a8/support/arch.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/device.hpp"
#include "w8a8/support/launch.cuh"

namespace w8a8::detail {

/// How a row is spread: `Threads` a row (a power of two), `Groups` groups kept a thread, `Rows` rows a CTA. Registers are bounded
/// so that `Ctas` CTAs fit an SM.
template <int Threads_, int Groups_, int Rows_ = 1, int Ctas_ = 1, unsigned Traits_ = 0>
struct RowConfig {
  static constexpr int threads = Threads_, groups = Groups_, rows = Rows_, ctas = Ctas_;
  static constexpr int lanes = threads < 32 ? threads : 32;  ///< of a warp that share a row
  static constexpr int warps = threads / lanes;
  static constexpr int span = threads * groups * group_size;  // elements kept
  /// The row may be longer than the threads keep: each pass reads it again.
  static constexpr bool streamed = (Traits_ & 1) != 0;
  /// The row has just as many elements as the threads keep.
  static constexpr bool full = (Traits_ & 2) != 0;
  /// What a reduction leads to, divisions mostly, is computed by one warp and told to the others: fewer instructions for one
  /// barrier more. Else every warp computes it.
  static constexpr bool leader = (Traits_ & 4) != 0 && warps > 1;
  /// A CTA walks over rows: while it computes one, the next is copied to shared memory.
  static constexpr bool walking = (Traits_ & 8) != 0;
  /// Groups whose parameters are read before two sums are formed; of one sum all are.
  static constexpr int early = static_cast<int>(Traits_ >> 4);
  static_assert(threads >= 16 && (threads & (threads - 1)) == 0, "the folding order of a row sum needs a power of two");
  static_assert(groups <= 16, "fold() folds up to sixteen");
  static_assert(rows == 1 || threads <= 32, "several rows a CTA: at most a warp each, so that no barrier is needed");
  static_assert(threads >= 32 || full, "lanes of one warp that work on several rows take the same branches");
  static_assert(!walking || (rows == 1 && warps > 1 && !streamed), "a walk is a CTA's, over rows that its threads keep");
  static_assert(streamed ? threads * groups == sum_slots : threads * groups <= sum_slots,
                "slot g mod 4096 belongs to one thread");
};
inline constexpr unsigned streamed_row = 1, full_row = 2, leading_warp = 4, walking_cta = 8;
constexpr unsigned early_parameters(unsigned groups) { return groups << 4; }

/// The next row of a CTA that walks.
template <class Config, class Producer, bool = Config::walking>
struct RowCopy {};
template <class Config, class Producer>
struct RowCopy<Config, Producer, true> {
  alignas(16) typename Producer::Element row[Config::span];
  std::uint64_t arrived;
};

/// Shared memory of a CTA. Each word of the reductions is written once a row, so that one barrier a reduction is enough.
template <class Config, class Producer, class Encoder>
struct RowStorage {
  static constexpr int sums = static_cast<int>(Producer::moment);  // none, squares, mean and squares
  using WarpMax = cub::WarpReduce<std::uint32_t, Config::lanes>;
  typename WarpMax::TempStorage warp[Config::warps * Config::rows];
  float partial[sums + 1][Config::warps > 1 && sums > 0 ? Config::threads : 1];
  float column[sums + 1][32];
  std::uint32_t extent[Encoder::words > 0 ? Encoder::words : 1][32];
  // Of the leading warp.
  float moment[sums + 1];
  typename Encoder::Coder coder;
  RowCopy<Config, Producer> next;
};

#if CUB_VERSION >= 200800
using Maximum = ::cuda::maximum<>;
#else
using Maximum = ::cub::Max;
#endif

/// compute(), by each thread, or by the first warp for all of them.
template <class Config, class Value, class Compute>
W8A8_DEVICE Value by_leader(Value& told, unsigned lane, Compute&& compute) {
  if constexpr (Config::leader) {
    if (lane < 32) {
      const Value value = compute();
      if (lane == 0) told = value;
    }
    __syncthreads();
    return told;
  } else {
    return compute();
  }
}

/// The maximum of each extent word over the lanes of a warp that share a row, in all of them.
template <class Config, class Encoder, class Storage>
W8A8_DEVICE void reduce_extent_of_warp(Extent<Encoder>& extent, Storage& storage, unsigned warp) {
  using WarpMax = typename Storage::WarpMax;
  W8A8_UNROLL
  for (int w = 0; w < Encoder::words; ++w) {
    const std::uint32_t most = WarpMax(storage.warp[warp]).Reduce(extent.word[w], Maximum{});
    extent.word[w] = __shfl_sync(0xffffffffu, most, 0, Config::lanes);
  }
}

/// The row's coder from its threads' extents; its scale is written.
template <class Config, class Encoder, class Storage>
W8A8_DEVICE auto row_coder(const Encoder& encoder, Extent<Encoder>& extent, std::int64_t row, Storage& storage, unsigned lane) {
  if constexpr (Encoder::words == 0) {
    return make_coder(encoder, extent, row, lane == 0);
  } else {
    const unsigned warp = threadIdx.x / Config::lanes;
    reduce_extent_of_warp<Config, Encoder>(extent, storage, warp);
    if constexpr (Config::warps > 1) {
      W8A8_UNROLL
      for (int w = 0; w < Encoder::words; ++w) {
        if (lane % 32 == 0) storage.extent[w][warp] = extent.word[w];
      }
      __syncthreads();
    }
    return by_leader<Config>(storage.coder, lane, [&] {
      if constexpr (Config::warps > 1) {
        W8A8_UNROLL
        for (int w = 0; w < Encoder::words; ++w) extent.word[w] = lane % 32 < Config::warps ? storage.extent[w][lane % 32] : 0u;
        reduce_extent_of_warp<Config, Encoder>(extent, storage, warp);
      }
      return make_coder(encoder, extent, row, lane == 0);
    });
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

/// finish(sum), sum being the fold of a thread's own slots, then across warps, then across lanes: the order of row.hpp. The same
/// bits in all threads.
template <class Config, class Storage, class Finish>
W8A8_DEVICE float fold_slots(float (&slot)[Config::groups], Storage& storage, int which, unsigned lane, Finish&& finish) {
  fold<16>(slot);
  float sum = slot[0];
  if constexpr (Config::warps == 32 && !Config::leader) {
    // Warp w folds the lane w of all warps: half the shared-memory traffic of what fewer warps do below.
    const unsigned warp = lane / 32;
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
  }
  return by_leader<Config>(storage.moment[which], lane, [&] {
    if constexpr (Config::warps > 1 && (Config::warps < 32 || Config::leader)) {
      float part[Config::warps];
      W8A8_UNROLL
      for (int w = 0; w < Config::warps; ++w) part[w] = storage.partial[which][w * 32 + lane % 32];
      fold<Config::warps>(part);
      sum = part[0];
    }
    W8A8_UNROLL
    for (int half = Config::lanes / 2; half > 0; half /= 2) sum = add(sum, __shfl_xor_sync(0xffffffffu, sum, half));
    return finish(sum);
  });
}

/// The mean of the row, 0 where the producer takes none. take(visit): calls visit(i, values, count) for each group of this
/// thread, i the slot it belongs to.
template <class Config, class Producer, class Storage, class Take>
W8A8_DEVICE float row_mean(const Producer& producer, Storage& storage, unsigned lane, Take&& take) {
  if constexpr (Producer::moment == Moment::variance) {
    float slot[Config::groups] = {};
    take([&](int i, const Values& x, int) { add_elements(x, slot[i]); });
    return fold_slots<Config>(slot, storage, 1, lane, [&](float sum) { return multiply(sum, producer.per_column); });
  } else {
    return 0.0f;
  }
}

/// 1 / sqrt(mean of squares + epsilon) of the deviations that take() gives.
template <class Config, bool Aligned, class Producer, class Storage, class Take>
W8A8_DEVICE float row_reciprocal_deviation(const Producer& producer, Storage& storage, unsigned lane, Take&& take) {
  float slot[Config::groups] = {};
  take([&](int i, const Values& deviation, int count) { add_squares<Producer::moment, Aligned>(deviation, count, slot[i]); });
  return fold_slots<Config>(slot, storage, 0, lane,
                            [&](float sum) { return reciprocal_deviation(sum, producer.per_column, producer.epsilon); });
}

/// One aligned row that the threads keep, by the `Config::threads` threads that call it with lane = 0, 1, ... Once all of them
/// have read it, one barrier after they have, they call kept(); where there is no row sum the barrier is kept()'s.
template <class Config, class Producer, class Encoder, class Storage, class Kept>
W8A8_DEVICE void process_resident_row(const Producer& producer, const RowTask<Producer, Encoder>& task, std::int64_t row,
                                      unsigned lane, Storage& storage, Kept&& kept) {
  const int columns = Config::full ? Config::span : task.shape.columns;
  // Opaque, so that all groups of a matrix share one address and differ in the instruction's offset.
  const int begin = ptx::opaque(static_cast<int>(lane) * group_size);

  // Calls f(i, k, count) for group i of this thread; count is 0 where the row ends before it.
  const auto group = [&](int i, auto&& f) {
    constexpr int stride = Config::threads * group_size;
    f(i, std::int64_t{begin} + i * stride, Config::full || columns > begin + i * stride ? group_size : 0);
  };
  // For each group, without a branch in between, so that all loads are under way before the first is waited for.
  const auto all_groups = [&](auto&& f) {
    W8A8_UNROLL
    for (int i = 0; i < Config::groups; ++i) group(i, f);
  };
  // For each group that some thread has.
  const auto each_group = [&](auto&& f) {
    W8A8_UNROLL
    for (int i = 0; i < Config::groups; ++i) {
      if (i == 0 || i * Config::threads * group_size < columns) group(i, f);
    }
  };
  // From the values, FP32 or as they were loaded, to the codes.
  const auto encode = [&](const auto& value) {
    Extent<Encoder> extent;
    if constexpr (Encoder::words > 0) each_group([&](int i, std::int64_t, int) { Encoder::widen(extent.word, value[i]); });
    if (producer.emits()) {
      each_group([&](int i, std::int64_t k, int count) { producer.template emit<true>(values_of(value[i]), row, k, count); });
    }
    const auto coder = row_coder<Config>(task.encoder, extent, row, storage, lane);
    const auto store = [&](auto fast) {
      each_group([&](int i, std::int64_t k, int count) {
        store_group<true>(task.out.at(row, k), coder.template encode<decltype(fast)::value>(values_of(value[i])), count);
      });
    };
    if (coder.fast()) {
      store(std::true_type{});
    } else {
      store(std::false_type{});
    }
  };

  typename Producer::Raw raw[Config::groups];
  all_groups([&](int i, std::int64_t k, int count) { raw[i] = producer.template fetch<true>(row, k, count); });
  if constexpr (Producer::moment == Moment::none) kept();
  typename Producer::Cached cache[Config::groups];
  each_group([&](int i, std::int64_t k, int count) { cache[i] = producer.template merge<true>(raw[i], row, k, count); });
  if constexpr (Producer::moment == Moment::none) {
    encode(cache);
  } else {
    // Parameters are best read before the sums, which hides their latency. Of two sums, the values are widened once and stay
    // FP32, in place: registers do not suffice for both, and most parameters are read after the sums.
    constexpr bool in_place = Producer::moment == Moment::variance;
    constexpr int early = in_place ? Config::early : Config::groups;
    Values value[Config::groups];
    typename Producer::Parameters parameters[Config::groups];
    all_groups([&](int i, std::int64_t k, int count) {
      if (i < early) parameters[i] = producer.template parameters<true>(k, count);
    });
    if constexpr (in_place) each_group([&](int i, std::int64_t, int) { value[i] = values_of(cache[i]); });
    const auto deviation = [&](int i) {
      if constexpr (in_place) {
        return value[i];
      } else {
        return values_of(cache[i]);
      }
    };
    const auto groups_of_thread = [&](auto&& f) {
      each_group([&](int i, std::int64_t, int count) { f(i, deviation(i), count); });
    };
    const float mean = row_mean<Config>(producer, storage, lane, groups_of_thread);
    if constexpr (in_place) {
      kept();
      each_group([&](int i, std::int64_t, int) { value[i] = deviations<Producer::moment>(value[i], mean); });
    }
    const float reciprocal = row_reciprocal_deviation<Config, true>(producer, storage, lane, groups_of_thread);
    if constexpr (!in_place) kept();
    each_group([&](int i, std::int64_t k, int count) {
      if (i >= early) parameters[i] = producer.template parameters<true>(k, count);
      value[i] = producer.finish(deviation(i), reciprocal, parameters[i]);
    });
    encode(value);
  }
}

/// One row that is longer than the threads keep, or not aligned: each pass reads it again.
template <class Config, bool Aligned, class Producer, class Encoder, class Storage>
W8A8_DEVICE void process_streamed_row(const RowTask<Producer, Encoder>& task, std::int64_t row, unsigned lane, Storage& storage) {
  const Producer& producer = task.producer;
  const int columns = task.shape.columns;
  bool first = true;

  // Calls f(i, cached, k, count) for each group of this thread, with the producer's first step done once.
  const auto pass = [&](auto&& f) {
    for (int base = 0; base < columns; base += Config::span) {
      W8A8_UNROLL
      for (int i = 0; i < Config::groups; ++i) {
        const int k = base + (i * Config::threads + static_cast<int>(lane)) * group_size, count = min_of(group_size, columns - k);
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
    moments.mean = row_mean<Config>(producer, storage, lane, [&](auto&& f) {
      pass([&](int i, const auto& cached, int, int count) { f(i, values_of(cached), count); });
    });
    moments.reciprocal_deviation = row_reciprocal_deviation<Config, Aligned>(producer, storage, lane, [&](auto&& f) {
      pass([&](int i, const auto& cached, int, int count) {
        f(i, deviations<Producer::moment>(values_of(cached), moments.mean), count);
      });
    });
  }
  const auto values = [&](const auto& cached, int k, int count) {
    if constexpr (Producer::moment != Moment::none) {
      return producer.finish(deviations<Producer::moment>(values_of(cached), moments.mean), moments.reciprocal_deviation,
                             producer.template parameters<Aligned>(k, count));
    } else {
      return values_of(cached);
    }
  };
  Extent<Encoder> extent;
  if constexpr (Encoder::words > 0) {
    pass([&](int, const auto& cached, int k, int count) { Encoder::widen(extent.word, values(cached, k, count)); });
  }
  const auto coder = row_coder<Config>(task.encoder, extent, row, storage, lane);
  pass([&](int, const auto& cached, int k, int count) {
    const Values v = values(cached, k, count);
    if (producer.emits()) producer.template emit<Aligned>(v, row, k, count);
    store_group<Aligned>(task.out.at(row, k), coder.template encode<false>(v), count);
  });
}

/// The rows first, first + CTAs, ...: one is computed while the next is on its way.
template <class Config, class Producer, class Encoder, class Storage>
W8A8_DEVICE void walk_rows(const RowTask<Producer, Encoder>& task, std::int64_t first, unsigned lane, Storage& storage) {
  const std::uint32_t arrived = ptx::shared_address(&storage.next.arrived), copy = ptx::shared_address(storage.next.row);
  const auto request = [&](std::int64_t row) {
    const auto bytes = static_cast<std::uint32_t>(task.shape.columns * static_cast<int>(sizeof(storage.next.row[0])));
    ptx::mbarrier_arrive_expect_tx(arrived, bytes);
    ptx::cp_async_bulk(copy, task.producer.source(row), bytes, arrived);
  };
  if (lane == 0) {
    ptx::mbarrier_init(arrived, 1);
    ptx::fence_mbarrier_init();
    request(first);
  }
  __syncthreads();
  const Producer copied = task.producer.with_source(storage.next.row);
  std::uint32_t parity = 0;
  for (std::int64_t row = first; row < task.shape.rows; row += gridDim.x) {
    ptx::mbarrier_wait_parity(arrived, parity);
    parity ^= 1;
    process_resident_row<Config>(copied, task, row, lane, storage, [&] {
      if constexpr (Producer::moment == Moment::none) __syncthreads();
      if (lane == 0 && row + gridDim.x < task.shape.rows) request(row + gridDim.x);
    });
  }
}

/// The CTAs of an SM that a kernel's registers are bounded for.
template <class Config, class Producer>
constexpr int bounded_ctas() {
  // Values and parameters of seven groups at a time.
  constexpr bool tight = Producer::moment == Moment::mean_square && Config::groups == 7 && Config::ctas > 2;
  return tight && arch::takes_more_registers ? 2 : Config::ctas;
}

enum class DependentLaunch { none, successor_after_wait, early_successor };

/// Aligned: every group of every matrix can be moved in wide accesses.
template <class Config, bool Aligned, class Producer, class Encoder>
__global__ void __launch_bounds__(arch::launch_bound(!Config::walking || arch::has_bulk_copy, Config::threads* Config::rows),
                                  bounded_ctas<Config, Producer>())
    row_kernel(const __grid_constant__ RowTask<Producer, Encoder> task, DependentLaunch dependent_launch) {
  __shared__ RowStorage<Config, Producer, Encoder> storage;
  if (dependent_launch != DependentLaunch::none) {
    // In this order, unless the caller knows better: a kernel that starts its successor must itself have seen its predecessor's
    // end, or the successor, which waits for this kernel only, could run beside the kernel before both.
    if (dependent_launch == DependentLaunch::early_successor) ptx::griddepcontrol_launch_dependents();
    ptx::griddepcontrol_wait();
    if (dependent_launch == DependentLaunch::successor_after_wait) ptx::griddepcontrol_launch_dependents();
  }
  const unsigned lane = threadIdx.x % Config::threads;
  std::int64_t row = std::int64_t{blockIdx.x} * Config::rows + threadIdx.x / Config::threads;
  if (Config::threads < 32) {
    // The lanes of a warp stay together: those without a row repeat the last one.
    row = min_of(row, task.shape.rows - 1);
  } else if (Config::rows > 1 && row >= task.shape.rows) {
    return;
  }
  if constexpr (Config::walking) {
    if constexpr (arch::has_bulk_copy) walk_rows<Config>(task, row, lane, storage);
  } else if constexpr (Aligned && !Config::streamed) {
    process_resident_row<Config>(task.producer, task, row, lane, storage, [] {});
  } else {
    process_streamed_row<Config, Aligned>(task, row, lane, storage);
  }
}

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
  // Where computing a row takes about as long as reading it, the two overlap in a CTA that walks.
  const auto walk = [&](auto full, auto config) {
    if constexpr (!Streams && Producer::heavy) {
      if (columns == decltype(full)::span) return launch_walk<decltype(full)>(function, task, dependent_launch, stream);
      return launch_walk<decltype(config)>(function, task, dependent_launch, stream);
    } else {
      return false;
    }
  };
  switch (select_row_layout(task.shape.rows, columns, Streams)) {
    case RowLayout::warp_5:
      if constexpr (!Streams && Producer::heavy && two_sums) {
        using Halves = RowConfig<16, 9, 8, 4, full_row>;
        if (columns == Halves::span) return run(Halves{});
      }
      return run(RowConfig<32, 5, 4, 6>{});
    case RowLayout::t256_2: return run(RowConfig<256, 2, 1, 1, early_parameters(2)>{});
    case RowLayout::t128_4: {
      constexpr int ctas = two_sums ? 7 : 8;
      if (walk(RowConfig<128, 4, 1, ctas, full_row | walking_cta>{}, RowConfig<128, 4, 1, ctas, walking_cta>{})) return;
      return run_full(RowConfig<128, 4, 1, 8, full_row>{}, RowConfig<128, 4, 1, 8>{});
    }
    case RowLayout::t256_4: {
      constexpr int ctas = two_sums ? 3 : 4;
      if (walk(RowConfig<256, 4, 1, ctas, full_row | walking_cta>{}, RowConfig<256, 4, 1, ctas, walking_cta>{})) return;
      return run_full(RowConfig<256, 4, 1, 4, full_row>{}, RowConfig<256, 4, 1, 4>{});
    }
    case RowLayout::t256_7: {
      constexpr unsigned walking = walking_cta | early_parameters(2);
      if (walk(RowConfig<256, 7, 1, 2, full_row | walking>{}, RowConfig<256, 7, 1, 2, walking>{})) return;
      constexpr int ctas = Streams && !two_sums ? 2 : 3;
      constexpr unsigned leader = sums && !two_sums ? leading_warp : 0;
      return run_full(RowConfig<256, 7, 1, ctas, full_row | leader>{}, RowConfig<256, 7, 1, ctas, leader>{});
    }
    case RowLayout::t512_4:
      if constexpr (!Streams) return run(RowConfig<512, 4, 1, 2>{});
      break;
    case RowLayout::t512_7:
      if constexpr (!Streams) return run(RowConfig < 512, 7, 1, sums ? 1 : 2 > {});
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
