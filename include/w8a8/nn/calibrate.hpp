// SmoothQuant for a model in memory (Xiao et al., arXiv:2211.10438): what its linear layers see is recorded, and outliers are
// moved from the inputs into the weights. For models on the GPU include w8a8/nn/asymmetric_linear.cuh, too.
#pragma once

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "w8a8/nn/asymmetric_linear.hpp"
#include "w8a8/nn/convert.hpp"
#include "w8a8/nn/linear.hpp"
#include "w8a8/nn/module.hpp"
#include "w8a8/nn/projections.hpp"
#include "w8a8/nn/quantize_linear.hpp"
#include "w8a8/nn/quantized_linear.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/tensor/space.hpp"
#include "w8a8/tensor/tensor.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8::nn {

/// For each linear layer, by name, the largest magnitude that each of its input channels took.
using ChannelMaxima = std::map<std::string, std::vector<float>>;

namespace detail {

/// Stands in a linear layer's place, looks at its input, and lets it do its work.
template <class T, class Space>
class Observer : public Module<T, Space> {
 public:
  Observer(ModulePtr<T, Space> linear, std::vector<float>& maxima) : linear_(std::move(linear)), maxima_(maxima) {}

  ModulePtr<T, Space> release() { return std::move(linear_); }

  std::int64_t out_features(std::int64_t in_features) const override { return linear_->out_features(in_features); }
  std::size_t workspace_bytes(std::int64_t tokens, std::int64_t in_features) const override {
    return linear_->workspace_bytes(tokens, in_features);
  }
  void forward(const MatrixView<const T, Space>& input, const MatrixView<T, Space>& output,
               const VectorView<std::byte, Space>& workspace, cudaStream_t stream) const override {
    if constexpr (std::is_same_v<Space, Host>) {
      look_at(input);
    } else if (input.is_dense()) {
      look_at(clone_to<Host>(input, stream).view());
    } else {
      for (std::int64_t m = 0; m < input.extent(0); ++m) {
        const MatrixView<const T, Space> row(input.data() + m * input.stride(0), {1, input.extent(1)});
        look_at(clone_to<Host>(row, stream).view());
      }
    }
    linear_->forward(input, output, workspace, stream);
  }

 private:
  void look_at(const MatrixView<const T, Host>& rows) const {
    maxima_.resize(static_cast<std::size_t>(rows.extent(1)));
    for (std::int64_t m = 0; m < rows.extent(0); ++m) {
      for (std::int64_t k = 0; k < rows.extent(1); ++k) {
        float& most = maxima_[static_cast<std::size_t>(k)];
        most = max_of(most, std::fabs(to_float(rows(m, k))));
      }
    }
  }

  ModulePtr<T, Space> linear_;
  std::vector<float>& maxima_;
};

/// 1 / s with s[k] = most[k]^alpha / weight[k]^(1 - alpha), equation 4 of the paper; weight[k]: the largest magnitude in column k
/// of the layers' weights. A channel that never spoke up, or that no weight reads, counts as a thousandth of the loudest.
template <class T, class Space>
std::vector<float> smoothing_factors(const std::vector<LinearView<T, Space>>& linears, const std::vector<float>& most,
                                     float alpha) {
  std::vector<float> weight(most.size(), 0.0f);
  for (const LinearView<T, Space>& linear : linears) {
    w8a8::detail::with_view_in<Host>(linear.weight, [&](const MatrixView<const T, Host>& rows) {
      for (std::int64_t n = 0; n < rows.extent(0); ++n) {
        for (std::size_t k = 0; k < weight.size(); ++k)
          weight[k] = max_of(weight[k], std::fabs(to_float(rows(n, static_cast<std::int64_t>(k)))));
      }
    });
  }
  const auto floor_of = [](const std::vector<float>& all) {
    float largest = 0.0f;
    for (const float each : all) largest = max_of(largest, each);
    return largest > 0.0f ? 1e-3f * largest : 1.0f;
  };
  const float input_floor = floor_of(most), weight_floor = floor_of(weight);
  std::vector<float> factor(most.size());
  for (std::size_t k = 0; k < factor.size(); ++k)
    factor[k] = std::pow(max_of(weight[k], weight_floor), 1.0f - alpha) / std::pow(max_of(most[k], input_floor), alpha);
  return factor;
}

}  // namespace detail

/// What the linear layers of `model` see while run() runs it, on inputs like those it is for; the model is then as it was. Each
/// layer of a model on the GPU waits for its input, so run() cannot be captured in a graph.
template <class T, class Space, class Run>
ChannelMaxima channel_maxima(ModulePtr<T, Space>& model, Run&& run) {
  ChannelMaxima maxima;
  std::vector<ModulePtr<T, Space>*> places;
  visit_modules(model, [&](const std::string& name, ModulePtr<T, Space>& module) {
    if (dynamic_cast<const Linear<T, Space>*>(module.get()) == nullptr) return;
    module = std::make_unique<detail::Observer<T, Space>>(std::move(module), maxima[name]);
    places.push_back(&module);
  });
  const auto put_back = [&] {
    for (ModulePtr<T, Space>* place : places) *place = static_cast<detail::Observer<T, Space>&>(**place).release();
  };
  try {
    run();
  } catch (...) {
    put_back();
    throw;
  }
  put_back();
  return maxima;
}

/// How quantize_smoothed() converts.
struct SmoothOptions {
  float alpha = 0.5f;  ///< 0: inputs stay as they are; 1: all their range moves into the weights
  Keep keep = {};
  Progress progress = {};
};

/// quantize() for models whose activations have outliers: W8A8OF16LinearAsymmetricInput for each nn::Linear of the model, with
/// the factors that `maxima` (channel_maxima()) give; a layer that they do not name has none. nn::Projections whose modules are
/// all nn::Linear, none of them kept, become one layer, since they share their input; nn::GatedProjections stay two. Returns how
/// many were replaced.
template <class T, class Space>
std::size_t quantize_smoothed(ModulePtr<T, Space>& model, const ChannelMaxima& maxima, const SmoothOptions& options = {}) {
  using Quantized = QuantizedLayer<W8A8OF16LinearAsymmetricInput<T, Space>>;
  if (!(options.alpha >= 0.0f && options.alpha <= 1.0f)) {
    throw Error("quantize_smoothed", "options.alpha", "0 to 1", text(options.alpha));
  }
  const auto convert = [&](const std::string& name, const std::vector<LinearView<T, Space>>& linears) {
    const auto found = maxima.find(name);
    std::vector<float> factor;
    if (found != maxima.end() && options.alpha > 0.0f) {
      if (static_cast<std::int64_t>(found->second.size()) != linears.front().in_features()) {
        throw Error("quantize_smoothed", "maxima", text(linears.front().in_features(), " channels for '", name, "'"),
                    text(found->second.size()));
      }
      factor = detail::smoothing_factors(linears, found->second, options.alpha);
    }
    return Quantized::Layer::from_linears(
        linears, VectorView<const float, Host>(factor.data(), {static_cast<std::int64_t>(factor.size())}));
  };
  return detail::replace_linears_and_projections<T, Space>(
      model, options.keep, options.progress, Fuse::yes,
      [&](const std::string& name, const std::vector<LinearView<T, Space>>& linears, std::vector<FusedRows> rows) {
        return std::make_unique<Quantized>(convert(name, linears), std::move(rows));
      },
      [](const Fusible<T, Space>&) { return ModulePtr<T, Space>(); });
}

}  // namespace w8a8::nn
