// State dicts: the parameters of a model in a safetensors file, under their full names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "w8a8/io/file_error.hpp"
#include "w8a8/io/safetensors.hpp"
#include "w8a8/io/safetensors_writer.hpp"
#include "w8a8/nn/module.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/tensor/tensor_ref.hpp"

namespace w8a8 {

/// Writes all parameters of `model` to `path`, atomically; those in device memory pass through host memory one at a time. Work
/// that still writes them must have finished. Throws FileError as SafetensorsWriter does.
template <class T, class Space>
void save_state_dict(nn::ModulePtr<T, Space>& model, const std::string& path,
                     const std::map<std::string, std::string>& metadata = {}) {
  const std::vector<nn::Parameter> parameters = nn::named_parameters(model);
  std::vector<TensorSpec> specs;
  for (const nn::Parameter& each : parameters) specs.push_back({each.name, each.dtype, each.shape});
  SafetensorsWriter writer(path, std::move(specs), metadata);
  std::vector<std::byte> staging;
  for (const nn::Parameter& each : parameters) {
    const void* data = each.data;
    if (each.on_device || each.block_bytes > 0) {
      staging.resize(static_cast<std::size_t>(each.bytes));
      nn::read_parameter(each, staging.data());
      data = staging.data();
    }
    writer.write(each.name, {each.dtype, each.shape, data, each.bytes});
  }
  writer.commit();
}

/// Fills all parameters of `model` from the file, complete on return: names, dtypes and shapes must agree, and the file may hold
/// no tensor that the model lacks. Throws FileError that names the tensor before any parameter is changed, also for values that a
/// module refuses (nn::Module::check_parameter), an input scale that is not positive, say.
template <class T, class Space>
void load_state_dict(nn::ModulePtr<T, Space>& model, const SafetensorsFile& file) {
  const std::vector<nn::Parameter> parameters = nn::named_parameters(model);
  std::set<std::string> names;
  for (const nn::Parameter& each : parameters) {
    const SafetensorsEntry& entry = file.find(each.name);
    if (entry.dtype != each.dtype) {
      throw FileError(file.path(), each.name, "its dtype is " + detail::quote(entry.dtype) + ", the model's " + each.dtype);
    }
    if (entry.shape != each.shape) {
      throw FileError(file.path(), each.name,
                      "its shape is " + shape_text(entry.shape) + ", the model's " + shape_text(each.shape));
    }
    names.insert(each.name);
  }
  for (const SafetensorsEntry& entry : file.tensors()) {
    if (names.count(entry.name) == 0) throw FileError(file.path(), entry.name, "the model has no such parameter");
  }
  nn::visit_modules(model, [&](const std::string& name, nn::ModulePtr<T, Space>& module) {
    for (const nn::Parameter& each : module->parameters()) {
      const std::string full = nn::detail::joined_name(name, each.name);
      try {
        module->check_parameter(each, file.ref(full).data);
      } catch (const Error& error) {
        throw FileError(file.path(), full, "expected " + error.expected() + ", got " + error.received());
      }
    }
  });
  for (const nn::Parameter& each : parameters) nn::write_parameter(each, file.ref(each.name).data);
  nn::visit_modules(model, [](const std::string&, nn::ModulePtr<T, Space>& module) { module->parameters_written(); });
}

}  // namespace w8a8
