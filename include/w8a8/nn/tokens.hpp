// Inputs [tokens, features] and [batch, tokens, features] as the matrices that the kernels take, and what every layer checks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "w8a8/support/error.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8::detail {

template <class T, class Space>
MatrixView<T, Space> as_matrix(const char*, const char*, const TensorView<T, 2, Space>& view) {
  return view;
}

/// [batch, tokens, features] as [batch * tokens, features]. Throws Error where the batches do not follow one another at the row
/// stride.
template <class T, class Space>
MatrixView<T, Space> as_matrix(const char* function, const char* argument, const TensorView<T, 3, Space>& view) {
  const std::int64_t batch = view.extent(0), tokens = view.extent(1);
  if (batch > 1 && tokens > 1 && !view.empty() && view.stride(0) != tokens * view.stride(1)) {
    throw Error(function, argument, text("batches that follow one another (stride ", tokens * view.stride(1), ")"),
                text("stride ", view.stride(0)));
  }
  return {view.data(), {batch * tokens, view.extent(2)}, {tokens == 1 ? view.stride(0) : view.stride(1), view.stride(2)}};
}

/// Checks the width of the tokens that reach a module.
inline void check_features(const char* function, std::int64_t features, std::int64_t in_features) {
  if (features != in_features) throw Error(function, "in_features", text(in_features), text(features));
}

/// Checks a layer's input and output: equal in all dimensions but the last, which are the layer's features.
template <class X, class Out, int Rank, class Space>
void check_tokens(const char* function, const TensorView<X, Rank, Space>& input, const TensorView<Out, Rank, Space>& output,
                  std::int64_t in_features, std::int64_t out_features) {
  static_assert(Rank == 2 || Rank == 3, "a layer's input is [tokens, features] or [batch, tokens, features]");
  if (input.extent(Rank - 1) != in_features) {
    throw Error(function, "input", text(in_features, " features in the last dimension"), "shape " + shape_text(input.shape()));
  }
  auto expected = input.shape();
  expected[Rank - 1] = out_features;
  if (output.shape() != expected) {
    throw Error(function, "output_buffer", "shape " + shape_text(expected), "shape " + shape_text(output.shape()));
  }
}

/// Checks scratch memory before anything is written to it. `needed` bytes, dense, at a multiple of `alignment`; `source` names
/// what told them.
template <class Space>
void check_workspace(const char* function, const VectorView<std::byte, Space>& workspace, std::size_t needed,
                     std::size_t alignment, const std::string& source = "") {
  if (workspace.size() > 1 && workspace.stride(0) != 1)
    throw Error(function, "workspace", "stride 1", text("stride ", workspace.stride(0)));
  if (static_cast<std::size_t>(workspace.size()) < needed)
    throw Error(function, "workspace", text(needed, " bytes", source), text(workspace.size(), " bytes"));
  if (needed > 0 && workspace.data() == nullptr) throw Error(function, "workspace", "a pointer to its bytes", "nullptr");
  if (!is_aligned(workspace.data(), alignment)) {
    throw Error(function, "workspace", text("an address aligned to ", alignment, " bytes"),
                text(static_cast<const void*>(workspace.data())));
  }
}

}  // namespace w8a8::detail
