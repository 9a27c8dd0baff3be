// A model as a tree: modules with named children, found by names such as checkpoints use, "encoder.layers.0.mlp.fc1".
#pragma once

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/tensor/space.hpp"
#include "w8a8/tensor/tensor.hpp"
#include "w8a8/tensor/tensor_ref.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8::nn {

/// A parameter of a module, in host or device memory, that a state dict reads and writes: elements that are dense, or lie in
/// blocks of equal size with equal gaps, as the rows of a gate projection do that are interleaved with another's.
struct Parameter {
  std::string name;
  std::string dtype;                ///< "F32", "F16", "BF16" or "I8"
  std::vector<std::int64_t> shape;  ///< sizes >= 0
  void* data = nullptr;
  std::uint64_t bytes = 0;  ///< of the elements, gaps not among them
  bool on_device = false;
  std::uint64_t block_bytes = 0;  ///< 0: dense; else a divisor of `bytes`
  std::uint64_t block_pitch = 0;  ///< bytes from a block's start to the next one's
};

/// The elements of `tensor` as a parameter.
template <class T, int Rank, class Space>
Parameter parameter(const std::string& name, Tensor<T, Rank, Space>& tensor) {
  const auto& shape = tensor.shape();
  return {name,
          dtype_name<T>(),
          {shape.begin(), shape.end()},
          tensor.data(),
          static_cast<std::uint64_t>(tensor.bytes()),
          std::is_same_v<Space, Device>};
}

namespace detail {

/// Between a parameter's elements and dense host memory, whichever way. Done on return.
inline void copy_blocks(const Parameter& parameter, void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                        cudaMemcpyKind kind) {
  if (parameter.bytes == 0) return;
  const bool dense = parameter.block_bytes == 0;
  const auto width = static_cast<std::size_t>(dense ? parameter.bytes : parameter.block_bytes);
  const auto blocks = static_cast<std::size_t>(parameter.bytes) / width;
  if (parameter.on_device) {
    check_cuda(dense ? cudaMemcpy(to, from, width, kind) : cudaMemcpy2D(to, to_pitch, from, from_pitch, width, blocks, kind),
               "cudaMemcpy");
    return;
  }
  for (std::size_t b = 0; b < blocks; ++b)
    std::memcpy(static_cast<std::byte*>(to) + b * to_pitch, static_cast<const std::byte*>(from) + b * from_pitch, width);
}

}  // namespace detail

/// The elements of a parameter into `to`: parameter.bytes bytes of host memory. Done on return; CudaError where a copy fails.
inline void read_parameter(const Parameter& parameter, void* to) {
  detail::copy_blocks(parameter, to, static_cast<std::size_t>(parameter.block_bytes), parameter.data,
                      static_cast<std::size_t>(parameter.block_pitch), cudaMemcpyDeviceToHost);
}

/// Fills a parameter from parameter.bytes bytes of host memory. Done on return; CudaError where a copy fails.
inline void write_parameter(const Parameter& parameter, const void* from) {
  detail::copy_blocks(parameter, parameter.data, static_cast<std::size_t>(parameter.block_pitch), from,
                      static_cast<std::size_t>(parameter.block_bytes), cudaMemcpyHostToDevice);
}

/// Throws Error that names the parameter where one of its values is not positive and finite. values: as check_parameter() of
/// Module takes them, floats.
inline void check_positive(const Parameter& parameter, const void* values) {
  for (std::uint64_t offset = 0; offset + sizeof(float) <= parameter.bytes; offset += sizeof(float)) {
    float value = 0.0f;
    std::memcpy(&value, static_cast<const std::byte*>(values) + offset, sizeof value);
    if (!(value > 0.0f) || std::isinf(value)) {
      throw Error("check_parameter", parameter.name, "positive, finite numbers",
                  text(value, " at index ", offset / sizeof(float)));
    }
  }
}

/// A node of a model whose activations are of type T in `Space`. A module of one's own derives from this, holds its parts as
/// ModulePtr members and lists them in children(); conversions then find and replace them.
template <class T = half, class Space = Host>
class Module {
  static_assert(is_floating_v<T>, "Module: activations are float, half or bfloat16");

