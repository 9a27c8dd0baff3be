// Gate and up projections of a gated layer in one weight: rows interleaved in blocks of eight, so that the kernel that holds
// output column i of the gate holds the same column of the up projection in the same thread, whichever operand is the weight:
// columns n and n + 8 are neighbouring 8-column tiles of an mma accumulator, and rows g and g + 8 one thread's rows of it.
#pragma once

#include <cstdint>

#include "w8a8/support/config.hpp"

namespace w8a8::layout {

/// Rows of the gate, then as many rows of the up projection.
inline constexpr int gate_block = 8;

/// Row of the interleaved weight that holds row i of the gate; the up projection's lies gate_block below it.
template <class Integer>
W8A8_HOST_DEVICE constexpr Integer gate_row(Integer i) {
  return i / gate_block * (2 * gate_block) + i % gate_block;
}

/// True where row n of the interleaved weight belongs to the gate.
template <class Integer>
W8A8_HOST_DEVICE constexpr bool is_gate_row(Integer n) {
  return n % (2 * gate_block) < gate_block;
}

/// The output column that row n of the interleaved weight, gate or up, goes into.
template <class Integer>
W8A8_HOST_DEVICE constexpr Integer gated_column(Integer n) {
  return n / (2 * gate_block) * gate_block + n % gate_block;
}

}  // namespace w8a8::layout
