// The INT8 layers as modules of a model, and the conversion of a whole model to them.
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
#include "w8a8/nn/projections.hpp"
#include "w8a8/nn/tokens.hpp"
#include "w8a8/nn/w8a8_linear.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/tensor/space.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8::nn {

/// Rows of a fused layer that were a linear layer of their own: `rows` of them from `first` on, in blocks of `block_rows`
/// (0: all in one) that start every `pitch_rows`. Where it had no bias and another had, the fused bias is 0 there and stays so.
struct FusedRows {
  std::string name;
  std::int64_t rows, first;
  bool has_bias;
  std::int64_t block_rows = 0, pitch_rows = 0;
};

/// An INT8 layer in a module tree. One that was fused from several keeps their names: its state dict is that of the layers before
/// they were fused, "query.weight" and so on.
template <class LayerType>
class QuantizedLayer : public Module<typename LayerType::params_dtype, typename LayerType::space_type> {
 public:
  using Layer = LayerType;
  using T = typename Layer::params_dtype;
  using Space = typename Layer::space_type;

  Layer layer;
  std::vector<FusedRows> fused;  ///< empty where the layer was one from the start

  explicit QuantizedLayer(Layer quantized, std::vector<FusedRows> rows = {})
      : layer(std::move(quantized)), fused(std::move(rows)) {}

  std::vector<Parameter> parameters() override {
    const std::vector<Parameter> own = layer.parameters();
    if (fused.empty()) return own;
    std::vector<Parameter> all;
    for (const FusedRows& part : fused) {
      for (const Parameter& each : own) {
        if (is_by_row(each) && (part.has_bias || each.name != "bias")) all.push_back(rows_of(each, part));
      }
    }
    for (const Parameter& each : own) {
      if (!is_by_row(each)) all.push_back(each);
    }
    return all;
  }

  void check_parameter(const Parameter& parameter, const void* values) const override {
    layer.check_parameter(parameter, values);
  }

  void parameters_written() override { layer.parameters_written(); }

  std::int64_t out_features(std::int64_t features) const override {
    w8a8::detail::check_features("QuantizedLinear", features, layer.in_features());
    return layer.out_features();
  }

  std::size_t workspace_bytes(std::int64_t tokens, std::int64_t) const override { return layer.forward_workspace_bytes(tokens); }

  void forward(const MatrixView<const T, Space>& input, const MatrixView<T, Space>& output,
               const VectorView<std::byte, Space>& workspace, cudaStream_t stream = nullptr) const override {
    layer.forward(input, output, workspace, {}, stream);
  }

 private:
  static bool is_by_row(const Parameter& parameter) {
    return parameter.name == "weight" || parameter.name == "dequant_scale" || parameter.name == "bias";
  }

  static Parameter rows_of(const Parameter& whole, const FusedRows& part) {
    const std::uint64_t row_bytes = whole.shape[0] == 0 ? 0 : whole.bytes / static_cast<std::uint64_t>(whole.shape[0]);
    const auto bytes = [&](std::int64_t rows) { return static_cast<std::uint64_t>(rows) * row_bytes; };
    Parameter rows = whole;
    rows.name = part.name + "." + whole.name;
    rows.shape[0] = part.rows;
    rows.data = static_cast<std::byte*>(whole.data) + bytes(part.first);
    rows.bytes = bytes(part.rows);
    rows.block_bytes = bytes(part.block_rows);
    rows.block_pitch = bytes(part.pitch_rows);
    return rows;
  }
};

/// W8A8OF16LinearDynamicInputScale in a module tree.
template <class T = half, class Space = Host, class Scale = float>
using QuantizedLinear = QuantizedLayer<W8A8OF16LinearDynamicInputScale<T, Space, Scale>>;

/// Whether quantize() makes one layer of the linear layers that nn::Projections or nn::GatedProjections holds.
enum class Fuse { no, yes };

/// True for the names of layers that a conversion leaves alone; may be empty.
using Keep = std::function<bool(const std::string& name)>;

