// How far a layer's output is from the same layer in FP64.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "w8a8/nn/linear.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/parallel.hpp"
#include "w8a8/tensor/view.hpp"

namespace quickstart {

struct Accuracy {
  double snr_db = 0.0;          ///< 10 log10(sum of reference^2 / sum of error^2)
  double worst_error = 0.0;     ///< largest |output - reference|
  double largest_output = 0.0;  ///< largest |reference|
};

/// Compares `output` (tokens x out_features) with x W^T + b, computed in FP64 from the floating-point parameters.
template <class T>
Accuracy compare_with_fp64(const w8a8::nn::Linear<T>& linear, const w8a8::MatrixView<const w8a8::half, w8a8::Host>& x,
                           const w8a8::MatrixView<const w8a8::half, w8a8::Host>& output) {
  const std::int64_t m = x.extent(0), k = x.extent(1), n = linear.out_features();
  std::vector<double> wide(static_cast<std::size_t>(m * k));
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t l = 0; l < k; ++l) wide[static_cast<std::size_t>(i * k + l)] = w8a8::to_float(x(i, l));
  }
  struct Sums {
    double signal = 0.0, noise = 0.0, worst = 0.0, largest = 0.0;
  };
  std::vector<Sums> channels(static_cast<std::size_t>(n));
  w8a8::parallel_for(n, 0, [&](std::int64_t j) {
    std::vector<double> row(static_cast<std::size_t>(k));
    for (std::int64_t l = 0; l < k; ++l) row[static_cast<std::size_t>(l)] = w8a8::to_float(linear.weight(j, l));
    Sums& sums = channels[static_cast<std::size_t>(j)];
    for (std::int64_t i = 0; i < m; ++i) {
      // Eight sums side by side: the compiler may not reorder one.
      double part[8] = {};
      const double* a = wide.data() + i * k;
      std::int64_t l = 0;
      for (; l + 8 <= k; l += 8) {
        for (int s = 0; s < 8; ++s) part[s] += a[l + s] * row[static_cast<std::size_t>(l + s)];
      }
      for (; l < k; ++l) part[0] += a[l] * row[static_cast<std::size_t>(l)];
      double reference = linear.has_bias() ? static_cast<double>(w8a8::to_float(linear.bias(j))) : 0.0;
      for (const double each : part) reference += each;
      const double error = std::abs(w8a8::to_float(output(i, j)) - reference);
      sums.signal += reference * reference;
      sums.noise += error * error;
      // Written so that a NaN stays.
      if (!(error <= sums.worst)) sums.worst = error;
      if (!(std::abs(reference) <= sums.largest)) sums.largest = std::abs(reference);
    }
  });
  Sums all;
  for (const Sums& each : channels) {
    all.signal += each.signal;
    all.noise += each.noise;
    if (!(each.worst <= all.worst)) all.worst = each.worst;
    if (!(each.largest <= all.largest)) all.largest = each.largest;
  }
  return {10.0 * std::log10(all.signal / all.noise), all.worst, all.largest};
}

}  // namespace quickstart
