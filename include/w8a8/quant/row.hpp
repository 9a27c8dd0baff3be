// A row as the quantizers see it: groups of eight elements, and the one order in which the sums over a row are formed, so that
// host and device, and every launch configuration, round alike.
//
// Order of a row sum. Element k belongs to group g = k / 8 and group g to slot g mod 4096. A slot holds one FP32 sum: it takes
// its groups in ascending order, and in a group the elements in ascending order, one addition or fused multiply-add each. The
// 4096 slots then fold in halves: slot[s] += slot[s + h] for h = 2048, 1024, ..., 1. Slots without elements are zero and change
// nothing, so a kernel whose threads hold only the slots that the row reaches gets the same bits, whatever its block size.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>
#include <nv/target>
#include <string>
#include <type_traits>

#include "w8a8/support/config.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8::detail {

/// Elements of a group: 16 bytes of half or bfloat16, 32 of float, 8 of codes.
inline constexpr int group_size = 8;

/// Slots of a row sum.
inline constexpr int sum_slots = 4096;

/// The elements k .. k + 7 of a row as they lie in memory, in whole registers; those past the row's end are zero.
template <class T>
struct Group {
  static constexpr int elements_per_word = static_cast<int>(4 / sizeof(T));
  static constexpr int words = group_size / elements_per_word;

  std::uint32_t word[static_cast<std::size_t>(words)];
};

/// The same eight elements in FP32.
struct Values {
  float v[group_size];

  W8A8_HOST_DEVICE float& operator[](int i) { return v[i]; }
  W8A8_HOST_DEVICE const float& operator[](int i) const { return v[i]; }
};

/// The unsigned integer as wide as T.
template <class T>
using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::conditional_t<sizeof(T) == 2, std::uint16_t, std::uint8_t>>;

/// The group at `source`: its first `count` elements, none where count <= 0. Aligned: count is 8 if it is not <= 0, and `source`
/// then a multiple of 16 bytes (8 for codes).
template <bool Aligned, class T>
W8A8_HOST_DEVICE Group<T> load_group(const T* source, int count) {
  using G = Group<T>;
  G group = {};
  if constexpr (Aligned) {
    if (count > 0) {
      if constexpr (G::words == 2) {
        const uint2 pair = *reinterpret_cast<const uint2*>(source);
        group.word[0] = pair.x;
        group.word[1] = pair.y;
      } else {
        for (int w = 0; w < G::words; w += 4) {
          const uint4 four = *reinterpret_cast<const uint4*>(source + w * G::elements_per_word);
          group.word[w] = four.x;
          group.word[w + 1] = four.y;
          group.word[w + 2] = four.z;
          group.word[w + 3] = four.w;
        }
      }
    }
  } else {
    for (int w = 0; w < G::words; ++w) {
      for (int e = 0; e < G::elements_per_word; ++e) {
        if (w * G::elements_per_word + e < count) {
          const T element = source[w * G::elements_per_word + e];
          Bits<T> bits;
          std::memcpy(&bits, &element, sizeof bits);
          group.word[w] |= static_cast<std::uint32_t>(bits) << (8 * static_cast<int>(sizeof(T)) * e);
        }
      }
    }
  }
  return group;
}

/// Writes the group's first `count` elements to `target`, under the same condition.
template <bool Aligned, class T>
W8A8_HOST_DEVICE void store_group(T* target, const Group<T>& group, int count) {
  using G = Group<T>;
  if constexpr (Aligned) {
    if (count > 0) {
      if constexpr (G::words == 2) {
        *reinterpret_cast<uint2*>(target) = uint2{group.word[0], group.word[1]};
      } else {
        for (int w = 0; w < G::words; w += 4) {
          *reinterpret_cast<uint4*>(target + w * G::elements_per_word) =
              uint4{group.word[w], group.word[w + 1], group.word[w + 2], group.word[w + 3]};
        }
      }
    }
  } else {
    for (int w = 0; w < G::words; ++w) {
      for (int e = 0; e < G::elements_per_word; ++e) {
        if (w * G::elements_per_word + e < count) {
          const Bits<T> bits = static_cast<Bits<T>>(group.word[w] >> (8 * static_cast<int>(sizeof(T)) * e));
          T element;
          std::memcpy(static_cast<void*>(&element), &bits, sizeof bits);
          target[w * G::elements_per_word + e] = element;
        }
      }
    }
  }
}

template <class T>
using Pair = std::conditional_t<std::is_same_v<T, half>, __half2, __nv_bfloat162>;

/// The two 16-bit elements of a word.
template <class T>
W8A8_HOST_DEVICE Pair<T> pair_of(std::uint32_t word) {
  Pair<T> pair;
  std::memcpy(static_cast<void*>(&pair), &word, sizeof pair);
  return pair;
}