namespace detail {

/// The children of a module as views, where all of them are nn::Linear of one width that `keep` does not accept; else none.
template <class T, class Space>
std::vector<LinearView<T, Space>> fusible_linears(const std::string& name, Module<T, Space>& module, const Keep& keep,
                                                  std::vector<FusedRows>& rows) {
  std::vector<LinearView<T, Space>> views;
  std::int64_t first = 0;
  for (const auto& child : module.children()) {
    const auto* linear = dynamic_cast<const Linear<T, Space>*>(child.module.get());
    if (linear == nullptr || (keep && keep(joined_name(name, child.name)))) return {};
    if (!views.empty() && linear->in_features() != views.front().in_features()) return {};
    rows.push_back({child.name, linear->out_features(), first, linear->has_bias()});
    first += linear->out_features();
    views.push_back(linear_view(*linear));
  }
  return views;
}

template <class T, class Space>
std::size_t count_linears(ModulePtr<T, Space>& model) {
  std::size_t count = 0;
  visit_modules(model, [&](const std::string&, ModulePtr<T, Space>& module) {
    if (dynamic_cast<const Linear<T, Space>*>(module.get()) != nullptr) ++count;
  });
  return count;
}

/// Puts convert(name, linears, rows) in the place of each nn::Linear (rows empty), and with Fuse::yes of each nn::Projections
/// that can be fused; for these, `name` is the first layer's. gated(fusible) likewise for what is Fusible; null: not fused.
template <class T, class Space, class Convert, class Gated>
std::size_t replace_linears_and_projections(ModulePtr<T, Space>& model, const Keep& keep, const Progress& progress, Fuse fuse,
                                            Convert&& convert, Gated&& gated) {
  const std::size_t total = count_linears(model);
  std::size_t fused = 0;
  if (fuse == Fuse::yes) {
    visit_modules(model, [&](const std::string& name, ModulePtr<T, Space>& module) {
      const auto* fusible = dynamic_cast<const Fusible<T, Space>*>(module.get());
      if (fusible == nullptr && dynamic_cast<const Projections<T, Space>*>(module.get()) == nullptr) return;
      std::vector<FusedRows> rows;
      const auto views = fusible_linears(name, *module, keep, rows);
      if (views.size() < 2) return;
      const std::string first = joined_name(name, rows.front().name);
      ModulePtr<T, Space> converted = fusible != nullptr ? gated(*fusible) : convert(first, views, std::move(rows));
      if (converted == nullptr) return;
      module = std::move(converted);
      fused += views.size();
      if (progress) progress(fused, total, name);
    });
  }
  const Progress rest = [&](std::size_t done, std::size_t, const std::string& name) {
    if (progress) progress(fused + done, total, name);
  };
  return fused + replace_linears<T, Space>(model, rest,
                                           [&](const std::string& name, const Linear<T, Space>& linear) -> ModulePtr<T, Space> {
                                             if (keep && keep(name)) return nullptr;
                                             return convert(name, std::vector{linear_view(linear)}, {});
                                           });
}

}  // namespace detail

/// Replaces the nn::Linear layers of the model, itself included, by INT8 ones; those whose name `keep` accepts stay. With
/// Fuse::yes each nn::Projections and nn::GatedProjections whose modules are all nn::Linear, none of them kept, becomes one
/// layer; its state dict keeps their names. One layer is held twice at a time. Returns how many were replaced.
template <class T, class Space>
std::size_t quantize(ModulePtr<T, Space>& model, const Keep& keep = {}, const Progress& progress = {}, Fuse fuse = Fuse::no) {
  using Quantized = QuantizedLinear<T, Space>;
  return detail::replace_linears_and_projections<T, Space>(
      model, keep, progress, fuse,
      [](const std::string&, const std::vector<LinearView<T, Space>>& linears, std::vector<FusedRows> rows) {
        return std::make_unique<Quantized>(Quantized::Layer::from_linears(linears), std::move(rows));
      },
      [](const Fusible<T, Space>& fusible) { return fusible.quantized(); });
}

}  // namespace w8a8::nn
