// Producers: where the FP32 values of a row come from. A producer has
//
//   using Raw = ...;                  what is read of a group; every read of a row is issued before the first is used
//   using Cached = ...;               what is kept of a group between the passes over a row: Group<T> or Values
//   static constexpr Moment moment;   the row statistics that finish() needs; where not none, float per_column is 1 / columns
//   Raw fetch<Aligned>(row, k, count) const;              reads elements k .. k+7, the first `count` of them inside the row
//   Cached merge<Aligned>(raw, row, k, count) const;      the first step; elements past the end stay 0
//   Cached reload<Aligned>(row, k, count) const;          fetch and merge once more, for rows too long to keep
//   Parameters parameters<Aligned>(k, count) const;       where moment is not none: what finish() needs of columns k .. k+7
//   Values finish(deviations, reciprocal_deviation, parameters) const;   and the normalised values; elements past the end are 0
//   bool emits() const;               whether the caller wants the values too
//   void emit<Aligned>(values, row, k, count) const;      then stores them
//   bool aligned() const;             host: whether all of its matrices allow wide accesses
//   bool has_streams() const;         host: whether an optional matrix is present
//   auto without_streams() const;     host: the same without optional matrices, of a type that knows it: fewer registers
//   static constexpr bool heavy;      computing a row takes about as long as reading it: worth the copy ahead that walk_rows()
//   makes using Element = ...;              where heavy: of the one matrix that is read const Element* source(row) const; and
//   where its row begins Producer with_source(const Element*) const;  the same with every row there
//
// The functions are host/device but for those of the host. A new fusion is a new producer and touches no kernel.
#pragma once

#include <cstdint>

#include "w8a8/math/activation.hpp"
#include "w8a8/quant/row.hpp"
#include "w8a8/quant/scale.hpp"
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
W8A8_HOST_DEVICE void add_elements(const Values& x, float& slot) {
  for (int i = 0; i < group_size; ++i) slot = add(slot, x[i]);
}

/// A group's elements less the mean, where one is taken.
template <Moment Kind>
W8A8_HOST_DEVICE Values deviations(const Values& x, float mean) {
  Values deviation = x;
  if constexpr (Kind == Moment::variance) {
    for (int i = 0; i < group_size; ++i) deviation[i] = add(x[i], -mean);
  }
  return deviation;
}

/// Takes the squares of a group's deviations into a slot.
template <Moment Kind, bool Aligned>
W8A8_HOST_DEVICE void add_squares(const Values& deviation, int count, float& slot) {
  float sum = slot;
  for (int i = 0; i < group_size; ++i) {
    if (Aligned || Kind == Moment::mean_square || i < count) sum = fused_multiply_add(deviation[i], deviation[i], sum);
  }
  slot = count > 0 ? sum : slot;
}

/// 1 / sqrt(sum * per_column + epsilon), each step rounded once; per_column is 1 / columns.
W8A8_HOST_DEVICE float reciprocal_deviation(float sum, float per_column, float epsilon) {
  return reciprocal(square_root(add(multiply(sum, per_column), epsilon)));
}

/// What is kept of a group, in FP32.
W8A8_HOST_DEVICE const Values& values_of(const Values& cached) { return cached; }
template <class T>
W8A8_HOST_DEVICE Values values_of(const Group<T>& cached) {
  return to_values(cached);
}

/// The matrix as it is.
template <class In>
struct Plain {
  using Raw = Group<In>;
  using Cached = Group<In>;
  static constexpr Moment moment = Moment::none;
  static constexpr bool heavy = false;

  Rows<const In> x;

  bool aligned() const { return x.aligned(); }
  bool has_streams() const { return false; }
  const Plain& without_streams() const { return *this; }

  template <bool Aligned>
  W8A8_HOST_DEVICE Raw fetch(std::int64_t row, std::int64_t k, int count) const {
    return load_group<Aligned>(x.at(row, k), count);
  }
  template <bool Aligned>
  W8A8_HOST_DEVICE Cached merge(const Raw& raw, std::int64_t, std::int64_t, int) const {
    return raw;
  }
  template <bool Aligned>
  W8A8_HOST_DEVICE Cached reload(std::int64_t row, std::int64_t k, int count) const {
    return fetch<Aligned>(row, k, count);
  }
  W8A8_HOST_DEVICE bool emits() const { return false; }
  template <bool Aligned>
  W8A8_HOST_DEVICE void emit(const Values&, std::int64_t, std::int64_t, int) const {}
};

/// The matrix with each column multiplied by a factor of its own, in FP32, rounded once.
template <class In>
struct Smoothed {
  struct Raw {
    Group<In> x;
    Group<float> factor;
  };
  using Cached = Values;
  static constexpr Moment moment = Moment::none;
  static constexpr bool heavy = false;

