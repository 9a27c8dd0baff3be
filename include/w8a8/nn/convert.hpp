// Replacing the linear layers of a model, with progress told to whoever waits.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "w8a8/nn/linear.hpp"
#include "w8a8/nn/module.hpp"

namespace w8a8::nn {

/// Told after each layer: how many are done, of how many, and which one it was. May be empty.
using Progress = std::function<void(std::size_t done, std::size_t total, const std::string& name)>;

/// Puts convert(name, linear) in the place of every nn::Linear of the model, itself included; a null result leaves the layer as
/// it is. Returns how many were replaced.
template <class T, class Space, class Convert>
std::size_t replace_linears(ModulePtr<T, Space>& model, const Progress& progress, Convert&& convert) {
  std::vector<std::pair<std::string, ModulePtr<T, Space>*>> linears;
  visit_modules(model, [&](const std::string& name, ModulePtr<T, Space>& module) {
    if (dynamic_cast<const Linear<T, Space>*>(module.get()) != nullptr) linears.emplace_back(name, &module);
  });
  std::size_t done = 0, replaced = 0;
  for (auto& [name, module] : linears) {
    ModulePtr<T, Space> converted = convert(name, static_cast<const Linear<T, Space>&>(**module));
    if (converted != nullptr) {
      *module = std::move(converted);
      ++replaced;
    }
    if (progress) progress(++done, linears.size(), name);
  }
  return replaced;
}

}  // namespace w8a8::nn
