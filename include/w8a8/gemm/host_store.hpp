// The last step of the CPU backends: an epilogue's values become outputs.
#pragma once

#include <cstdint>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/gemm/problem.hpp"
#include "w8a8/layout/gate_up.hpp"

namespace w8a8::detail {

/// Stores what columns n0, n0 + 1, ..., n0 + columns - 1 of row m come to; value(j) is epilogue.apply() of column n0 + j. With a
/// gated epilogue n0 and columns are whole gates.
template <class Out, class Operand, class Epilogue, class Value>
void store_host_row(const GemmProblem<Out, Operand>& problem, const Epilogue& epilogue,
                    const typename Epilogue::RowState& row_state, std::int64_t m, int n0, int columns, Value&& value) {
  Out* const row = problem.out + m * problem.ldo;
  if constexpr (is_gated_v<Epilogue>) {
    for (int j = 0; j < columns / 2; ++j) {
      const int gate = layout::gate_row(j), n = n0 / 2 + j;
      row[n] = store_value<Out>(epilogue.combine(value(gate), value(gate + layout::gate_block), row_state, m, n));
    }
  } else {
    for (int j = 0; j < columns; ++j) row[n0 + j] = store_value<Out>(value(j));
  }
}

}  // namespace w8a8::detail
