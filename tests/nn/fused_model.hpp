// A model with projections that can be fused, in either space, from the same random weights.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nn/layer_data.hpp"
#include "w8a8/nn/projections.hpp"
#include "w8a8/nn/sequential.hpp"

namespace w8a8_test {

/// Holds its projections as an attention would that keeps the checkpoint's names: q_proj, k_proj, v_proj, o_proj.
template <class T, class Space>
class Attention : public w8a8::nn::Module<T, Space> {
 public:
  using Base = w8a8::nn::Module<T, Space>;

  Attention(Random& random, std::int64_t features, std::int64_t narrow) : width_(features + 2 * narrow) {
    auto qkv = std::make_unique<w8a8::nn::Projections<T, Space>>();
    qkv->append("q_proj", linear_module<T, Space>(random, features, features));
    qkv->append("k_proj", linear_module<T, Space>(random, features, narrow, false));
    qkv->append("v_proj", linear_module<T, Space>(random, features, narrow));
    qkv_ = std::move(qkv);
    o_proj_ = linear_module<T, Space>(random, width_, features, false);
  }

  std::vector<typename Base::Child> children() override { return {{"", qkv_}, {"o_proj", o_proj_}}; }
  std::int64_t out_features(std::int64_t in_features) const override { return in_features; }
  std::size_t workspace_bytes(std::int64_t tokens, std::int64_t in_features) const override {
    return width_bytes(tokens) +
           w8a8::max_of(qkv_->workspace_bytes(tokens, in_features), o_proj_->workspace_bytes(tokens, width_));
  }
  void forward(const w8a8::MatrixView<const T, Space>& x, const w8a8::MatrixView<T, Space>& y,
               const w8a8::VectorView<std::byte, Space>& workspace, cudaStream_t stream) const override {
    const auto used = static_cast<std::int64_t>(width_bytes(x.extent(0)));
    const w8a8::MatrixView<T, Space> wide(reinterpret_cast<T*>(workspace.data()), {x.extent(0), width_});
    const w8a8::VectorView<std::byte, Space> rest(workspace.data() + used, {workspace.size() - used});
    qkv_->forward(x, wide, rest, stream);
    o_proj_->forward(wide, y, rest, stream);
  }

 private:
  std::size_t width_bytes(std::int64_t tokens) const {
    return w8a8::round_up(static_cast<std::size_t>(tokens * width_) * sizeof(T), std::size_t{256});
  }
  std::int64_t width_;
  w8a8::nn::ModulePtr<T, Space> qkv_, o_proj_;
};

/// 64 -> attention -> 40.
template <class T, class Space>
w8a8::nn::ModulePtr<T, Space> attention_model(std::uint64_t seed) {
  Random random(seed);
  auto model = std::make_unique<w8a8::nn::Sequential<T, Space>>();
  model->append(std::make_unique<Attention<T, Space>>(random, 64, 24));
  model->append(linear_module<T, Space>(random, 64, 40));
  return model;
}

}  // namespace w8a8_test
