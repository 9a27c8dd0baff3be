// A BERT encoder as a tree of modules, with the names of its checkpoints. Runs on the CPU, one text at a time.
#pragma once

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "w8a8/io/safetensors.hpp"
#include "w8a8/math/activation.hpp"
#include "w8a8/nn/linear.hpp"
#include "w8a8/nn/module.hpp"
#include "w8a8/nn/projections.hpp"
#include "w8a8/support/parallel.hpp"
#include "w8a8/tensor/tensor.hpp"

namespace bert {

using w8a8::from_float;
using w8a8::Host;
using w8a8::Tensor;
using w8a8::to_float;
namespace nn = w8a8::nn;

template <class T>
using Matrix = w8a8::MatrixView<T, Host>;
using Bytes = w8a8::VectorView<std::byte, Host>;

struct Config {
  std::int64_t hidden = 384, heads = 12, intermediate = 1536, layers = 6, vocabulary = 30522, positions = 512, types = 2;
  float epsilon = 1e-12f;
};

/// Hands out the parts of a workspace.
class Arena {
 public:
  explicit Arena(Bytes bytes) : rest(bytes) {}

  template <class T>
  Matrix<T> matrix(std::int64_t rows, std::int64_t columns) {
    const auto size = static_cast<std::int64_t>(bytes<T>(rows, columns));
    const Matrix<T> taken(reinterpret_cast<T*>(rest.data()), {rows, columns});
    rest = Bytes(rest.data() + size, {rest.size() - size});
    return taken;
  }

  template <class T>
  static std::size_t bytes(std::int64_t rows, std::int64_t columns) {
    return w8a8::round_up(static_cast<std::size_t>(rows * columns) * sizeof(T), std::size_t{256});
  }

  Bytes rest;
};

/// Layer normalisation of each row.
template <class T>
class LayerNorm : public nn::Module<T, Host> {
 public:
  LayerNorm(std::int64_t features, float epsilon) : weight_({features}), bias_({features}), epsilon_(epsilon) {}

  std::vector<nn::Parameter> parameters() override { return {nn::parameter("weight", weight_), nn::parameter("bias", bias_)}; }
  std::int64_t out_features(std::int64_t in_features) const override { return in_features; }
  std::size_t workspace_bytes(std::int64_t, std::int64_t) const override { return 0; }

  void forward(const Matrix<const T>& x, const Matrix<T>& y, const Bytes& = {}, cudaStream_t = nullptr) const override {
    const std::int64_t features = x.extent(1);
    for (std::int64_t m = 0; m < x.extent(0); ++m) {
      double sum = 0.0, squares = 0.0;
      for (std::int64_t k = 0; k < features; ++k) sum += to_float(x(m, k));
      const double mean = sum / static_cast<double>(features);
      for (std::int64_t k = 0; k < features; ++k) squares += (to_float(x(m, k)) - mean) * (to_float(x(m, k)) - mean);
      const double scale = 1.0 / std::sqrt(squares / static_cast<double>(features) + epsilon_);
      for (std::int64_t k = 0; k < features; ++k)
        y(m, k) = from_float<T>(static_cast<float>((to_float(x(m, k)) - mean) * scale) * weight_(k) + bias_(k));
    }
  }

 private:
  Tensor<float, 1, Host> weight_, bias_;
  float epsilon_;
};

/// y += x.
template <class T>
void add_to(const Matrix<const T>& x, const Matrix<T>& y) {
  for (std::int64_t m = 0; m < x.extent(0); ++m) {
    for (std::int64_t k = 0; k < x.extent(1); ++k) y(m, k) = from_float<T>(to_float(x(m, k)) + to_float(y(m, k)));
  }
}

/// Word embeddings in, embeddings with position and type out, normalised.
template <class T>
class Embeddings : public nn::Module<T, Host> {
 public:
  explicit Embeddings(const Config& config)
      : words_({config.vocabulary, config.hidden}),
        positions_({config.positions, config.hidden}),
        types_({config.types, config.hidden}),
        norm_(std::make_unique<LayerNorm<T>>(config.hidden, config.epsilon)) {}

  std::vector<typename nn::Module<T, Host>::Child> children() override { return {{"LayerNorm", norm_}}; }
  std::vector<nn::Parameter> parameters() override {
    return {nn::parameter("word_embeddings.weight", words_), nn::parameter("position_embeddings.weight", positions_),
            nn::parameter("token_type_embeddings.weight", types_)};
  }
  std::int64_t out_features(std::int64_t in_features) const override { return in_features; }
  std::size_t workspace_bytes(std::int64_t tokens, std::int64_t features) const override {
    return Arena::bytes<T>(tokens, features);
  }

  void look_up(const std::vector<std::int64_t>& ids, const Matrix<T>& words) const {
    for (std::int64_t m = 0; m < words.extent(0); ++m) {
      for (std::int64_t k = 0; k < words.extent(1); ++k) words(m, k) = words_(ids[static_cast<std::size_t>(m)], k);
    }
  }

