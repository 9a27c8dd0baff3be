// The row kernel: load, statistics, codes, one read of the input. `Threads` threads share a row and keep up to `Groups` groups of
// it each in registers; longer rows are read once a pass. Where computing takes about as long as reading, a CTA walks over rows
// and has the next one copied to shared memory meanwhile. Every quantizer and every fused form is this kernel with another
// producer.
#pragma once

#include <cstdint>
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
#include "w8a8/quant/row_block.cuh"
#include "w8a8/support/arch.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8::detail {

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
    if constexpr (!in_place) {
      kept();
      // To be widened anew: FP32 copies kept since the sum would need twice the registers.
      each_group([&](int i, std::int64_t, int) {
        for (std::uint32_t& word : cache[i].word) word = ptx::opaque(word);
      });
    }
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
  using Element = typename Producer::Element;
  // Dynamic, for rows of more than 48 KB. At 16 bytes past a multiple of 32 the copy takes a fifth longer.
  extern __shared__ __align__(128) unsigned char next[];
  const std::uint32_t arrived = ptx::shared_address(&storage.arrived), copy = ptx::shared_address(next);
  const auto request = [&](std::int64_t row) {
    const auto bytes = static_cast<std::uint32_t>(task.shape.columns * static_cast<int>(sizeof(Element)));
    ptx::mbarrier_arrive_expect_tx(arrived, bytes);
    ptx::cp_async_bulk(copy, task.producer.source(row), bytes, arrived);
  };
  if (lane == 0) {
    ptx::mbarrier_init(arrived, 1);
    ptx::fence_mbarrier_init();
    request(first);
  }
  __syncthreads();
  const Producer copied = task.producer.with_source(reinterpret_cast<const Element*>(next));
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
__global__ void __launch_bounds__(arch::launch_bound(!Config::walking || arch::has_tma, Config::threads* Config::rows),
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
    if constexpr (arch::has_tma) walk_rows<Config>(task, row, lane, storage);
  } else if constexpr (Aligned && !Config::streamed) {
    process_resident_row<Config>(task.producer, task, row, lane, storage, [] {});
  } else {
    process_streamed_row<Config, Aligned>(task, row, lane, storage);
  }
}

}  // namespace w8a8::detail
