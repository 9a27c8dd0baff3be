// Medians, spreads and means of timings.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace w8a8::bench {

/// The value below which a fraction `q` (0 to 1) of the samples lies, interpolated; 0 for no samples.
inline double quantile(std::vector<double> samples, double q) {
  if (samples.empty()) return 0;
  std::sort(samples.begin(), samples.end());
  const double position = q * static_cast<double>(samples.size() - 1);
  const std::size_t below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, samples.size() - 1);
  return samples[below] + (position - static_cast<double>(below)) * (samples[above] - samples[below]);
}

inline double median(const std::vector<double>& samples) { return quantile(samples, 0.5); }

/// A row is too noisy where the middle half of its samples spans more than this part of their median.
inline constexpr double noise_threshold = 0.05;

/// What is kept of the samples of one figure, in their unit.
struct Summary {
  double median = 0, min = 0, max = 0;
  bool noisy = false;
};

inline Summary summarize(const std::vector<double>& samples) {
  if (samples.empty()) return {};
  const double middle = median(samples);
  const double spread = quantile(samples, 0.75) - quantile(samples, 0.25);
  return {middle, *std::min_element(samples.begin(), samples.end()), *std::max_element(samples.begin(), samples.end()),
          spread > noise_threshold * middle};
}

/// The geometric mean of positive values; 1 for none.
inline double geometric_mean(const std::vector<double>& values) {
  if (values.empty()) return 1;
  double sum = 0;
  for (const double value : values) sum += std::log(value);
  return std::exp(sum / static_cast<double>(values.size()));
}

}  // namespace w8a8::bench
