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

template <class T, class Space>
w8a8::nn::ModulePtr<T, Space> linear_in(Random& random, std::int64_t in, std::int64_t out, bool has_bias = true) {
  const auto host = random_linear<T>(random, in, out, has_bias);
  auto linear = std::make_unique<w8a8::nn::Linear<T, Space>>();
  linear->weight = w8a8::clone_to<Space>(host.weight.view());
  if (has_bias) linear->bias = w8a8::clone_to<Space>(host.bias.view());
  return linear;
}

/// Holds its projections as an attention would that keeps the checkpoint's names: q_proj, k_proj, v_proj, o_proj.
template <class T, class Space>
class Attention : public w8a8::nn::Module<T, Space> {
 public:
  using Base = w8a8::nn::Module<T, Space>;

  Attention(Random& random, std::int64_t features, std::int64_t narrow) : width_(features + 2 * narrow) {
    auto qkv = std::make_unique<w8a8::nn::Projections<T, Space>>();
    qkv->append("q_proj", linear_in<T, Space>(random, features, features));
    qkv->append("k_proj", linear_in<T, Space>(random, features, narrow, false));
    qkv->append("v_proj", linear_in<T, Space>(random, features, narrow));
    qkv_ = std::move(qkv);
    o_proj_ = linear_in<T, Space>(random, width_, features, false);
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
  model->append(linear_in<T, Space>(random, 64, 40));
  return model;
}

/// The model's output for x, which lies on the host.
template <class T, class Space>
Tensor<T, 2, Host> run_model(const w8a8::nn::ModulePtr<T, Space>& model, const Tensor<T, 2, Host>& x) {
  const auto there = w8a8::clone_to<Space>(x.view());
  auto y = w8a8::clone_to<Space>(poisoned<T, 2>({x.extent(0), model->out_features(x.extent(1))}).view());
  Tensor<std::byte, 1, Space> workspace({static_cast<std::int64_t>(model->workspace_bytes(x.extent(0), x.extent(1)))});
  model->forward(there.view(), y.view(), workspace.view(), nullptr);
  return w8a8::clone_to<Host>(y.view());
}

}  // namespace w8a8_test
