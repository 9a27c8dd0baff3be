// A bias that may be absent at run time, so that a layer needs one kernel for both.
#pragma once

#include <cstdint>

#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8::detail {

/// Bias, or where its pointer is null an addend of 0: fma(product, scale, 0) is what Dequantize alone gives, bit for bit.
template <class T, class Space>
struct OptionalBias : Bias<T, Space> {
  explicit OptionalBias(VectorView<const T, Space> b) : Bias<T, Space>(b) {}

  W8A8_HOST_DEVICE float column(std::int64_t n) const {
    return this->bias.data() == nullptr ? 0.0f : to_float(this->bias.data()[n]);
  }

  void validate(const char* function, std::int64_t rows, std::int64_t columns) const {
    if (this->bias.data() != nullptr) Bias<T, Space>::validate(function, rows, columns);
  }
};

}  // namespace w8a8::detail
