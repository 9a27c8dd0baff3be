// The row loop of the CPU: load, statistics, codes. It is the definition that the row kernel equals, sum for sum.
#pragma once

#include <cstdint>
#include <vector>

#include "w8a8/quant/encoder.hpp"
#include "w8a8/quant/producer.hpp"
#include "w8a8/quant/row.hpp"
#include "w8a8/support/parallel.hpp"

namespace w8a8::detail {

/// The sum over a row in the order of row.hpp. term(g, slot): takes group g into its slot.
template <class Term>
float host_row_sum(int groups, Term&& term) {
  int width = 1;
  while (width < sum_slots && width < groups) width *= 2;
  std::vector<float> slots(static_cast<std::size_t>(width), 0.0f);
  for (int g = 0; g < groups; ++g) term(g, slots[static_cast<std::size_t>(g % sum_slots)]);
  for (int half = width / 2; half > 0; half /= 2) {
    for (int s = 0; s < half; ++s)
      slots[static_cast<std::size_t>(s)] = add(slots[static_cast<std::size_t>(s)], slots[static_cast<std::size_t>(s + half)]);
  }
  return slots[0];
}

/// Runs a checked row task on the calling thread and its helpers (0: one a core).
template <class Producer, class Encoder>
void run_rows_on_host(const Producer& producer, const Encoder& encoder, const Rows<std::int8_t>& out, const RowShape& shape,
                      int threads = 0) {
  const int groups = ceil_div(shape.columns, group_size);
  // Threads cost more than a few small rows.
  constexpr std::int64_t elements_per_piece = 1 << 16;
  const std::int64_t rows_per_piece = ceil_div(elements_per_piece, std::int64_t{max_of(shape.columns, 1)});

  parallel_for(ceil_div(shape.rows, rows_per_piece), threads, [&](std::int64_t piece) {
    std::vector<Values> cache(static_cast<std::size_t>(groups));
    const auto count = [&](int g) { return min_of(group_size, shape.columns - g * group_size); };
    const auto cached = [&](int g) -> Values& { return cache[static_cast<std::size_t>(g)]; };
    const std::int64_t end = min_of(shape.rows, (piece + 1) * rows_per_piece);
    for (std::int64_t row = piece * rows_per_piece; row < end; ++row) {
      for (int g = 0; g < groups; ++g) {
        const int k = g * group_size;
        cached(g) = values_of(producer.template merge<false>(producer.template fetch<false>(row, k, count(g)), row, k, count(g)));
      }
      if constexpr (Producer::moment != Moment::none) {
        Moments moments;
        if constexpr (Producer::moment == Moment::variance) {
          moments.mean =
              multiply(host_row_sum(groups, [&](int g, float& slot) { add_elements(cached(g), slot); }), producer.per_column);
        }
        for (int g = 0; g < groups; ++g) cached(g) = deviations<Producer::moment>(cached(g), moments.mean);
        const float sum =
            host_row_sum(groups, [&](int g, float& slot) { add_squares<Producer::moment, false>(cached(g), count(g), slot); });
        moments.reciprocal_deviation = reciprocal_deviation(sum, producer.per_column, producer.epsilon);
        for (int g = 0; g < groups; ++g) {
          cached(g) = producer.finish(cached(g), moments.reciprocal_deviation,
                                      producer.template parameters<false>(g * group_size, count(g)));
        }
      }
      Extent<Encoder> extent;
      if constexpr (Encoder::words > 0) {
        for (int g = 0; g < groups; ++g) Encoder::widen(extent.word, cached(g));
      }
      const auto coder = make_coder(encoder, extent, row, true);
      for (int g = 0; g < groups; ++g) {
        if (producer.emits()) producer.template emit<false>(cached(g), row, g * group_size, count(g));
        store_group<false>(out.at(row, g * group_size), coder.template encode<false>(cached(g)), count(g));
      }
    }
  });
}

}  // namespace w8a8::detail
