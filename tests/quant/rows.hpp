// Rows as quantizers meet them: ordinary ones, and those that break careless code.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "support/random.hpp"
#include "w8a8/support/floating_point.hpp"

namespace w8a8_test {

inline constexpr float infinity = std::numeric_limits<float>::infinity();
inline constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

enum class RowKind { ordinary, zero, negative_zero, tiny, denormal, outlier, nan, plus_infinity, minus_infinity };

inline constexpr RowKind row_kinds[] = {RowKind::ordinary, RowKind::zero,          RowKind::negative_zero,
                                        RowKind::tiny,     RowKind::denormal,      RowKind::outlier,
                                        RowKind::nan,      RowKind::plus_infinity, RowKind::minus_infinity};

/// True where the row holds a NaN or an infinity.
inline bool is_bad(RowKind kind) { return kind >= RowKind::nan; }

/// Turns a row of ordinary values into one of that kind; what a single element makes of it stands at a random place.
template <class T>
void make_row(Random& random, T* row, std::int64_t columns, RowKind kind) {
  using w8a8::from_float;
  const auto fill = [&](float factor) {
    for (std::int64_t k = 0; k < columns; ++k) row[k] = from_float<T>(w8a8::to_float(row[k]) * factor);
  };
  const auto put = [&](float value) { row[random.integer(0, columns - 1)] = from_float<T>(value); };
  switch (kind) {
    case RowKind::ordinary: break;
    case RowKind::zero:
      for (std::int64_t k = 0; k < columns; ++k) row[k] = from_float<T>(0.0f);
      break;
    case RowKind::negative_zero:
      for (std::int64_t k = 0; k < columns; ++k) row[k] = from_float<T>(-0.0f);
      break;
    case RowKind::tiny: fill(1e-6f); break;       // below the smallest absmax
    case RowKind::denormal: fill(1e-40f); break;  // zero in half
    case RowKind::outlier: put(3e4f); break;
    case RowKind::nan: put(nan_value); break;
    case RowKind::plus_infinity: put(infinity); break;
    case RowKind::minus_infinity: put(-infinity); break;
  }
}

/// rows x columns normal values; about half of the rows are of another kind than the ordinary one.
template <class T>
std::vector<T> activations(Random& random, std::int64_t rows, std::int64_t columns, float sigma = 1.0f) {
  std::vector<T> x = normal<T>(random, rows * columns, sigma);
  for (std::int64_t r = 0; r < rows; ++r) {
    if (random.chance(0.5)) make_row(random, x.data() + r * columns, columns, row_kinds[random.integer(1, 8)]);
  }
  return x;
}

/// A row of each kind, in the order of row_kinds.
template <class T>
std::vector<T> one_of_each(Random& random, std::int64_t columns, float sigma = 1.0f) {
  std::vector<T> x = normal<T>(random, 9 * columns, sigma);
  for (std::int64_t r = 0; r < 9; ++r) make_row(random, x.data() + r * columns, columns, row_kinds[r]);
  return x;
}

}  // namespace w8a8_test