  void forward(const Matrix<const T>& x, const Matrix<T>& y, const Bytes& workspace, cudaStream_t stream) const override {
    Arena arena(workspace);
    const auto sum = arena.matrix<T>(x.extent(0), x.extent(1));
    for (std::int64_t m = 0; m < x.extent(0); ++m) {
      for (std::int64_t k = 0; k < x.extent(1); ++k)
        sum(m, k) = from_float<T>(to_float(x(m, k)) + to_float(positions_(m, k)) + to_float(types_(0, k)));
    }
    norm_->forward(sum, y, {}, stream);
  }

 private:
  Tensor<T, 2, Host> words_, positions_, types_;
  nn::ModulePtr<T, Host> norm_;
};

/// Self-attention and MLP, each with its residual and the normalisation behind it.
template <class T>
class EncoderLayer : public nn::Module<T, Host> {
 public:
  explicit EncoderLayer(const Config& config) : config_(config) {
    const std::int64_t hidden = config.hidden, wide = config.intermediate;
    auto qkv = std::make_unique<nn::Projections<T, Host>>();
    for (const char* name : {"query", "key", "value"}) qkv->append(name, linear(hidden, hidden));
    qkv_ = std::move(qkv);
    attention_ = linear(hidden, hidden);
    attention_norm_ = std::make_unique<LayerNorm<T>>(hidden, config.epsilon);
    up_ = linear(hidden, wide);
    down_ = linear(wide, hidden);
    norm_ = std::make_unique<LayerNorm<T>>(hidden, config.epsilon);
  }

  std::vector<typename nn::Module<T, Host>::Child> children() override {
    return {{"attention.self", qkv_},
            {"attention.output.dense", attention_},
            {"attention.output.LayerNorm", attention_norm_},
            {"intermediate.dense", up_},
            {"output.dense", down_},
            {"output.LayerNorm", norm_}};
  }
  std::int64_t out_features(std::int64_t in_features) const override { return in_features; }

  std::size_t workspace_bytes(std::int64_t m, std::int64_t) const override {
    const std::int64_t hidden = config_.hidden, wide = config_.intermediate;
    std::size_t most = 0;
    for (const auto* module : {&qkv_, &attention_, &up_}) most = w8a8::max_of(most, (*module)->workspace_bytes(m, hidden));
    most = w8a8::max_of(most, down_->workspace_bytes(m, wide));
    return Arena::bytes<T>(m, 3 * hidden) + 2 * Arena::bytes<T>(m, hidden) + Arena::bytes<T>(m, wide) + most;
  }

  void forward(const Matrix<const T>& x, const Matrix<T>& y, const Bytes& workspace, cudaStream_t stream) const override {
    const std::int64_t m = x.extent(0), hidden = config_.hidden;
    Arena arena(workspace);
    const auto qkv = arena.matrix<T>(m, 3 * hidden);
    const auto context = arena.matrix<T>(m, hidden), attended = arena.matrix<T>(m, hidden);
    const auto wide = arena.matrix<T>(m, config_.intermediate);

    qkv_->forward(x, qkv, arena.rest, stream);
    attend(qkv, context);
    attention_->forward(context, attended, arena.rest, stream);
    add_to<T>(x, attended);
    attention_norm_->forward(attended, context, {}, stream);

    up_->forward(context, wide, arena.rest, stream);
    for (std::int64_t i = 0; i < wide.size(); ++i) wide.data()[i] = from_float<T>(w8a8::gelu_erf(to_float(wide.data()[i])));
    down_->forward(wide, attended, arena.rest, stream);
    add_to<T>(context, attended);
    norm_->forward(attended, y, {}, stream);
  }

 private:
  static nn::ModulePtr<T, Host> linear(std::int64_t in, std::int64_t out) {
    return std::make_unique<nn::Linear<T, Host>>(in, out);
  }

  /// context = softmax(q k^T / sqrt(d)) v, head by head. qkv: tokens x 3 hidden.
  void attend(const Matrix<const T>& qkv, const Matrix<T>& context) const {
    const std::int64_t m = qkv.extent(0), hidden = config_.hidden, d = hidden / config_.heads;
    const float scale = 1.0f / std::sqrt(static_cast<float>(d));
    w8a8::parallel_for(config_.heads, 0, [&](std::int64_t head) {
      const std::int64_t q = head * d, k = hidden + q, v = hidden + k;
      std::vector<float> weight(static_cast<std::size_t>(m)), sum(static_cast<std::size_t>(d));
      for (std::int64_t i = 0; i < m; ++i) {
        float most = -INFINITY, total = 0.0f;
        for (std::int64_t j = 0; j < m; ++j) {
          float dot = 0.0f;
          for (std::int64_t c = 0; c < d; ++c) dot += to_float(qkv(i, q + c)) * to_float(qkv(j, k + c));
          weight[static_cast<std::size_t>(j)] = dot * scale;
          most = w8a8::max_of(most, dot * scale);
        }
        for (float& each : weight) total += each = std::exp(each - most);
        sum.assign(sum.size(), 0.0f);
        for (std::int64_t j = 0; j < m; ++j) {
          for (std::int64_t c = 0; c < d; ++c)
            sum[static_cast<std::size_t>(c)] += weight[static_cast<std::size_t>(j)] * to_float(qkv(j, v + c));
        }
        for (std::int64_t c = 0; c < d; ++c) context(i, q + c) = from_float<T>(sum[static_cast<std::size_t>(c)] / total);
      }
    });
  }

