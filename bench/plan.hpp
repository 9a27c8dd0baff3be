// How much is run for a figure: input sets, launches a graph, samples, rounds. Plain arithmetic, so that it is tested without a
// GPU.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace w8a8::bench {

inline constexpr double reuse_bytes = 300e6;         ///< bytes read between two uses of one input set, where L2 is smaller
inline constexpr double burst_idle_seconds = 0.100;  ///< idle time before a burst
inline constexpr double burst_load_us = 40e3;        ///< longest load of a burst
inline constexpr double sustained_load_us = 400e3;   ///< load before the first sustained figure of a row
inline constexpr double own_load_us = 250e3;         ///< before the next ones: a change of load takes the clock 200 ms to settle
inline constexpr double graph_us = 2e3;              ///< a graph lasts about this long: launch gaps of a replay vanish in it
inline constexpr int maximum_launches = 1024;        ///< of a graph
inline constexpr double sustained_sample_us = 80e3;  ///< time spent on the samples of a sustained figure

/// Rotating input sets of `set_bytes` so that every use of a set finds it in DRAM: 300 MB or three times L2 between reuses.
inline int input_sets(double set_bytes, double l2_bytes) {
  return static_cast<int>(std::max(1.0, std::ceil(std::max(reuse_bytes, 3 * l2_bytes) / std::max(set_bytes, 1.0))));
}

/// Launches of a graph whose launches take `us` each: about wanted_us, and whole rotations where they fit.
inline int graph_launches(double us, int sets, double wanted_us = graph_us) {
  const int wanted = static_cast<int>(std::clamp(std::ceil(wanted_us / std::max(us, 0.1)), 1.0, double(maximum_launches)));
  const int rotations = (wanted + sets - 1) / sets;
  return rotations * sets <= maximum_launches ? rotations * sets : maximum_launches;
}

/// Timed replays of a burst, after one that warms up: at most 7, and less than 50 ms of load altogether.
inline int burst_samples(double replay_us) {
  return static_cast<int>(std::clamp(std::floor(burst_load_us / std::max(replay_us, 1.0)) - 1, 1.0, 7.0));
}

/// Rounds of `round_us` that make up a load.
inline int load_rounds(double round_us, double load_us = sustained_load_us) {
  return static_cast<int>(std::ceil(load_us / std::max(round_us, 1.0)));
}

/// Timed rounds of a sustained figure: about 80 ms, because the clock swings by itself within tens of milliseconds.
inline int sustained_rounds(double round_us) {
  return static_cast<int>(std::clamp(std::floor(sustained_sample_us / std::max(round_us, 1.0)), 3.0, 50.0));
}

/// What a time budget allows each row.
struct RowPlan {
  int burst_rounds = 2;  ///< bursts a contender; 0: the row is not measured
  bool sustained = true;
};

/// Seconds that the sustained figures of a row take: all contenders in turn (`mixed`), or each after a load of its own.
inline double sustained_seconds(int contenders, bool mixed) {
  const double first = sustained_load_us + sustained_sample_us, each = own_load_us + sustained_sample_us;
  return 1e-6 * (mixed ? first : first + (contenders - 1) * each);
}

/// `seconds` left for each remaining row (<= 0: no budget), with `contenders` measured in it, whose sustained figures take
/// `sustained` seconds together; 0: there are none.
inline RowPlan plan_row(double seconds, int contenders, double sustained) {
  if (seconds <= 0) return {2, sustained > 0};
  const double setup = 0.05 * contenders;
  const double burst = contenders * (burst_idle_seconds + 0.5 * burst_load_us * 1e-6);
  if (seconds < setup + burst) return {0, false};
  if (seconds < setup + burst + sustained) return {1, false};
  return {std::min(5, static_cast<int>((seconds - setup - sustained) / burst)), sustained > 0};
}

}  // namespace w8a8::bench
