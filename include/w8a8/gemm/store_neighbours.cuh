// Stores of neighbouring outputs, as wide as their address allows.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "w8a8/support/config.hpp"

namespace w8a8::detail {

/// Stores the first `existing` of Count neighbouring outputs: with one instruction where the address allows it and all exist.
template <class Out, int Count>
W8A8_DEVICE void store_neighbours(Out* to, const Out (&values)[Count], int existing) {
  struct alignas(Count * sizeof(Out)) All {
    Out value[Count];
  };
  if (existing >= Count && reinterpret_cast<std::uintptr_t>(to) % sizeof(All) == 0) {
    All all;
    W8A8_UNROLL
    for (int j = 0; j < Count; ++j) all.value[j] = values[j];
    *reinterpret_cast<All*>(to) = all;
  } else {
    W8A8_UNROLL
    for (int j = 0; j < Count; ++j) {
      if (j < existing) to[j] = values[j];
    }
  }
}

/// Lanes 2 i and 2 i + 1 each hold two pairs; afterwards the even one has both first pairs, the odd one both second pairs. Every
/// lane of the warp calls it.
template <class Out>
W8A8_DEVICE void swap_with_neighbour(Out (&values)[4]) {
  using Word = std::conditional_t<sizeof(Out) == 1, std::uint16_t, std::uint32_t>;
  constexpr int words = 2 * sizeof(Out) / sizeof(Word);
  const bool odd = threadIdx.x % 2 != 0;
  Word pairs[2][words];
  std::memcpy(pairs, values, sizeof(values));
  W8A8_UNROLL
  for (int i = 0; i < words; ++i) {
    const Word keep = odd ? pairs[1][i] : pairs[0][i], give = odd ? pairs[0][i] : pairs[1][i];
    const Word take = static_cast<Word>(__shfl_xor_sync(0xffffffffu, static_cast<unsigned>(give), 1));
    pairs[0][i] = odd ? take : keep;
    pairs[1][i] = odd ? keep : take;
  }
  std::memcpy(values, pairs, sizeof(values));
}

}  // namespace w8a8::detail