  Config config_;
  nn::ModulePtr<T, Host> qkv_, attention_, attention_norm_, up_, down_, norm_;
};

/// Embeddings, then the layers: word embeddings in, a vector a token out.
template <class T>
class Model : public nn::Module<T, Host> {
 public:
  explicit Model(const Config& config) : embeddings_(std::make_unique<Embeddings<T>>(config)) {
    for (std::int64_t i = 0; i < config.layers; ++i) layers_.push_back(std::make_unique<EncoderLayer<T>>(config));
  }

  std::vector<typename nn::Module<T, Host>::Child> children() override {
    std::vector<typename nn::Module<T, Host>::Child> all = {{"embeddings", embeddings_}};
    for (std::size_t i = 0; i < layers_.size(); ++i) all.push_back({"encoder.layer." + std::to_string(i), layers_[i]});
    return all;
  }
  std::int64_t out_features(std::int64_t in_features) const override { return in_features; }
  std::size_t workspace_bytes(std::int64_t m, std::int64_t features) const override {
    std::size_t most = embeddings_->workspace_bytes(m, features);
    for (const auto& layer : layers_) most = w8a8::max_of(most, layer->workspace_bytes(m, features));
    return Arena::bytes<T>(m, features) + most;
  }

  const Embeddings<T>& embeddings() const { return static_cast<const Embeddings<T>&>(*embeddings_); }

  void forward(const Matrix<const T>& words, const Matrix<T>& y, const Bytes& workspace, cudaStream_t stream) const override {
    Arena arena(workspace);
    const auto other = arena.matrix<T>(y.extent(0), y.extent(1));
    // The layers go back and forth between two buffers, and the last one ends in y.
    Matrix<T> from = layers_.size() % 2 == 0 ? y : other, to = layers_.size() % 2 == 0 ? other : y;
    embeddings_->forward(words, from, arena.rest, stream);
    for (const auto& layer : layers_) {
      layer->forward(from, to, arena.rest, stream);
      std::swap(from, to);
    }
  }

 private:
  nn::ModulePtr<T, Host> embeddings_;
  std::vector<nn::ModulePtr<T, Host>> layers_;
};

/// A model with the parameters of the checkpoint, rounded to what the model keeps. Throws FileError where one is missing or has
/// another shape; what the checkpoint holds beyond the encoder (a pooler) is left.
template <class T>
nn::ModulePtr<T, Host> load(const Config& config, const w8a8::SafetensorsFile& file) {
  nn::ModulePtr<T, Host> model = std::make_unique<Model<T>>(config);
  for (const nn::Parameter& each : nn::named_parameters(model)) {
    if (file.find(each.name).shape != each.shape) {
      throw w8a8::FileError(file.path(), each.name, "its shape is not the model's, " + w8a8::shape_text(each.shape));
    }
    const auto fill = [&](const auto& tensor) { nn::write_parameter(each, tensor.data()); };
    if (each.dtype == "F32") {
      each.shape.size() == 1 ? fill(file.load_as<float, 1>(each.name)) : fill(file.load_as<float, 2>(each.name));
    } else {
      each.shape.size() == 1 ? fill(file.load_as<T, 1>(each.name)) : fill(file.load_as<T, 2>(each.name));
    }
  }
  return model;
}

/// The mean of the tokens' vectors, of length 1: the sentence embedding.
template <class T>
std::vector<double> embed(const nn::ModulePtr<T, Host>& model, const std::vector<std::int64_t>& ids, std::int64_t hidden) {
  const auto m = static_cast<std::int64_t>(ids.size());
  Tensor<T, 2, Host> words({m, hidden}), y({m, hidden});
  Tensor<std::byte, 1, Host> workspace({static_cast<std::int64_t>(model->workspace_bytes(m, hidden))});
  static_cast<const Model<T>&>(*model).embeddings().look_up(ids, words.view());
  model->forward(words.view(), y.view(), workspace.view(), nullptr);
  std::vector<double> mean(static_cast<std::size_t>(hidden));
  double squares = 0.0;
  for (std::int64_t k = 0; k < hidden; ++k) {
    for (std::int64_t i = 0; i < m; ++i) mean[static_cast<std::size_t>(k)] += to_float(y(i, k));
    squares += mean[static_cast<std::size_t>(k)] * mean[static_cast<std::size_t>(k)];
  }
  for (double& each : mean) each /= std::sqrt(squares);
  return mean;
}

}  // namespace bert
