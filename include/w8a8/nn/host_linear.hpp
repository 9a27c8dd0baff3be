// y = x W^T + b in floating point on the CPU: what layers that are not quantized run on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/support/parallel.hpp"
#include "w8a8/tensor/space.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8::detail {

/// Sixteen partial sums side by side, so that the compiler may use vectors, added up in a fixed order.
inline float dot(const float* a, const float* b, std::int64_t count) {
  constexpr int lanes = 16;
  float part[lanes] = {};
  std::int64_t k = 0;
  for (; k + lanes <= count; k += lanes) {
    for (int lane = 0; lane < lanes; ++lane) part[lane] += a[k + lane] * b[k + lane];
  }
  for (; k < count; ++k) part[k % lanes] += a[k] * b[k];
  for (int half_lanes = lanes / 2; half_lanes > 0; half_lanes /= 2) {
    for (int lane = 0; lane < half_lanes; ++lane) part[lane] += part[lane + half_lanes];
  }
  return part[0];
}

/// out = x w^T + bias (null: none) with FP32 products and sums. x: M x K, w: N x K, out: M x N, rows contiguous. One core sums
/// the whole of an output, so the result does not depend on the number of threads. Allocates FP32 copies of x and of rows of w.
template <class X, class W, class B, class Out>
void host_linear(const MatrixView<const X, Host>& x, const MatrixView<const W, Host>& w, const VectorView<const B, Host>& bias,
                 const MatrixView<Out, Host>& out) {
  constexpr std::int64_t block = 16;  // channels whose widened rows a thread keeps
  const std::int64_t m = x.extent(0), k = x.extent(1), n = w.extent(0);
  std::vector<float> wide_x(static_cast<std::size_t>(m * k));
  parallel_for(m, 0, [&](std::int64_t i) {
    for (std::int64_t l = 0; l < k; ++l) wide_x[static_cast<std::size_t>(i * k + l)] = to_float(x(i, l));
  });
  parallel_for(ceil_div(n, block), 0, [&](std::int64_t b) {
    const std::int64_t first = b * block, channels = min_of(block, n - first);
    std::vector<float> wide_w(static_cast<std::size_t>(channels * k));
    for (std::int64_t j = 0; j < channels; ++j) {
      for (std::int64_t l = 0; l < k; ++l) wide_w[static_cast<std::size_t>(j * k + l)] = to_float(w(first + j, l));
    }
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < channels; ++j) {
        const float sum = dot(wide_x.data() + i * k, wide_w.data() + j * k, k);
        out(i, first + j) = from_float<Out>(bias.data() == nullptr ? sum : sum + to_float(bias(first + j)));
      }
    }
  });
}

}  // namespace w8a8::detail
