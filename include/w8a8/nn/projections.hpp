// Linear layers that take the same input: query, key and value; gate and up. Run one by one, or fused into one INT8 layer by
// nn::quantize.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "w8a8/nn/module.hpp"
#include "w8a8/nn/tokens.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8::nn {

/// Linear layers that become one INT8 layer in a way of their own.
template <class T, class Space>
class Fusible {
 public:
  virtual ~Fusible() = default;

  /// The INT8 layer in the place of the module's children, all of which are nn::Linear of one in_features; null where there can
  /// be none, and the children are converted one by one.
  virtual ModulePtr<T, Space> quantized() const = 0;
};

/// Modules that take the same input; the output holds theirs side by side, in their order. An attention that keeps query, key and
/// value in one of these lets nn::quantize fuse them; as the child "" of the attention, it leaves no trace in their names. The
/// modules must take outputs whose rows are further apart than they are long, as all linear layers do.
template <class T = half, class Space = Host>
class Projections : public Module<T, Space> {
 public:
  Projections() = default;

  /// Takes the module over, as the last one. Throws Error where it is null.
  void append(std::string name, ModulePtr<T, Space> module) {
    if (module == nullptr) throw Error("Projections::append", "module", "a module", "null");
    modules_.emplace_back(std::move(name), std::move(module));
  }

  std::vector<typename Module<T, Space>::Child> children() override {
    std::vector<typename Module<T, Space>::Child> all;
    for (auto& [name, module] : modules_) all.push_back({name, module});
    return all;
  }

  std::int64_t out_features(std::int64_t in_features) const override {
    std::int64_t all = 0;
    for (const auto& named : modules_) all += named.second->out_features(in_features);
    return all;
  }

  std::size_t workspace_bytes(std::int64_t tokens, std::int64_t in_features) const override {
    std::size_t most = 0;
    for (const auto& named : modules_) most = max_of(most, named.second->workspace_bytes(tokens, in_features));
    return most;
  }

  void forward(const MatrixView<const T, Space>& input, const MatrixView<T, Space>& output,
               const VectorView<std::byte, Space>& workspace, cudaStream_t stream) const override {
    w8a8::detail::check_tokens("Projections::forward", input, output, input.extent(1), out_features(input.extent(1)));
    w8a8::detail::check_workspace("Projections::forward", workspace, workspace_bytes(input.extent(0), input.extent(1)), 16);
    const std::int64_t tokens = input.extent(0);
    std::int64_t column = 0;
    for (const auto& named : modules_) {
      const std::int64_t features = named.second->out_features(input.extent(1));
      const MatrixView<T, Space> own(output.data() + column * output.stride(1), {tokens, features},
                                     {output.stride(0), output.stride(1)});
      named.second->forward(input, own, workspace, stream);
      column += features;
    }
  }

 private:
  std::vector<std::pair<std::string, ModulePtr<T, Space>>> modules_;
};

}  // namespace w8a8::nn
