// Tensor: owning dense storage in one memory space, and copies between spaces.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <type_traits>

#include "w8a8/support/error.hpp"
#include "w8a8/tensor/space.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

namespace detail {

/// Storage starts at a multiple of this in both spaces (cudaMalloc's own alignment).
inline constexpr std::size_t storage_alignment = 256;

struct FreeStorage {
  bool device = false;
  void operator()(void* pointer) const noexcept {
    if (device) {
      cudaFree(pointer);
    } else {
      std::free(pointer);
    }
  }
};

template <class T, std::size_t Rank>
std::size_t storage_bytes(const std::array<std::int64_t, Rank>& shape) {
  constexpr std::uint64_t limit = std::numeric_limits<std::int64_t>::max() / sizeof(T);
  std::uint64_t count = 1;
  bool empty = false;
  for (const std::int64_t size : shape) {
    if (size < 0) throw Error("Tensor", "shape", "sizes >= 0", shape_text(shape));
    empty = empty || size == 0;
    const std::uint64_t factor = size == 0 ? 1 : static_cast<std::uint64_t>(size);  // strides skip sizes of 0
    if (count > limit / factor) throw Error("Tensor", "shape", "fewer than 2^63 bytes", shape_text(shape));
    count *= factor;
  }
  return empty ? 0 : static_cast<std::size_t>(count) * sizeof(T);
}

}  // namespace detail

/// Dense row-major storage of `Rank` dimensions in `Space`. Elements are not initialised. Move-only; `view()` gives the view
/// that the library's functions take. Device storage belongs to the device that is current when it is made.
/// Throws Error for negative or overflowing shapes, CudaError or std::bad_alloc when memory is short.
template <class T, int Rank, class Space>
class Tensor {
  static_assert(std::is_trivially_copyable_v<T> && !std::is_const_v<T>, "Tensor: a trivially copyable, non-const element type");

 public:
  using value_type = T;
  using space_type = Space;
  using view_type = TensorView<T, Rank, Space>;
  using const_view_type = TensorView<const T, Rank, Space>;
  using shape_type = typename view_type::shape_type;

  Tensor() = default;

  explicit Tensor(const shape_type& shape) : shape_(shape) {
    const std::size_t bytes = detail::storage_bytes<T>(shape);
    if (bytes == 0) return;
    void* pointer = nullptr;
    if constexpr (std::is_same_v<Space, Device>) {
      check_cuda(cudaMalloc(&pointer, bytes), "cudaMalloc");
    } else {
      const std::size_t padded = (bytes + detail::storage_alignment - 1) / detail::storage_alignment * detail::storage_alignment;
      pointer = std::aligned_alloc(detail::storage_alignment, padded);
      if (pointer == nullptr) throw std::bad_alloc();
    }
    storage_ = {pointer, detail::FreeStorage{std::is_same_v<Space, Device>}};
  }

  T* data() { return static_cast<T*>(storage_.get()); }
  const T* data() const { return static_cast<const T*>(storage_.get()); }
  const shape_type& shape() const { return shape_; }
  std::int64_t extent(int dimension) const { return shape_[static_cast<std::size_t>(dimension)]; }
  std::int64_t size() const { return view().size(); }
  std::int64_t bytes() const { return size() * static_cast<std::int64_t>(sizeof(T)); }
  bool empty() const { return size() == 0; }

  view_type view() { return view_type(data(), shape_); }
  const_view_type view() const { return const_view_type(data(), shape_); }

  template <class... Index, class S = Space, class = std::enable_if_t<std::is_same_v<S, Host> && sizeof...(Index) == Rank>>
  T& operator()(Index... index) {
    return view()(index...);
  }
  template <class... Index, class S = Space, class = std::enable_if_t<std::is_same_v<S, Host> && sizeof...(Index) == Rank>>
  const T& operator()(Index... index) const {
    return view()(index...);
  }

 private:
  shape_type shape_{};
  std::unique_ptr<void, detail::FreeStorage> storage_;
};

/// Copies the elements of `source` to `destination`; shapes must agree and both be dense. Between Host and Host it is done on
/// return; otherwise it is enqueued on `stream` and, the host side being pageable memory, may wait for it.
/// Throws Error where shapes disagree, a view is strided or its pointer null, CudaError where the copy fails.
template <class T, class U, int Rank, class From, class To>
void copy(const TensorView<T, Rank, From>& source, const TensorView<U, Rank, To>& destination, cudaStream_t stream = nullptr) {
  static_assert(std::is_same_v<std::remove_const_t<T>, U>, "copy: one element type, and a destination that is not const");
  if (source.shape() != destination.shape()) {
    throw Error("copy", "destination", "shape " + shape_text(source.shape()), shape_text(destination.shape()));
  }
  if (!source.is_dense()) throw Error("copy", "source", "a dense view", "strides");
  if (!destination.is_dense()) throw Error("copy", "destination", "a dense view", "strides");
  if (source.empty()) return;
  if (source.data() == nullptr) throw Error("copy", "source", "a pointer to its elements", "nullptr");
  if (destination.data() == nullptr) throw Error("copy", "destination", "a pointer to its elements", "nullptr");
  const std::size_t bytes = static_cast<std::size_t>(source.size()) * sizeof(U);
  if constexpr (std::is_same_v<From, Host> && std::is_same_v<To, Host>) {
    std::memcpy(destination.data(), source.data(), bytes);
  } else {
    check_cuda(cudaMemcpyAsync(destination.data(), source.data(), bytes, cudaMemcpyDefault, stream), "cudaMemcpyAsync");
  }
}

/// A new tensor in `To` with the elements of `source`, complete when the call returns. Throws as Tensor and copy do.
template <class To, class T, int Rank, class From>
Tensor<std::remove_const_t<T>, Rank, To> clone_to(const TensorView<T, Rank, From>& source, cudaStream_t stream = nullptr) {
  Tensor<std::remove_const_t<T>, Rank, To> out(source.shape());
  w8a8::copy(source, out.view(), stream);  // qualified: of std::byte, std::copy would be as good
  if constexpr (std::is_same_v<From, Device> || std::is_same_v<To, Device>) {
    check_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  }
  return out;
}

}  // namespace w8a8
