// Residual: adds a matrix of the output's shape.
#pragma once

#include <cstdint>
#include <type_traits>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

/// Epilogue functor: value + residual[m, n], one FP32 addition. residual: M x N half, bfloat16 or float, any strides. It may be
/// the output itself: each element is read by the thread that then writes it.
template <class T, class Space>
struct Residual : EpilogueFunctor {
  using space_type = Space;

  MatrixView<const T, Space> residual;

  explicit Residual(MatrixView<const T, Space> r) : residual(r) {}

  W8A8_HOST_DEVICE float apply(float value, Empty, Empty, std::int64_t m, std::int64_t n) const {
    return add(value, to_float(residual.data()[m * residual.stride(0) + n * residual.stride(1)]));
  }

  void validate(const char* function, std::int64_t rows, std::int64_t columns) const {
    if (residual.extent(0) != rows || residual.extent(1) != columns) {
      throw Error(function, "residual", text("shape ", rows, "x", columns), shape_text(residual.shape()));
    }
    if (!residual.empty() && residual.data() == nullptr)
      throw Error(function, "residual", "a pointer to its elements", "nullptr");
  }
};

template <class T, class Space>
Residual(TensorView<T, 2, Space>) -> Residual<std::remove_const_t<T>, Space>;

}  // namespace w8a8