/// The group's elements in FP32.
template <class T>
W8A8_HOST_DEVICE Values to_values(const Group<T>& group) {
  Values x;
  if constexpr (sizeof(T) == 4) {
    for (int i = 0; i < group_size; ++i) x[i] = float_from_bits(group.word[i]);
  } else {
    for (int w = 0; w < group_size / 2; ++w) {
      const Pair<T> pair = pair_of<T>(group.word[w]);
      x[2 * w] = to_float(pair.x);
      x[2 * w + 1] = to_float(pair.y);
    }
  }
  return x;
}

/// The values, each rounded once to T.
template <class T>
W8A8_HOST_DEVICE Group<T> from_values(const Values& x) {
  Group<T> group;
  if constexpr (sizeof(T) == 4) {
    for (int i = 0; i < group_size; ++i) group.word[i] = float_bits(from_float<T>(x[i]));
  } else {
    for (int w = 0; w < group_size / 2; ++w) {
      Pair<T> pair;
      if constexpr (std::is_same_v<T, half>) {
        pair = __floats2half2_rn(x[2 * w], x[2 * w + 1]);
      } else {
        pair = __floats2bfloat162_rn(x[2 * w], x[2 * w + 1]);
      }
      std::memcpy(&group.word[w], &pair, sizeof pair);
    }
  }
  return group;
}

/// A row-major matrix in kernel arguments: contiguous rows, `stride` elements apart.
template <class T>
struct Rows {
  T* data = nullptr;
  std::int64_t stride = 0;

  W8A8_HOST_DEVICE T* at(std::int64_t row, std::int64_t k) const { return data + row * stride + k; }
  W8A8_HOST_DEVICE explicit operator bool() const { return data != nullptr; }

  /// True where groups can be moved in wide accesses. An absent matrix never stands in the way.
  bool aligned() const {
    constexpr int bytes = sizeof(Group<T>) >= 16 ? 16 : static_cast<int>(sizeof(Group<T>));
    return data == nullptr || (is_aligned(data, bytes) && stride % group_size == 0);
  }
};

template <class View>
Rows<typename View::element_type> rows_of(const View& view) {
  // The stride of a single row is never used; one that is aligned keeps the fast path open.
  return {view.data(), view.extent(0) > 1 ? view.stride(0) : 0};
}

/// The same, for reading.
template <class View>
Rows<const typename View::value_type> input_rows(const View& view) {
  return {view.data(), rows_of(view).stride};
}

/// Rows and columns of a checked call.
struct RowShape {
  std::int64_t rows = 0;
  int columns = 0;
};

/// What each matrix of a row-wise call must be: readable, naturally aligned, contiguous rows that do not overlap.
template <class View>
void check_rows(const char* function, const char* argument, const View& view) {
  using T = typename View::value_type;
  if (view.empty()) return;
  if (view.data() == nullptr) throw Error(function, argument, "a pointer to its elements", "nullptr");
  if (!is_aligned(view.data(), alignof(T))) {
    throw Error(function, argument, text("an address aligned to ", alignof(T), " bytes"),
                text(static_cast<const void*>(view.data())));
  }
  if (view.extent(1) > 1 && view.stride(1) != 1) {
    throw Error(function, argument, "contiguous rows (stride 1 in the last dimension)", text("stride ", view.stride(1)));
  }
  if (view.extent(0) > 1 && view.stride(0) < view.extent(1)) {
    throw Error(function, argument, text("a row stride of at least ", view.extent(1)), text("row stride ", view.stride(0)));
  }
}

/// Checks the input that sets the shape of a call: fewer than 2^31 rows and columns.
template <class View>
RowShape check_input(const char* function, const char* argument, const View& view) {
  constexpr std::int64_t limit = 0x7fffffff - group_size;
  for (int d = 0; d < 2; ++d) {
    if (view.extent(d) > limit) {
      throw Error(function, argument, text("at most ", limit, d ? " columns" : " rows"), text(view.extent(d)));
    }
  }
  check_rows(function, argument, view);
  return {view.extent(0), static_cast<int>(view.extent(1))};
}

/// Checks a matrix that has the shape of the input.
template <class View>
void check_same_shape(const char* function, const char* argument, const View& view, const RowShape& shape) {
  if (view.extent(0) != shape.rows || view.extent(1) != shape.columns) {
    throw Error(function, argument, text("shape ", shape.rows, "x", shape.columns), shape_text(view.shape()));
  }
  check_rows(function, argument, view);
}

/// Checks a dense vector of `length` elements.
template <class View>
void check_vector(const char* function, const char* argument, const View& view, std::int64_t length) {
  using T = typename View::value_type;
  if (view.extent(0) != length) throw Error(function, argument, text("length ", length), text("length ", view.extent(0)));
  if (length == 0) return;
  if (view.data() == nullptr) throw Error(function, argument, "a pointer to its elements", "nullptr");
  if (!is_aligned(view.data(), alignof(T))) {
    throw Error(function, argument, text("an address aligned to ", alignof(T), " bytes"),
                text(static_cast<const void*>(view.data())));
  }
  if (length > 1 && view.stride(0) != 1) throw Error(function, argument, "stride 1", text("stride ", view.stride(0)));
}

}  // namespace w8a8::detail