  Rows<const In> x;
  const float* factor;

  bool aligned() const { return x.aligned() && is_aligned(factor, 16); }
  bool has_streams() const { return false; }
  const Smoothed& without_streams() const { return *this; }

  template <bool Aligned>
  W8A8_HOST_DEVICE Raw fetch(std::int64_t row, std::int64_t k, int count) const {
    return {load_group<Aligned>(x.at(row, k), count), load_group<Aligned>(factor + k, count)};
  }
  template <bool Aligned>
  W8A8_HOST_DEVICE Cached merge(const Raw& raw, std::int64_t, std::int64_t, int) const {
    const Values v = to_values(raw.x), f = to_values(raw.factor);
    Values product;
    for (int i = 0; i < group_size; ++i) product[i] = multiply(v[i], f[i]);
    return product;
  }
  template <bool Aligned>
  W8A8_HOST_DEVICE Cached reload(std::int64_t row, std::int64_t k, int count) const {
    return merge<Aligned>(fetch<Aligned>(row, k, count), row, k, count);
  }
  W8A8_HOST_DEVICE bool emits() const { return false; }
  template <bool Aligned>
  W8A8_HOST_DEVICE void emit(const Values&, std::int64_t, std::int64_t, int) const {}
};

/// An optional copy of the values, rounded once to T.
template <class T>
struct ValueCopy {
  Rows<T> to;

  template <bool Aligned>
  W8A8_HOST_DEVICE void emit(const Values& values, std::int64_t row, std::int64_t k, int count) const {
    store_group<Aligned>(to.at(row, k), from_values<T>(values), count);
  }
};

/// RMS normalisation (Moment::mean_square) or layer normalisation (Moment::variance) of x, or of x + residual where there is a
/// residual: it then becomes the sum, rounded once to T, and that rounded sum is what is normalised.
/// value = (h - mean) * reciprocal_deviation * weight[k] + bias[k]: the sum and the products rounded one by one, the last product
/// and the bias (where there is one) by one fused multiply-add.
/// Without Streams there is neither a residual nor a copy.
template <class T, class Weight, Moment Kind, bool Streams = true>
struct Norm {
  struct Raw {
    Group<T> x, residual;
  };
  using Cached = Group<T>;  // the rounded sum, exactly
  using Element = T;
  struct Parameters {
    Group<Weight> weight, bias;
  };
  static constexpr Moment moment = Kind;
  static constexpr bool heavy = Kind == Moment::variance && sizeof(T) == 2;

  Rows<const T> x;
  Rows<T> residual;  ///< may be absent
  const Weight* weight;
  const Weight* bias;  ///< of layer normalisation; RMS normalisation has none
  ValueCopy<T> copy;
  float epsilon;
  float per_column;  ///< 1 / columns, rounded once: a row's sum times this is its mean

  bool aligned() const {
    return x.aligned() && residual.aligned() && copy.to.aligned() && is_aligned(weight, 16) && is_aligned(bias, 16);
  }
  bool has_streams() const { return residual || copy.to; }
  Norm<T, Weight, Kind, false> without_streams() const { return {x, {}, weight, bias, {}, epsilon, per_column}; }

  W8A8_HOST_DEVICE const T* source(std::int64_t row) const { return x.at(row, 0); }
  W8A8_HOST_DEVICE Norm with_source(const T* row) const { return {{row, 0}, residual, weight, bias, copy, epsilon, per_column}; }

  template <bool Aligned>
  W8A8_HOST_DEVICE Raw fetch(std::int64_t row, std::int64_t k, int count) const {
    const Group<T> first = load_group<Aligned>(x.at(row, k), count);
    if constexpr (!Streams) return {first, first};
    return {first, load_group<Aligned>(residual.at(row, k), residual ? count : 0)};
  }

  template <bool Aligned>
  W8A8_HOST_DEVICE Cached merge(const Raw& raw, std::int64_t row, std::int64_t k, int count) const {
    if (!Streams || !residual) return raw.x;
    Values h = to_values(raw.x);
    const Values r = to_values(raw.residual);
    for (int i = 0; i < group_size; ++i) h[i] = add(h[i], r[i]);
    const Group<T> rounded = from_values<T>(h);
    store_group<Aligned>(residual.at(row, k), rounded, count);
    return rounded;
  }

  template <bool Aligned>
  W8A8_HOST_DEVICE Cached reload(std::int64_t row, std::int64_t k, int count) const {
    return load_group<Aligned>(Streams && residual ? residual.at(row, k) : x.at(row, k), count);
  }

