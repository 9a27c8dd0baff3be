// The CPU backend for operands in floating point: FP32 products and sums.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/gemm/host_store.hpp"
#include "w8a8/gemm/problem.hpp"
#include "w8a8/layout/gate_up.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/support/parallel.hpp"

namespace w8a8 {

namespace detail {

/// Sixteen partial sums side by side, so that the compiler may use vectors, added up in a fixed order.
inline float host_dot(const float* a, const float* b, std::int64_t count) {
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

}  // namespace detail

/// Runs a checked problem with half, bfloat16 or float operands on `options.threads` CPU threads. One thread sums the whole of an
/// output, in an order that depends on K alone, so the result depends on neither threads nor blocking. Allocates FP32 copies of x
/// and of some rows of w.
template <class Out, class Operand, class Epilogue>
void host_floating_gemm(const GemmProblem<Out, Operand>& problem, const Epilogue& epilogue, const GemmOptions& options = {}) {
  constexpr int block = 2 * layout::gate_block;  // channels whose widened rows a thread keeps; whole gates
  const GemmProblem<Out, Operand>& p = problem;
  if (p.m == 0 || p.n == 0) return;
  const auto depth = static_cast<std::size_t>(p.k);
  const auto widen = [&](const Operand* row, float* to) {
    for (int k = 0; k < p.k; ++k) to[k] = to_float(row[k]);
  };
  std::vector<float> wide_x(static_cast<std::size_t>(p.m) * depth);
  parallel_for(p.m, options.threads,
               [&](std::int64_t m) { widen(p.x + m * p.ldx, wide_x.data() + static_cast<std::size_t>(m) * depth); });
  parallel_for(ceil_div(p.n, block), options.threads, [&](std::int64_t b) {
    const int n0 = static_cast<int>(b) * block, columns = min_of(block, p.n - n0);
    std::vector<float> wide_w(static_cast<std::size_t>(columns) * depth);
    std::vector<typename Epilogue::ColumnState> column_states;
    for (int j = 0; j < columns; ++j) {
      widen(p.w + (n0 + j) * p.ldw, wide_w.data() + static_cast<std::size_t>(j) * depth);
      column_states.push_back(epilogue.column(n0 + j));
    }
    for (std::int64_t m = 0; m < p.m; ++m) {
      const auto row_state = epilogue.row(m);
      const float* x = wide_x.data() + static_cast<std::size_t>(m) * depth;
      const auto value = [&](int j) {
        const auto column = static_cast<std::size_t>(j);
        return epilogue.apply(detail::host_dot(x, wide_w.data() + column * depth, p.k), row_state, column_states[column], m,
                              n0 + j);
      };
      detail::store_host_row(p, epilogue, row_state, m, n0, columns, value);
    }
  });
}

}  // namespace w8a8