 public:
  using value_type = T;
  using space_type = Space;

  /// A child: its name, and the member that owns it, which a conversion may fill anew. A name may have dots ("output.dense"). A
  /// child named "" is no level of its own: what is below it goes by its parent's name.
  struct Child {
    std::string name;
    std::unique_ptr<Module>& module;
  };

  virtual ~Module() = default;

  /// The modules this one is made of, in the order of their use. None may be null.
  virtual std::vector<Child> children() { return {}; }

  /// This module's own parameters, its children's not among them.
  virtual std::vector<Parameter> parameters() { return {}; }

  /// Throws Error where values that one of parameters() is to be filled with cannot be right. values: parameter.bytes bytes of
  /// host memory, dense, at any alignment. What fills several parameters asks this for all of them before it writes the first.
  virtual void check_parameter(const Parameter& parameter, const void* values) const {
    static_cast<void>(parameter);
    static_cast<void>(values);
  }

  /// Called when parameters() have been written from outside, by a state dict, say: what was computed from them is to be computed
  /// anew.
  virtual void parameters_written() {}

  /// How many features a token has after this module, where it has `in_features` before.
  /// Throws Error where the module takes no such tokens.
  virtual std::int64_t out_features(std::int64_t in_features) const = 0;

  /// Scratch bytes of forward() for that many tokens of `in_features`.
  virtual std::size_t workspace_bytes(std::int64_t tokens, std::int64_t in_features) const = 0;

  /// output = module(input). input: tokens x in_features; output: tokens x out_features(in_features), not overlapping the input;
  /// workspace: at least workspace_bytes() at a multiple of 16. Enqueued on `stream`; done on return for the space Host.
  virtual void forward(const MatrixView<const T, Space>& input, const MatrixView<T, Space>& output,
                       const VectorView<std::byte, Space>& workspace, cudaStream_t stream) const = 0;

 protected:
  Module() = default;
  Module(Module&&) = default;
  Module& operator=(Module&&) = default;
};

template <class T = half, class Space = Host>
using ModulePtr = std::unique_ptr<Module<T, Space>>;

namespace detail {

inline std::string joined_name(const std::string& parent, const std::string& child) {
  return parent.empty() || child.empty() ? parent + child : parent + "." + child;
}

template <class T, class Space, class F>
void visit(const std::string& name, ModulePtr<T, Space>& module, F& f) {
  if (module == nullptr) throw Error("visit_modules", "model", "no null child", text("null for '", name, "'"));
  f(name, module);
  for (const auto& child : module->children()) visit(joined_name(name, child.name), child.module, f);
}

}  // namespace detail

/// Calls f(name, pointer) for `model` (its name is "") and each module below it, parents first. f may put another module into the
/// pointer: what is then visited further down is that module's children.
template <class T, class Space, class F>
void visit_modules(ModulePtr<T, Space>& model, F&& f) {
  detail::visit<T, Space>("", model, f);
}

/// The module of that name below `model`; of several (a child named "" shares its parent's) the topmost. Throws Error where there
/// is none.
template <class T, class Space>
ModulePtr<T, Space>& find_module(ModulePtr<T, Space>& model, const std::string& name) {
  ModulePtr<T, Space>* found = nullptr;
  visit_modules(model, [&](const std::string& each, ModulePtr<T, Space>& module) {
    if (found == nullptr && each == name) found = &module;
  });
  if (found == nullptr) throw Error("find_module", "name", "the name of a module of the model", text("'", name, "'"));
  return *found;
}

/// All parameters below `model` under their full names, "encoder.layers.0.mlp.fc1.weight".
template <class T, class Space>
std::vector<Parameter> named_parameters(ModulePtr<T, Space>& model) {
  std::vector<Parameter> all;
  visit_modules(model, [&](const std::string& name, ModulePtr<T, Space>& module) {
    for (Parameter each : module->parameters()) {
      each.name = detail::joined_name(name, each.name);
      all.push_back(std::move(each));
    }
  });
  return all;
}

}  // namespace w8a8::nn
