// TensorRef: a host tensor whose element type and rank are known at run time only, as files and state dicts need it.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/tensor/space.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

/// The name of an element type, as safetensors files spell it: "F32", "F16", "BF16", "I8" or "I32".
template <class T>
constexpr const char* dtype_name() {
  using Value = std::remove_const_t<T>;
  if constexpr (std::is_same_v<Value, float>) {
    return "F32";
  } else if constexpr (std::is_same_v<Value, half>) {
    return "F16";
  } else if constexpr (std::is_same_v<Value, bfloat16>) {
    return "BF16";
  } else if constexpr (std::is_same_v<Value, std::int8_t>) {
    return "I8";
  } else {
    static_assert(std::is_same_v<Value, std::int32_t>, "dtype_name: float, half, bfloat16, int8 or int32");
    return "I32";
  }
}

/// "4x7x2" for the shape {4, 7, 2}, "scalar" for {}.
inline std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string out;
  for (const std::int64_t size : shape) out += (out.empty() ? "" : "x") + std::to_string(size);
  return out.empty() ? "scalar" : out;
}

/// A non-owning reference to the dense, row-major elements of a host tensor; `data` may have any alignment.
struct TensorRef {
  std::string dtype;                ///< "F32", "F16", "BF16", "I8", ...
  std::vector<std::int64_t> shape;  ///< sizes >= 0
  const void* data = nullptr;
  std::uint64_t bytes = 0;
};

/// A reference to the elements of a dense host view. Throws Error where the view is strided.
template <class T, int Rank>
TensorRef tensor_ref(const TensorView<T, Rank, Host>& view) {
  if (!view.is_dense()) throw Error("tensor_ref", "view", "a dense view", "strides");
  const auto shape = view.shape();
  return {dtype_name<T>(), {shape.begin(), shape.end()}, view.data(), static_cast<std::uint64_t>(view.size()) * sizeof(T)};
}

}  // namespace w8a8
