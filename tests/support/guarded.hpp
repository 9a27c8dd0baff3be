// Matrices between guard bands: any row stride, any misalignment, poison wherever no element is. A test fills inputs, runs, and
// asks whether every output element was written and nothing else was.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/tensor/tensor.hpp"

namespace w8a8_test {

using w8a8::Device;
using w8a8::Host;

/// A value that no correct output holds: codes are never -128, |accumulators| stay below 2^31 - 16384, and a stored NaN is the
/// canonical one, without a sign.
template <class T>
T poison() {
  T value;
  if constexpr (std::is_same_v<T, std::int8_t>) {
    value = -128;
  } else if constexpr (std::is_same_v<T, std::int32_t>) {
    value = -0x7fffffff;
  } else {
    static_assert(w8a8::is_floating_v<T>);
    std::memset(static_cast<void*>(&value), 0xff, sizeof value);
  }
  return value;
}

/// Where a buffer ends. Bands shows stray writes to the test; Exact leaves no slack, so that a memory checker sees every access
/// outside.
enum class Guard { bands, exact };

/// rows x columns elements in `Space`, row r at base + r * stride. A vector is a matrix of one row.
template <class T, class Space>
class Guarded {
 public:
  /// stride: elements from row to row, at least `columns` (0: columns). misalignment: elements that the base lies past a multiple
  /// of 256 bytes.
  Guarded(std::int64_t rows, std::int64_t columns, std::int64_t stride = 0, std::int64_t misalignment = 0,
          Guard guard = Guard::bands)
      : rows_(rows), columns_(columns), stride_(stride > 0 ? stride : columns) {
    const std::int64_t band = guard == Guard::bands ? 1024 / static_cast<std::int64_t>(sizeof(T)) : 0;
    first_ = band + misalignment;
    const std::int64_t span = rows > 0 && columns > 0 ? (rows - 1) * stride_ + columns : 0;
    const std::int64_t count = first_ + span + band;
    image_.assign(static_cast<std::size_t>(count), poison<T>());
    storage_ = w8a8::Tensor<T, 1, Space>({count});
    upload();
  }

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  std::int64_t stride() const { return stride_; }

  T* data() { return storage_.data() + first_; }
  w8a8::MatrixView<T, Space> view() { return {data(), {rows_, columns_}, {stride_, 1}}; }
  /// The first row, as a vector.
  w8a8::VectorView<T, Space> vector() { return {data(), {columns_}}; }

  /// Sets the elements from a dense row-major array; what lies between and around them stays poison.
  void fill(const std::vector<T>& dense) {
    for (std::int64_t r = 0; r < rows_; ++r) {
      for (std::int64_t c = 0; c < columns_; ++c) image_[index(r, c)] = dense[static_cast<std::size_t>(r * columns_ + c)];
    }
    upload();
  }

  /// The elements now, dense and row-major. Waits for the device.
  std::vector<T> values() {
    const std::vector<T> now = download();
    std::vector<T> dense(static_cast<std::size_t>(rows_ * columns_));
    for (std::int64_t r = 0; r < rows_; ++r) {
      for (std::int64_t c = 0; c < columns_; ++c) dense[static_cast<std::size_t>(r * columns_ + c)] = now[index(r, c)];
    }
    return dense;
  }

  /// How many elements still hold poison: those that a call should have written and did not.
  std::int64_t unwritten() {
    const T mark = poison<T>();
    std::int64_t count = 0;
    for (const T& value : values()) count += std::memcmp(&value, &mark, sizeof(T)) == 0;
    return count;
  }

  /// Empty where nothing outside the elements was written; else where the first stray write lies.
  std::string damage() {
    const std::vector<T> now = download();
    const T mark = poison<T>();
    for (std::size_t i = 0; i < now.size(); ++i) {
      if (std::memcmp(&now[i], &mark, sizeof(T)) != 0 && !is_element(static_cast<std::int64_t>(i))) {
        const std::int64_t at = static_cast<std::int64_t>(i) - first_;
        return w8a8::text("stray write ", at, " elements from the base of a ", rows_, "x", columns_, " matrix of stride ",
                          stride_);
      }
    }
    return "";
  }

  /// Empty where the whole buffer is as fill() left it: for inputs.
  std::string change() {
    const std::vector<T> now = download();
    for (std::size_t i = 0; i < now.size(); ++i) {
      if (std::memcmp(&now[i], &image_[i], sizeof(T)) != 0) {
        return w8a8::text("input changed ", static_cast<std::int64_t>(i) - first_, " elements from its base");
      }
    }
    return "";
  }

 private:
  std::size_t index(std::int64_t r, std::int64_t c) const { return static_cast<std::size_t>(first_ + r * stride_ + c); }

  bool is_element(std::int64_t i) const {
    const std::int64_t at = i - first_;
    return at >= 0 && columns_ > 0 && at / stride_ < rows_ && at % stride_ < columns_;
  }

  void upload() {
    if (!image_.empty()) w8a8::check_cuda(transfer(storage_.data(), image_.data()), "cudaMemcpy");
  }

  std::vector<T> download() {
    std::vector<T> now(image_.size());
    if (!now.empty()) w8a8::check_cuda(transfer(now.data(), storage_.data()), "cudaMemcpy");
    return now;
  }

  cudaError_t transfer(T* to, const T* from) {
    const std::size_t bytes = image_.size() * sizeof(T);
    if constexpr (std::is_same_v<Space, Host>) {
      std::memcpy(to, from, bytes);
      return cudaSuccess;
    } else {
      // Wait before, and after too: a copy from pageable memory may return while its last bytes are on the way, and work on a
      // non-blocking stream would not wait for them.
      cudaError_t status = cudaDeviceSynchronize();
      if (status == cudaSuccess) status = cudaMemcpy(to, from, bytes, cudaMemcpyDefault);
      return status == cudaSuccess ? cudaDeviceSynchronize() : status;
    }
  }

  std::int64_t rows_, columns_, stride_, first_ = 0;
  std::vector<T> image_;
  w8a8::Tensor<T, 1, Space> storage_;
};

}  // namespace w8a8_test