  template <bool Aligned>
  W8A8_HOST_DEVICE Parameters parameters(std::int64_t k, int count) const {
    return {load_group<Aligned>(weight + k, count), load_group<Aligned>(bias + k, Kind == Moment::variance ? count : 0)};
  }

  W8A8_HOST_DEVICE Values finish(const Values& deviation, float reciprocal_deviation, const Parameters& parameters) const {
    const Values w = to_values(parameters.weight);
    Values v;
    for (int i = 0; i < group_size; ++i) v[i] = multiply(deviation[i], reciprocal_deviation);
    if constexpr (Kind == Moment::variance) {
      const Values b = to_values(parameters.bias);
      for (int i = 0; i < group_size; ++i) v[i] = fused_multiply_add(v[i], w[i], b[i]);
    } else {
      for (int i = 0; i < group_size; ++i) v[i] = multiply(v[i], w[i]);
    }
    return v;
  }

  W8A8_HOST_DEVICE bool emits() const { return Streams && copy.to; }
  template <bool Aligned>
  W8A8_HOST_DEVICE void emit(const Values& values, std::int64_t row, std::int64_t k, int count) const {
    copy.template emit<Aligned>(values, row, k, count);
  }
};

/// silu(gate) * up. (ForCodes: what is enough where nothing but codes is wanted.)
struct SiluMul {
  using ForCodes = SiluMul;
  static constexpr int inputs = 2;
  static constexpr bool heavy = false;
  W8A8_HOST_DEVICE static float value(float gate, float up) { return silu(gate) * up; }
};
struct GeluTanhOnly {
  using ForCodes = GeluTanhOnly;
  static constexpr int inputs = 1;
  static constexpr bool heavy = false;
  W8A8_HOST_DEVICE static float value(float x, float) { return gelu_tanh(x); }
};
struct GeluErfForCodes {
  using ForCodes = GeluErfForCodes;
  static constexpr int inputs = 1;
  static constexpr bool heavy = true;
  W8A8_HOST_DEVICE static float value(float x, float) { return gelu_erf_absolute(x); }
};
struct GeluErfOnly {
  using ForCodes = GeluErfForCodes;
  static constexpr int inputs = 1;
  static constexpr bool heavy = true;
  W8A8_HOST_DEVICE static float value(float x, float) { return gelu_erf(x); }
};

/// A function of each element of one matrix, or of the corresponding elements of two; f(0, 0) = 0.
/// Without Streams there is no copy.
template <class T, class Function, bool Streams = true>
struct Elementwise {
  struct Raw {
    Group<T> first, second;
  };
  using Cached = Values;
  using Element = T;
  static constexpr Moment moment = Moment::none;
  static constexpr bool heavy = Function::heavy && sizeof(T) == 2;

  Rows<const T> first;
  Rows<const T> second;  ///< absent where the function takes one
  ValueCopy<T> copy;

  bool aligned() const { return first.aligned() && second.aligned() && copy.to.aligned(); }
  bool has_streams() const { return static_cast<bool>(copy.to); }
  Elementwise<T, typename Function::ForCodes, false> without_streams() const { return {first, second, {}}; }

  W8A8_HOST_DEVICE const T* source(std::int64_t row) const { return first.at(row, 0); }
  W8A8_HOST_DEVICE Elementwise with_source(const T* row) const { return {{row, 0}, second, copy}; }

  template <bool Aligned>
  W8A8_HOST_DEVICE Raw fetch(std::int64_t row, std::int64_t k, int count) const {
    const Group<T> a = load_group<Aligned>(first.at(row, k), count);
    if constexpr (Function::inputs == 1) return {a, a};
    return {a, load_group<Aligned>(second.at(row, k), count)};
  }
  template <bool Aligned>
  W8A8_HOST_DEVICE Cached merge(const Raw& raw, std::int64_t, std::int64_t, int) const {
    const Values a = to_values(raw.first), b = to_values(raw.second);
    Values v;
    for (int i = 0; i < group_size; ++i) v[i] = Function::value(a[i], b[i]);
    return v;
  }
  template <bool Aligned>
  W8A8_HOST_DEVICE Cached reload(std::int64_t row, std::int64_t k, int count) const {
    return merge<Aligned>(fetch<Aligned>(row, k, count), row, k, count);
  }
  W8A8_HOST_DEVICE bool emits() const { return Streams && copy.to; }
  template <bool Aligned>
  W8A8_HOST_DEVICE void emit(const Values& values, std::int64_t row, std::int64_t k, int count) const {
    copy.template emit<Aligned>(values, row, k, count);
  }
};

}  // namespace w8a8::detail
