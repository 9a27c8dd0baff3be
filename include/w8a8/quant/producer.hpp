// Producers: where the FP32 values of a row come from. A producer has
//
//   using Cached = ...;               what is kept of an element between the passes over a row
//   static constexpr Moment moment;   the row statistics that finish() needs
//   static constexpr bool identity;   whether finish() only converts, so that cached elements have the values' magnitudes
//   Group<Cached> load<Aligned>(row, k, count) const;      reads elements k .. k+7, `count` of them inside the row
//   Group<Cached> reload<Aligned>(row, k, count) const;    the same once more, for rows too long to keep
//   Group<float> finish<Aligned>(cached, moments, k, count) const;   the values that are quantized; elements past the end are 0
//   void emit<Aligned>(values, row, k, count) const;       stores the values where the caller wants them too
//   bool aligned() const;             host: whether all of its matrices allow wide accesses
//
// all but the last host/device. A new fusion is a new producer and touches no kernel.
#pragma once

#include <cstdint>

#include "w8a8/quant/row.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/floating_point.hpp"

namespace w8a8::detail {

enum class Moment { none, mean_square, variance };

/// Row statistics: the mean (0 where none is taken) and 1 / sqrt(mean of squared deviations + epsilon).
struct Moments {
  float mean = 0.0f;
  float reciprocal_deviation = 1.0f;
};

/// Takes a group's elements into a slot of a row sum. Elements past the end are zero and add nothing.
template <class T>
W8A8_HOST_DEVICE void add_group(const Group<T>& x, float& slot) {
  for (int i = 0; i < group_size; ++i) slot = add(slot, to_float(x[i]));
}

/// Takes the squared deviations from `mean` of a group's first `count` elements into a slot.
template <class T>
W8A8_HOST_DEVICE void add_squares(const Group<T>& x, float mean, int count, float& slot) {
  for (int i = 0; i < group_size; ++i) {
    const float deviation = i < count ? add(to_float(x[i]), -mean) : 0.0f;
    slot = fused_multiply_add(deviation, deviation, slot);
  }
}

/// 1 / sqrt(sum / columns + epsilon), each step rounded once.
W8A8_HOST_DEVICE float reciprocal_deviation(float sum, int columns, float epsilon) {
  return divide(1.0f, square_root(add(divide(sum, static_cast<float>(columns)), epsilon)));
}

template <class T>
W8A8_HOST_DEVICE Group<float> to_floats(const Group<T>& x) {
  Group<float> v;
  for (int i = 0; i < group_size; ++i) v[i] = to_float(x[i]);
  return v;
}

/// The matrix as it is.
template <class In>
struct Plain {
  using Cached = In;
  static constexpr Moment moment = Moment::none;
  static constexpr bool identity = true;

  Rows<const In> x;

  bool aligned() const { return x.aligned(); }

  template <bool Aligned>
  W8A8_HOST_DEVICE Group<In> load(std::int64_t row, int k, int count) const {
    return load_group<Aligned>(x.at(row, k), count);
  }
  template <bool Aligned>
  W8A8_HOST_DEVICE Group<In> reload(std::int64_t row, int k, int count) const {
    return load<Aligned>(row, k, count);
  }
  template <bool Aligned>
  W8A8_HOST_DEVICE Group<float> finish(const Group<In>& cached, const Moments&, int, int) const {
    return to_floats(cached);
  }
  template <bool Aligned>
  W8A8_HOST_DEVICE void emit(const Group<float>&, std::int64_t, int, int) const {}
};

}  // namespace w8a8::detail
