// What an epilogue is. A GEMM kernel hands each int32 accumulator acc[m, n] to one functor and stores what comes back. Functors
// compose left to right with `|`; a new fusion is a new functor and touches no kernel.
//
// A functor derives from EpilogueFunctor and has
//
//   using RowState    = ...;   what it needs of output row m; small, trivially copyable
//   using ColumnState = ...;   what it needs of output column n; likewise
//   RowState    row(m) const;
//   ColumnState column(n) const;
//   auto        apply(value, row_state, column_state, m, n) const;
//   void        validate(function, rows, columns) const;    host: throws Error before anything is launched
//
// all but `validate` host/device. The base gives `Empty` states and a validate that accepts, so a functor writes only what it
// uses. Kernels call row() and column() once a row and column of a tile and keep the states in registers or shared memory;
// they may call them concurrently and more than once. A functor that reads memory says where: `using space_type = Device;` (or
// Host), so that a GEMM on the other side refuses it at compile time. `value` is int32 in the first functor, and in each further
// one what the one before returned: take it as a template parameter, or as a float if the functor works on FP32.
#pragma once

#include <cstdint>
#include <type_traits>

#include "w8a8/support/config.hpp"
#include "w8a8/support/floating_point.hpp"

namespace w8a8 {

/// The state of a functor that needs none.
struct Empty {};

struct EpilogueFunctor {
  using RowState = Empty;
  using ColumnState = Empty;
  W8A8_HOST_DEVICE Empty row(std::int64_t) const { return {}; }
  W8A8_HOST_DEVICE Empty column(std::int64_t) const { return {}; }
  void validate(const char*, std::int64_t, std::int64_t) const {}
};

template <class T>
inline constexpr bool is_epilogue_v = std::is_base_of_v<EpilogueFunctor, T>;

/// Base of functors that combine a gate column and an up column into one. Derived classes add `float combine(gate, up, ...)`,
/// where m and n are the output's; the chain before the gate works on each column by itself.
struct GateFunctor : EpilogueFunctor {
  W8A8_HOST_DEVICE float apply(float value, Empty, Empty, std::int64_t, std::int64_t) const { return value; }
};

/// True where the functor, or one in its chain, is a gate.
template <class Functor>
inline constexpr bool is_gated_v = std::is_base_of_v<GateFunctor, Functor>;
template <class First, class Second>
struct Composed;
template <class First, class Second>
inline constexpr bool is_gated_v<Composed<First, Second>> = is_gated_v<First> || is_gated_v<Second>;

/// The accumulator itself: for raw int32 output.
struct Identity : EpilogueFunctor {
  template <class Value>
  W8A8_HOST_DEVICE Value apply(Value value, Empty, Empty, std::int64_t, std::int64_t) const {
    return value;
  }
};

/// Two states as one; an Empty one takes no space.
template <class First, class Second>
struct StatePair {
  First first_;
  Second second_;
  W8A8_HOST_DEVICE const First& first() const { return first_; }
  W8A8_HOST_DEVICE const Second& second() const { return second_; }
};
template <class First>
struct StatePair<First, Empty> {
  First first_;
  StatePair() = default;
  W8A8_HOST_DEVICE StatePair(First first, Empty) : first_(first) {}
  W8A8_HOST_DEVICE const First& first() const { return first_; }
  W8A8_HOST_DEVICE Empty second() const { return {}; }
};
template <class Second>
struct StatePair<Empty, Second> {
  Second second_;
  StatePair() = default;
  W8A8_HOST_DEVICE StatePair(Empty, Second second) : second_(second) {}
  W8A8_HOST_DEVICE Empty first() const { return {}; }
  W8A8_HOST_DEVICE const Second& second() const { return second_; }
};
template <>
struct StatePair<Empty, Empty> : Empty {
  StatePair() = default;
  W8A8_HOST_DEVICE StatePair(Empty, Empty) {}
  W8A8_HOST_DEVICE Empty first() const { return {}; }
  W8A8_HOST_DEVICE Empty second() const { return {}; }
};

/// `first`, then `second` on what it returned. Behind a gate `second` works on the output's columns, and may not ask for states
/// of columns: kernels hold those of the accumulator's.
template <class First, class Second>
struct Composed : EpilogueFunctor {
  static_assert(!(is_gated_v<First> && is_gated_v<Second>), "an epilogue has one gate at most");
  static_assert(!is_gated_v<First> || std::is_same_v<typename Second::ColumnState, Empty>,
                "a functor behind a gate has no column state");

  using RowState = StatePair<typename First::RowState, typename Second::RowState>;
  using ColumnState = StatePair<typename First::ColumnState, typename Second::ColumnState>;

  First first;
  Second second;

  Composed(const First& f, const Second& s) : first(f), second(s) {}

  W8A8_HOST_DEVICE RowState row(std::int64_t m) const { return RowState{first.row(m), second.row(m)}; }
  W8A8_HOST_DEVICE ColumnState column(std::int64_t n) const { return ColumnState{first.column(n), second.column(n)}; }

  template <class Value>
  W8A8_HOST_DEVICE auto apply(Value value, const RowState& r, const ColumnState& c, std::int64_t m, std::int64_t n) const {
    if constexpr (is_gated_v<First>) {
      return first.apply(value, r.first(), c.first(), m, n);
    } else {
      return second.apply(first.apply(value, r.first(), c.first(), m, n), r.second(), c.second(), m, n);
    }
  }

  /// Gated chains: output [m, n] of what apply() returned for its gate and its up column.
  template <class Value>
  W8A8_HOST_DEVICE auto combine(Value gate, Value up, const RowState& r, std::int64_t m, std::int64_t n) const {
    if constexpr (is_gated_v<First>) {
      return second.apply(first.combine(gate, up, r.first(), m, n), r.second(), Empty{}, m, n);
    } else {
      return second.combine(gate, up, r.second(), m, n);
    }
  }

  void validate(const char* function, std::int64_t rows, std::int64_t columns) const {
    first.validate(function, rows, columns);
    second.validate(function, rows, is_gated_v<First> ? columns / 2 : columns);
  }
};

/// Composition, left to right: `Dequantize{input_scale, weight_scale} | Bias{b}`.
template <class First, class Second, class = std::enable_if_t<is_epilogue_v<First> && is_epilogue_v<Second>>>
Composed<First, Second> operator|(const First& first, const Second& second) {
  return {first, second};
}

/// True where what the functor reads lies in `Space`: by its space_type, or because it has none and reads no memory.
template <class Functor, class Space, class = void>
inline constexpr bool reads_only_v = true;
template <class Functor, class Space>
inline constexpr bool reads_only_v<Functor, Space, std::void_t<typename Functor::space_type>> =
    std::is_same_v<typename Functor::space_type, Space>;
template <class First, class Second, class Space>
inline constexpr bool reads_only_v<Composed<First, Second>, Space, void> = (reads_only_v<First, Space>
                                                                                ? reads_only_v<Second, Space>
                                                                                : false);

/// The last step of every kernel: what the epilogue returned, rounded once to the output type.
template <class Out, class Value>
W8A8_HOST_DEVICE Out store_value(Value value) {
  if constexpr (std::is_integral_v<Out>) {
    static_assert(std::is_same_v<Out, Value>, "an integer output takes an epilogue that returns exactly that integer type");
    return value;
  } else {
    static_assert(!std::is_same_v<Value, std::int32_t>, "a floating-point output needs an epilogue that dequantizes");
    return from_float<Out>(static_cast<float>(value));
  }
}

}  // namespace w8a8
