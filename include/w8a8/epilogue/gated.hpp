// Gated linear units in the GEMM: activation(x Wg^T) * (x Wu^T) from one weight in which the rows of Wg and Wu are interleaved,
// so that the product leaves the kernel once, with half the columns. (Shazeer, "GLU Variants Improve Transformer",
// arXiv:2002.05202.)
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/layout/gate_up.hpp"
#include "w8a8/math/activation.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

/// Epilogue functor: silu(gate) * up. The weight, its scales and its bias are interleaved by interleave_gate_up(); the output has
/// N / 2 columns. Only functors without column state may follow (Residual, Requantize), on the output's columns.
struct SwiGlu : GateFunctor {
  W8A8_HOST_DEVICE float combine(float gate, float up, Empty, std::int64_t, std::int64_t) const {
    return multiply(silu(gate), up);
  }
};

/// Epilogue functor: gelu_tanh(gate) * up; see SwiGlu.
struct GeGlu : GateFunctor {
  W8A8_HOST_DEVICE float combine(float gate, float up, Empty, std::int64_t, std::int64_t) const {
    return multiply(gelu_tanh(gate), up);
  }
};

/// Epilogue functor: relu(gate) * up; see SwiGlu.
struct ReGlu : GateFunctor {
  W8A8_HOST_DEVICE float combine(float gate, float up, Empty, std::int64_t, std::int64_t) const {
    return multiply(relu(gate), up);
  }
};

/// Interleaves the rows of a gate and an up projection as gated epilogues expect them (layout/gate_up.hpp).
/// gate, up: I x K weights, or I scales or biases; out: 2 I x K, or 2 I. All dense, one element type, I a multiple of 8. Host
/// views: done on return. Device views: enqueued on `stream`. Throws Error that names the argument, CudaError where a copy fails.
template <class T, class U, class V, int Rank, class Space>
void interleave_gate_up(const TensorView<T, Rank, Space>& gate, const TensorView<U, Rank, Space>& up,
                        const TensorView<V, Rank, Space>& out, cudaStream_t stream = nullptr) {
  static_assert(std::is_same_v<std::remove_const_t<T>, V> && std::is_same_v<std::remove_const_t<U>, V>,
                "interleave_gate_up: one element type, and an out that is not const");
  constexpr const char* function = "interleave_gate_up";
  if (gate.extent(0) % layout::gate_block != 0) {
    throw Error(function, "gate", text("rows in a multiple of ", layout::gate_block), text(gate.extent(0), " rows"));
  }
  if (up.shape() != gate.shape()) throw Error(function, "up", "shape " + shape_text(gate.shape()), shape_text(up.shape()));
  auto doubled = gate.shape();
  doubled[0] *= 2;
  if (out.shape() != doubled) throw Error(function, "out", "shape " + shape_text(doubled), shape_text(out.shape()));
  const auto check_dense = [](const char* argument, const auto& view) {
    if (!view.is_dense()) throw Error(function, argument, "a dense view", "strides");
    if (!view.empty() && view.data() == nullptr) throw Error(function, argument, "a pointer to its elements", "nullptr");
  };
  check_dense("gate", gate), check_dense("up", up), check_dense("out", out);
  if (gate.empty()) return;

  const auto blocks = static_cast<std::size_t>(gate.extent(0) / layout::gate_block);
  const std::size_t elements = static_cast<std::size_t>(gate.size()) / blocks, bytes = elements * sizeof(V);  // of a block
  const auto scatter = [&](const V* source, V* destination) {
    if constexpr (std::is_same_v<Space, Device>) {
      check_cuda(cudaMemcpy2DAsync(destination, 2 * bytes, source, bytes, bytes, blocks, cudaMemcpyDeviceToDevice, stream),
                 "cudaMemcpy2DAsync");
    } else {
      for (std::size_t b = 0; b < blocks; ++b) std::memcpy(destination + 2 * b * elements, source + b * elements, bytes);
    }
  };
  scatter(gate.data(), out.data());
  scatter(up.data(), out.data() + elements);
}

}  // namespace w8a8
