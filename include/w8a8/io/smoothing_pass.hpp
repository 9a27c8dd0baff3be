// SmoothQuant over a checkpoint: what the conversion multiplies its weights with, and what becomes of the norms.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "w8a8/io/checkpoint.hpp"
#include "w8a8/io/file_error.hpp"
#include "w8a8/io/row_blocks.hpp"
#include "w8a8/io/smoothing.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/tensor/tensor.hpp"
#include "w8a8/tensor/tensor_ref.hpp"

namespace w8a8::detail {

/// The factors of each linear layer's input channels, and the norms' new parameters.
class SmoothingPass {
 public:
  /// maxima: a safetensors file with the largest |x| of each input channel, a vector under the name of a norm or of a linear
  /// module behind it. Throws Error for alpha, FileError for a group that the checkpoint's or the file's tensors do not fit. The
  /// checkpoint must stay where it is.
  SmoothingPass(const Checkpoint& checkpoint, const std::string& maxima, std::vector<SmoothingGroup> groups, float alpha,
                int threads)
      : checkpoint_(&checkpoint), maxima_(maxima), groups_(std::move(groups)), alpha_(alpha), threads_(threads) {
    smoothing_factors({}, {}, alpha);  // checks alpha
    for (const SmoothingGroup& group : groups_) check(group);
  }

  const std::vector<SmoothingGroup>& groups() const { return groups_; }

  /// Reads the weights and computes what changes.
  void compute() {
    factors_.clear();
    for (const SmoothingGroup& group : groups_) {
      const std::string norm = group.norm + ".weight", bias = group.norm + ".bias";
      const SafetensorsEntry& entry = checkpoint_->find(norm);
      const std::vector<float> activations = activation_maxima_of(group, entry.shape[0]);
      std::vector<float> weights(activations.size(), 0.0f);
      for (const std::string& linear : group.linears) {
        const SafetensorsEntry& matrix = checkpoint_->find(linear + ".weight");
        const std::int64_t columns = matrix.shape[1];
        if (columns == 0) continue;
        for_each_row_block(checkpoint_->shard(linear + ".weight"), matrix, {}, threads_,
                           [&](std::int64_t, std::int64_t count, const float* weight) {
                             for (std::int64_t i = 0; i < count; ++i) {
                               for (std::int64_t k = 0; k < columns; ++k) {
                                 float& largest = weights[static_cast<std::size_t>(k)];
                                 largest = max_of(largest, std::fabs(weight[i * columns + k]));
                               }
                             }
                           });
        group_of_[linear] = factors_.size();
      }
      std::vector<float> factors = smoothing_factors(activations, weights, alpha_);
      replace_vector(norm, [&](auto* weight) { divide_norm(weight, group.offset, factors); });
      if (checkpoint_->contains(bias)) {
        replace_vector(bias, [&](auto* value) {
          using T = std::remove_pointer_t<decltype(value)>;
          for (std::size_t k = 0; k < factors.size(); ++k) value[k] = from_float<T>(divide(to_float(value[k]), factors[k]));
        });
      }
      factors_.push_back(std::move(factors));
    }
  }

  /// What the columns of a linear layer's weight are multiplied with; empty: nothing.
  const std::vector<float>& factors_of(const std::string& module) const {
    static const std::vector<float> none;
    const auto found = group_of_.find(module);
    return found == group_of_.end() ? none : factors_[found->second];
  }

  /// The new bytes of a norm's parameter, or null where the tensor is none.
  const std::vector<std::byte>* replacement(const std::string& tensor) const {
    const auto found = vectors_.find(tensor);
    return found == vectors_.end() ? nullptr : &found->second;
  }

 private:
  /// Everything about a group that can be wrong.
  void check(const SmoothingGroup& group) const {
    const std::string norm = group.norm + ".weight";
    const SafetensorsEntry& entry = checkpoint_->find(norm);
    if (entry.shape.size() != 1 || !is_floating_dtype(entry.dtype)) {
      throw FileError(checkpoint_->shard(norm).path(), norm,
                      "is no norm's weight: " + entry.dtype + " of shape " + shape_text(entry.shape));
    }
    const std::string bias = group.norm + ".bias";
    if (checkpoint_->contains(bias) &&
        (checkpoint_->find(bias).shape != entry.shape || !is_floating_dtype(checkpoint_->find(bias).dtype))) {
      throw FileError(checkpoint_->shard(bias).path(), bias, "does not fit the norm's weight");
    }
    for (const std::string& linear : group.linears) {
      const std::string weight = linear + ".weight";
      const SafetensorsEntry& matrix = checkpoint_->find(weight);
      if (matrix.shape.size() != 2 || matrix.shape[1] != entry.shape[0] || !is_floating_dtype(matrix.dtype)) {
        throw FileError(checkpoint_->shard(weight).path(), weight,
                        text("is ", matrix.dtype, " of shape ", shape_text(matrix.shape), ", and its norm has ", entry.shape[0],
                             " channels"));
      }
    }
    activation_maxima_of(group, entry.shape[0]);
  }

  /// The largest magnitude of each channel: what the file says under the norm's name or any of the linear modules'.
  std::vector<float> activation_maxima_of(const SmoothingGroup& group, std::int64_t channels) const {
    std::vector<std::string> names = group.linears;
    names.push_back(group.norm);
    std::vector<float> largest;
    for (const std::string& name : names) {
      if (!maxima_.contains(name)) continue;
      const Tensor<float, 1, Host> found = maxima_.load_as<float, 1>(name);
      if (found.extent(0) != channels) {
        throw FileError(maxima_.shard(name).path(), name, text("its length is ", found.extent(0), ", expected ", channels));
      }
      largest.resize(static_cast<std::size_t>(channels), 0.0f);
      for (std::int64_t k = 0; k < channels; ++k) {
        if (!(found(k) >= 0.0f) || std::isinf(found(k))) {
          throw FileError(maxima_.shard(name).path(), name,
                          text("holds ", found(k), " for channel ", k, ", expected a finite maximum >= 0"));
        }
        largest[static_cast<std::size_t>(k)] = max_of(largest[static_cast<std::size_t>(k)], found(k));
      }
    }
    if (largest.empty()) {
      throw FileError(maxima_.path(), group.norm,
                      "has no maxima, nor has a linear module behind it, such as " + quote(group.linears[0]));
    }
    return largest;
  }

  /// Keeps new elements of a vector for when it is written: a copy of the old ones, changed by f.
  template <class F>
  void replace_vector(const std::string& name, F&& f) {
    const SafetensorsEntry& entry = checkpoint_->find(name);
    with_dtype(entry.dtype, [&](auto zero) {
      using T = decltype(zero);
      Tensor<T, 1, Host> vector = checkpoint_->load<T, 1>(name);
      f(vector.data());
      const auto* bytes = reinterpret_cast<const std::byte*>(vector.data());
      vectors_[name] = std::vector<std::byte>(bytes, bytes + vector.bytes());
    });
  }

  const Checkpoint* checkpoint_;
  Checkpoint maxima_;
  std::vector<SmoothingGroup> groups_;
  float alpha_;
  int threads_;
  std::vector<std::vector<float>> factors_;                // one a group
  std::map<std::string, std::size_t> group_of_;            // linear module to its group
  std::map<std::string, std::vector<std::byte>> vectors_;  // a norm's parameter to its new bytes
};

}  // namespace w8a8::detail
