// Threads that share a row: how the row is spread over them, the shared memory of their CTA, and their reductions, which give
// every thread the result and, for sums, the bits of row.hpp's order whatever their number.
#pragma once

#include <cstdint>
#include <cub/version.cuh>
#include <cub/warp/warp_reduce.cuh>
#include <cuda/functional>

#include "w8a8/quant/encoder.hpp"
#include "w8a8/quant/producer.hpp"
#include "w8a8/quant/row.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/floating_point.hpp"

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
  std::uint64_t arrived;  ///< the next row, of a CTA that walks
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

}  // namespace w8a8::detail
