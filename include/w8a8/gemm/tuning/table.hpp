// Configurations that were measured on a card for the shapes of a model; a gemm() call that is given such a table
// (GemmOptions::tuning) prefers them to what the built-in tables say. io/tuning_file.hpp reads one from a file.
#pragma once

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "w8a8/support/device.hpp"

namespace w8a8 {

/// The fastest configuration of an M x N x K problem, and its time, for the record.
struct TuningEntry {
  int m = 0, n = 0, k = 0;
  std::string configuration;  ///< as GemmOptions::configuration
  double microseconds = 0;
};

/// Measured configurations of one model of card. Built once, then only read: calls may share it. It must outlive them.
class TuningTable {
 public:
  TuningTable() = default;

  /// The table of a card with that compute capability (90 for 9.0) and number of SMs. Of entries with one shape the fastest
  /// counts.
  TuningTable(int compute_capability, int multiprocessors, std::vector<TuningEntry> entries)
      : compute_capability_(compute_capability), multiprocessors_(multiprocessors), entries_(std::move(entries)) {
    std::sort(entries_.begin(), entries_.end(), [](const TuningEntry& a, const TuningEntry& b) {
      return std::tie(a.n, a.k, a.m, a.microseconds) < std::tie(b.n, b.k, b.m, b.microseconds);
    });
    const auto same_shape = [](const TuningEntry& a, const TuningEntry& b) { return key(a) == key(b); };
    entries_.erase(std::unique(entries_.begin(), entries_.end(), same_shape), entries_.end());
  }

  int compute_capability() const { return compute_capability_; }
  int multiprocessors() const { return multiprocessors_; }
  const std::vector<TuningEntry>& entries() const { return entries_; }

  /// True where the table was measured on such a card: on another one its choices mean nothing, and gemm() ignores it.
  bool is_for(const DeviceProperties& device) const {
    return device.compute_capability == compute_capability_ && device.multiprocessors == multiprocessors_;
  }

  /// The entry for an M x N x K problem, or null: that of the same N and K and the nearest M at or above, as long as it is not
  /// above max(16, 2 M). Tiles that suit more tokens suit a few less as well, but not many less.
  const TuningEntry* find(int m, int n, int k) const {
    const auto at = std::lower_bound(entries_.begin(), entries_.end(), std::make_tuple(n, k, m),
                                     [](const TuningEntry& entry, const auto& wanted) { return key(entry) < wanted; });
    if (at == entries_.end() || at->n != n || at->k != k) return nullptr;
    return at->m <= std::max<long long>(16, 2LL * m) ? &*at : nullptr;
  }

 private:
  static std::tuple<int, int, int> key(const TuningEntry& entry) { return {entry.n, entry.k, entry.m}; }

  int compute_capability_ = 0, multiprocessors_ = 0;
  std::vector<TuningEntry> entries_;  // by n, k, m
};

}  // namespace w8a8
