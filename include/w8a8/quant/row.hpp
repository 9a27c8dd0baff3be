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

/// The elements k .. k + 7 of a row; those past its end are zero.
template <class T>
struct Group {
  T values[group_size];

  W8A8_HOST_DEVICE T& operator[](int i) { return values[i]; }
  W8A8_HOST_DEVICE const T& operator[](int i) const { return values[i]; }
};

/// Device: brings 16-bit elements that were read one by one into four registers; the compiler would keep eight.
template <class T>
W8A8_HOST_DEVICE void join_pairs([[maybe_unused]] Group<T>& group) {
  NV_IF_TARGET(NV_IS_DEVICE, (std::uint16_t element[group_size]; std::uint32_t pair[group_size / 2];
                              std::memcpy(element, &group, sizeof group); for (int i = 0; i < group_size / 2; ++i) {
                                pair[i] = __byte_perm(element[2 * i], element[2 * i + 1], 0x5410);
                              } std::memcpy(&group, pair, sizeof group);))
}

/// The group at `source`. Aligned: it is whole and `source` a multiple of 16 bytes (8 for codes); else its first `count`
/// elements.
template <bool Aligned, class T>
W8A8_HOST_DEVICE Group<T> load_group(const T* source, int count) {
  Group<T> group;
  if constexpr (Aligned) {
    constexpr int words = static_cast<int>(sizeof(group) / sizeof(uint2));
    uint2 raw[words];
    if constexpr (words == 1) {
      raw[0] = *reinterpret_cast<const uint2*>(source);
    } else {
      for (int w = 0; w < words; w += 2) {
        const uint4 both = *reinterpret_cast<const uint4*>(source + w * (group_size / words));
        raw[w] = {both.x, both.y};
        raw[w + 1] = {both.z, both.w};
      }
    }
    std::memcpy(&group, raw, sizeof group);
  } else {
    std::memset(&group, 0, sizeof group);
    for (int i = 0; i < group_size; ++i) {
      if (i < count) group[i] = source[i];
    }
    if constexpr (sizeof(T) == 2) join_pairs(group);
  }
  return group;
}

/// Writes the group to `target`, under the same condition.
template <bool Aligned, class T>
W8A8_HOST_DEVICE void store_group(T* target, const Group<T>& group, int count) {
  if constexpr (Aligned) {
    constexpr int words = static_cast<int>(sizeof(group) / sizeof(uint2));
    uint2 raw[words];
    std::memcpy(raw, &group, sizeof group);
    if constexpr (words == 1) {
      *reinterpret_cast<uint2*>(target) = raw[0];
    } else {
      for (int w = 0; w < words; w += 2) {
        *reinterpret_cast<uint4*>(target + w * (group_size / words)) = {raw[w].x, raw[w].y, raw[w + 1].x, raw[w + 1].y};
      }
    }
  } else {
    for (int i = 0; i < group_size; ++i) {
      if (i < count) target[i] = group[i];
    }
  }
}

/// A row-major matrix in kernel arguments: contiguous rows, `stride` elements apart.
template <class T>
struct Rows {
  T* data = nullptr;
  std::int64_t stride = 0;

  W8A8_HOST_DEVICE T* at(std::int64_t row, int k) const { return data + row * stride + k; }
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
