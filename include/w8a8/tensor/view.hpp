// TensorView: a pointer, a shape and strides over cuda::std::mdspan, with the memory space in the type.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cuda/std/array>
#include <cuda/std/mdspan>
#include <limits>
#include <string>
#include <type_traits>

#include "w8a8/support/config.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/tensor/space.hpp"

namespace w8a8 {

/// "4x7" for the shape {4, 7}: for the texts of errors.
template <std::size_t Rank>
std::string shape_text(const std::array<std::int64_t, Rank>& shape) {
  std::string out;
  for (std::size_t d = 0; d < Rank; ++d) out += (d ? "x" : "") + std::to_string(shape[d]);
  return out;
}

/// A non-owning view of `Rank` (1 to 3) dimensions. Strides count elements; a copy of the view is cheap and refers to the same
/// elements, and a view of T converts to one of const T. Elements are reached with `view(i)`, `view(i, j)`, `view(i, j, k)`: by
/// host code for the space Host, by device code for the space Device; the other way round does not compile.
template <class T, int Rank, class Space>
class TensorView {
  static_assert(Rank >= 1 && Rank <= 3, "TensorView: rank 1, 2 or 3");
  static_assert(std::is_same_v<Space, Host> || std::is_same_v<Space, Device>, "TensorView: space Host or Device");

 public:
  using element_type = T;
  using value_type = std::remove_const_t<T>;
  using space_type = Space;
  using shape_type = std::array<std::int64_t, static_cast<std::size_t>(Rank)>;
  using extents_type = ::cuda::std::dextents<std::int64_t, static_cast<std::size_t>(Rank)>;
  using mapping_type = ::cuda::std::layout_stride::mapping<extents_type>;
  using mdspan_type = ::cuda::std::mdspan<T, extents_type, ::cuda::std::layout_stride>;
  static constexpr int rank = Rank;

  TensorView() : TensorView(nullptr, shape_type{}) {}

  /// A dense view: the last dimension is contiguous. Throws Error if a size is negative or there are 2^63 elements or more.
  TensorView(T* data, const shape_type& shape) : TensorView(data, shape, dense_strides(shape)) {}

  /// A strided view. Throws Error if a size or a stride is negative or there are 2^63 elements or more.
  TensorView(T* data, const shape_type& shape, const shape_type& strides) : span_(data, make_mapping(shape, strides)) {}

  template <class U, class = std::enable_if_t<std::is_same_v<const U, T> && !std::is_same_v<U, T>>>
  W8A8_HOST_DEVICE TensorView(const TensorView<U, Rank, Space>& other) : span_(other.data(), other.mapping()) {}

  W8A8_HOST_DEVICE T* data() const { return span_.data_handle(); }
  W8A8_HOST_DEVICE std::int64_t extent(int dimension) const { return span_.extent(static_cast<std::size_t>(dimension)); }
  W8A8_HOST_DEVICE std::int64_t stride(int dimension) const { return span_.stride(static_cast<std::size_t>(dimension)); }
  W8A8_HOST_DEVICE const mapping_type& mapping() const { return span_.mapping(); }

  /// The shape, as an array of `Rank` sizes.
  shape_type shape() const {
    shape_type sizes{};
    for (std::size_t d = 0; d < sizes.size(); ++d) sizes[d] = extent(static_cast<int>(d));
    return sizes;
  }

  /// Number of elements.
  W8A8_HOST_DEVICE std::int64_t size() const {
    std::int64_t count = 1;
    for (int d = 0; d < Rank; ++d) count *= extent(d);
    return count;
  }

  W8A8_HOST_DEVICE bool empty() const { return size() == 0; }

  /// True where consecutive elements in row-major order are consecutive in memory.
  bool is_dense() const {
    std::int64_t expected = 1;
    for (int d = Rank - 1; d >= 0; --d) {
      if (extent(d) != 1 && stride(d) != expected) return empty();
      expected *= extent(d);
    }
    return true;
  }

  template <class... Index, class S = Space, class = std::enable_if_t<sizeof...(Index) == Rank && std::is_same_v<S, Host>>>
  T& operator()(Index... index) const {
    return span_(static_cast<std::int64_t>(index)...);
  }

#if defined(__CUDACC__)
  template <class... Index, class S = Space, class = std::enable_if_t<sizeof...(Index) == Rank && std::is_same_v<S, Device>>,
            class = void>
  __device__ __forceinline__ T& operator()(Index... index) const {
    return span_(static_cast<std::int64_t>(index)...);
  }
#endif

  /// The underlying mdspan, for code of one's own; only a host view hands it out.
  template <class S = Space, class = std::enable_if_t<std::is_same_v<S, Host>>>
  mdspan_type mdspan() const {
    return span_;
  }

 private:
  static shape_type dense_strides(const shape_type& shape) {
    shape_type strides{};
    std::int64_t stride = 1;
    for (std::size_t d = Rank; d-- > 0;) {
      strides[d] = stride;
      if (shape[d] > 1 && stride > std::numeric_limits<std::int64_t>::max() / shape[d]) {
        throw Error("TensorView", "shape", "fewer than 2^63 elements", shape_text(shape));
      }
      stride *= shape[d] > 0 ? shape[d] : 1;
    }
    return strides;
  }

  static mapping_type make_mapping(const shape_type& shape, const shape_type& strides) {
    ::cuda::std::array<std::int64_t, static_cast<std::size_t>(Rank)> sizes{}, steps{};
    dense_strides(shape);  // throws where the elements cannot be counted
    for (std::size_t d = 0; d < sizes.size(); ++d) {
      if (shape[d] < 0) throw Error("TensorView", text("shape[", d, "]"), "a size >= 0", text(shape[d]));
      if (strides[d] < 0) throw Error("TensorView", text("strides[", d, "]"), "a stride >= 0", text(strides[d]));
      sizes[d] = shape[d];
      steps[d] = strides[d];
    }
    return mapping_type(extents_type(sizes), steps);
  }

  mdspan_type span_;
};

template <class T, class Space>
using VectorView = TensorView<T, 1, Space>;

template <class T, class Space>
using MatrixView = TensorView<T, 2, Space>;

}  // namespace w8a8
