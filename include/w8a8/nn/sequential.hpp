// Modules one after another, and the activation that stands between two linear layers.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "w8a8/epilogue/activation.hpp"
#include "w8a8/nn/module.hpp"
#include "w8a8/nn/tokens.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8::nn {

/// Modules that each take what the one before gave; children are named "0", "1", ...
template <class T = half, class Space = Host>
class Sequential : public Module<T, Space> {
 public:
  Sequential() = default;

  /// Takes the module over, as the last one. Throws Error where it is null.
  void append(ModulePtr<T, Space> module) {
    if (module == nullptr) throw Error("Sequential::append", "module", "a module", "null");
    modules_.push_back(std::move(module));
  }

  std::vector<typename Module<T, Space>::Child> children() override {
    std::vector<typename Module<T, Space>::Child> all;
    for (std::size_t i = 0; i < modules_.size(); ++i) all.push_back({std::to_string(i), modules_[i]});
    return all;
  }

  std::int64_t out_features(std::int64_t in_features) const override {
    for (const auto& module : modules_) in_features = module->out_features(in_features);
    return in_features;
  }

  /// Two buffers for what passes from module to module, and the largest scratch of one.
  std::size_t workspace_bytes(std::int64_t tokens, std::int64_t in_features) const override {
    std::size_t scratch = 0;
    const std::size_t buffer = buffer_bytes(tokens, in_features);
    for (const auto& module : modules_) {
      scratch = max_of(scratch, module->workspace_bytes(tokens, in_features));
      in_features = module->out_features(in_features);
    }
    return 2 * buffer + scratch;
  }

  void forward(const MatrixView<const T, Space>& input, const MatrixView<T, Space>& output,
               const VectorView<std::byte, Space>& workspace, cudaStream_t stream) const override {
    if (modules_.empty()) throw Error("Sequential::forward", "modules", "at least one module", "none");
    const std::int64_t tokens = input.extent(0);
    w8a8::detail::check_tokens("Sequential::forward", input, output, input.extent(1), out_features(input.extent(1)));
    const std::size_t buffer = buffer_bytes(tokens, input.extent(1)), needed = workspace_bytes(tokens, input.extent(1));
    w8a8::detail::check_workspace("Sequential::forward", workspace, needed, 16);
    std::byte* const scratch = workspace.data() + 2 * buffer;
    const VectorView<std::byte, Space> rest(scratch, {workspace.size() - static_cast<std::int64_t>(2 * buffer)});
    MatrixView<const T, Space> current = input;
    for (std::size_t i = 0; i < modules_.size(); ++i) {
      const std::int64_t features = modules_[i]->out_features(current.extent(1));
      const MatrixView<T, Space> next =
          i + 1 == modules_.size()
              ? output
              : MatrixView<T, Space>(reinterpret_cast<T*>(workspace.data() + (i % 2) * buffer), {tokens, features});
      modules_[i]->forward(current, next, rest, stream);
      current = next;
    }
  }

 private:
  /// Room for the widest tokens that pass between two modules.
  std::size_t buffer_bytes(std::int64_t tokens, std::int64_t in_features) const {
    std::int64_t widest = 0;
    for (std::size_t i = 0; i + 1 < modules_.size(); ++i) {
      in_features = modules_[i]->out_features(in_features);
      widest = max_of(widest, in_features);
    }
    return round_up(static_cast<std::size_t>(tokens) * static_cast<std::size_t>(widest) * sizeof(T), std::size_t{256});
  }

  std::vector<ModulePtr<T, Space>> modules_;
};

/// tanh-GELU of every element. Runs on the CPU; on the GPU it belongs into the epilogue of the layer before it (fc1).
template <class T = half>
class GeluActivation : public Module<T, Host> {
 public:
  std::int64_t out_features(std::int64_t in_features) const override { return in_features; }
  std::size_t workspace_bytes(std::int64_t, std::int64_t) const override { return 0; }

  void forward(const MatrixView<const T, Host>& input, const MatrixView<T, Host>& output, const VectorView<std::byte, Host>& = {},
               cudaStream_t = nullptr) const override {
    w8a8::detail::check_tokens("GeluActivation::forward", input, output, input.extent(1), input.extent(1));
    for (std::int64_t m = 0; m < input.extent(0); ++m) {
      for (std::int64_t k = 0; k < input.extent(1); ++k) output(m, k) = from_float<T>(gelu_tanh(to_float(input(m, k))));
    }
  }
};

}  // namespace w8a8::nn
