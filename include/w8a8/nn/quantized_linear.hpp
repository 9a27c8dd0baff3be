// The INT8 layer as a module of a model, and the conversion of a whole model to it.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "w8a8/nn/convert.hpp"
#include "w8a8/nn/linear.hpp"
#include "w8a8/nn/module.hpp"
#include "w8a8/nn/tokens.hpp"
#include "w8a8/nn/w8a8_linear.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/tensor/space.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8::nn {

/// W8A8OF16LinearDynamicInputScale in a module tree.
template <class T = half, class Space = Host, class Scale = float>
class QuantizedLinear : public Module<T, Space> {
 public:
  using Layer = W8A8OF16LinearDynamicInputScale<T, Space, Scale>;

  Layer layer;

  explicit QuantizedLinear(Layer quantized) : layer(std::move(quantized)) {}

  std::vector<Parameter> parameters() override {
    std::vector<Parameter> own = {parameter("weight", layer.weight), parameter("dequant_scale", layer.dequant_scale)};
    if (layer.has_bias()) own.push_back(parameter("bias", layer.bias));
    return own;
  }

  std::int64_t out_features(std::int64_t features) const override {
    w8a8::detail::check_features("QuantizedLinear", features, layer.in_features());
    return layer.out_features();
  }

  std::size_t workspace_bytes(std::int64_t tokens, std::int64_t) const override { return layer.forward_workspace_bytes(tokens); }

  void forward(const MatrixView<const T, Space>& input, const MatrixView<T, Space>& output,
               const VectorView<std::byte, Space>& workspace, cudaStream_t stream = nullptr) const override {
    layer.forward(input, output, workspace, {}, stream);
  }
};

/// Replaces the nn::Linear layers of the model, itself included, by INT8 ones; those whose name `keep` accepts stay. One layer is
/// held twice at a time. Returns how many were replaced.
template <class T, class Space>
std::size_t quantize(ModulePtr<T, Space>& model, const std::function<bool(const std::string& name)>& keep = {},
                     const Progress& progress = {}) {
  return replace_linears<T, Space>(
      model, progress, [&](const std::string& name, const Linear<T, Space>& linear) -> ModulePtr<T, Space> {
        if (keep && keep(name)) return nullptr;
        return std::make_unique<QuantizedLinear<T, Space>>(QuantizedLinear<T, Space>::Layer::from_linear(linear));
      });
}

}  // namespace w8a8::nn
