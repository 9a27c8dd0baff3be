// The parts that a kernel makes a product in, each a launch of its own: all columns in one configuration, or as many as keep all
// SMs busy in whole rounds of large tiles, and the rest in a configuration that suits it. Host code only.
#pragma once

#include <array>
#include <cstdint>

#include "w8a8/support/device.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8 {

/// The columns [begin, end) of a product, and the index of the configuration that makes them.
struct GemmPart {
  int configuration, begin, end;
};

/// The parts of a product, side by side and in the order of their launches; none where no configuration was found. All but the
/// last are whole tiles of their configurations.
class GemmParts {
 public:
  GemmParts() = default;
  /// One part; none where configuration is -1.
  GemmParts(int configuration, int n) : count_(configuration < 0 ? 0 : 1), parts_{{{configuration, 0, n}, {}}} {}
  /// Two: the columns before `boundary`, and those from there on.
  GemmParts(int first, int boundary, int rest, int n) : count_(2), parts_{{{first, 0, boundary}, {rest, boundary, n}}} {}

  bool empty() const { return count_ == 0; }
  int size() const { return count_; }
  const GemmPart* begin() const { return parts_.data(); }
  const GemmPart* end() const { return parts_.data() + count_; }

 private:
  int count_ = 0;
  std::array<GemmPart, 2> parts_{};
};

namespace detail {

/// A configuration, and the clocks that a model expects of it.
struct GemmChoice {
  int configuration = -1;
  double clocks = 0;
};

/// What the SMs have in work at a time with a configuration: `slots` tiles of so many rows and columns.
struct GemmRound {
  int tile_m, tile_n, slots;
};

/// The configuration that makes n columns in the least time. A Model knows M, K and the device; of `Model::size` configurations
/// it tells the clocks(index, n), which are negative where the device cannot run one.
template <class Model>
GemmChoice best_configuration(const Model& model, int n) {
  GemmChoice best;
  for (int index = 0; index < Model::size; ++index) {
    const double clocks = model.clocks(index, n);
    if (clocks >= 0 && (best.configuration < 0 || clocks < best.clocks)) best = {index, clocks};
  }
  return best;
}

/// The parts that take the least time. The first of two is made in whole rounds; a second launch costs Model::second_launch
/// clocks, and two together count Model::doubt times: the models are right to a few percent.
template <class Model>
GemmParts best_parts(const Model& model, int m, int n) {
  const GemmChoice whole = best_configuration(model, n);
  GemmParts best(whole.configuration, n);
  double best_clocks = whole.clocks;
  for (int first = 0; first < Model::size; ++first) {
    const GemmRound round = model.round(first);
    const std::int64_t rows = ceil_div<std::int64_t>(m, round.tile_m), most = (n - 1) / round.tile_n,
                       rounds = rows * most / round.slots;
    for (std::int64_t full = rounds; full > max_of<std::int64_t>(rounds - 2, 0) && full * round.slots >= rows; --full) {
      const int boundary = static_cast<int>(full * round.slots / rows) * round.tile_n;
      const double clocks = model.clocks(first, boundary);
      if (clocks < 0 || clocks >= best_clocks) continue;
      const GemmChoice rest = best_configuration(model, n - boundary);
      const double sum = (clocks + Model::second_launch + rest.clocks) * Model::doubt;
      if (sum < best_clocks) best = GemmParts(first, boundary, rest.configuration, n), best_clocks = sum;
    }
  }
  return best;
}

}  // namespace detail
}  // namespace w8a8
