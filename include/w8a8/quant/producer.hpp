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
#include "w8a8/support/activation.hpp"
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

/// An optional copy of the values, rounded once to T.
template <class T>
struct ValueCopy {
  Rows<T> to;

  template <bool Aligned>
  W8A8_HOST_DEVICE void emit(const Group<float>& values, std::int64_t row, int k, int count) const {
    if (!to) return;
    Group<T> rounded;
    for (int i = 0; i < group_size; ++i) rounded[i] = from_float<T>(values[i]);
    store_group<Aligned>(to.at(row, k), rounded, count);
  }
};

/// RMS normalisation (Moment::mean_square) or layer normalisation (Moment::variance) of x, or of x + residual where there is a
/// residual: it then becomes the sum, rounded once to T, and that rounded sum is what is normalised.
/// value = (h - mean) * reciprocal_deviation * weight[k] + bias[k]: the sum and the products rounded one by one, the last product
/// and the bias (where there is one) by one fused multiply-add.
template <class T, class Weight, Moment Kind>
struct Norm {
  using Cached = T;
  static constexpr Moment moment = Kind;
  static constexpr bool identity = false;

  Rows<const T> x;
  Rows<T> residual;  ///< may be absent
  const Weight* weight;
  const Weight* bias;  ///< may be null
  ValueCopy<T> copy;
  float epsilon;

  bool aligned() const {
    return x.aligned() && residual.aligned() && copy.to.aligned() && is_aligned(weight, 16) && is_aligned(bias, 16);
  }

  template <bool Aligned>
  W8A8_HOST_DEVICE Group<T> load(std::int64_t row, int k, int count) const {
    Group<T> h = load_group<Aligned>(x.at(row, k), count);
    if (residual) {
      const Group<T> r = load_group<Aligned>(residual.at(row, k), count);
      for (int i = 0; i < group_size; ++i) h[i] = from_float<T>(add(to_float(h[i]), to_float(r[i])));
      store_group<Aligned>(residual.at(row, k), h, count);
    }
    return h;
  }

  template <bool Aligned>
  W8A8_HOST_DEVICE Group<T> reload(std::int64_t row, int k, int count) const {
    return load_group<Aligned>(residual ? residual.at(row, k) : x.at(row, k), count);
  }

  template <bool Aligned>
  W8A8_HOST_DEVICE Group<float> finish(const Group<T>& h, const Moments& moments, int k, int count) const {
    const Group<Weight> w = load_group<Aligned>(weight + k, count);
    Group<Weight> b;
    if (bias != nullptr) b = load_group<Aligned>(bias + k, count);
    Group<float> v;
    for (int i = 0; i < group_size; ++i) {
      const float deviation = Kind == Moment::variance ? add(to_float(h[i]), -moments.mean) : to_float(h[i]);
      const float normal = multiply(deviation, moments.reciprocal_deviation);
      v[i] = bias != nullptr ? fused_multiply_add(normal, to_float(w[i]), to_float(b[i])) : multiply(normal, to_float(w[i]));
    }
    return v;
  }

  template <bool Aligned>
  W8A8_HOST_DEVICE void emit(const Group<float>& values, std::int64_t row, int k, int count) const {
    copy.template emit<Aligned>(values, row, k, count);
  }
};

/// silu(gate) * up.
struct SiluMul {
  static constexpr int inputs = 2;
  W8A8_HOST_DEVICE static float value(float gate, float up) { return silu(gate) * up; }
};
struct GeluTanhOnly {
  static constexpr int inputs = 1;
  W8A8_HOST_DEVICE static float value(float x, float) { return gelu_tanh(x); }
};
struct GeluErfOnly {
  static constexpr int inputs = 1;
  W8A8_HOST_DEVICE static float value(float x, float) { return gelu_erf(x); }
};

/// A function of each element of one matrix, or of the corresponding elements of two.
template <class T, class Function>
struct Elementwise {
  using Cached = float;
  static constexpr Moment moment = Moment::none;
  static constexpr bool identity = true;

  Rows<const T> first;
  Rows<const T> second;  ///< absent where the function takes one
  ValueCopy<T> copy;

  bool aligned() const { return first.aligned() && second.aligned() && copy.to.aligned(); }

  template <bool Aligned>
  W8A8_HOST_DEVICE Group<float> load(std::int64_t row, int k, int count) const {
    const Group<T> a = load_group<Aligned>(first.at(row, k), count);
    Group<T> b = a;
    if constexpr (Function::inputs == 2) b = load_group<Aligned>(second.at(row, k), count);
    Group<float> v;
    for (int i = 0; i < group_size; ++i) v[i] = Function::value(to_float(a[i]), to_float(b[i]));
    return v;
  }
  template <bool Aligned>
  W8A8_HOST_DEVICE Group<float> reload(std::int64_t row, int k, int count) const {
    return load<Aligned>(row, k, count);
  }
  template <bool Aligned>
  W8A8_HOST_DEVICE Group<float> finish(const Group<float>& cached, const Moments&, int, int) const {
    return cached;
  }
  template <bool Aligned>
  W8A8_HOST_DEVICE void emit(const Group<float>& values, std::int64_t row, int k, int count) const {
    copy.template emit<Aligned>(values, row, k, count);
  }
};

}  // namespace w8a8::detail
