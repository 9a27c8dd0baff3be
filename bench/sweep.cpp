#include <algorithm>
#include <chrono>

#include "suite_work.hpp"
#include "sweep_summary.hpp"

namespace w8a8::bench {

namespace {

// Lighter than the other suites, so that 300 rows take seconds: 0.7 ms of launches a graph and 8 ms of idling before, which loads
// the card for a third of the time and leaves its clock where it is.
constexpr double sweep_graph_us = 700, sweep_idle_seconds = 0.008;
constexpr int sweep_samples = 3;
constexpr int peer_trials = 3;
constexpr std::size_t most_repeated = 24;

/// Ours and the peers at one M. `guess` holds about what each took at the M before, and is brought up to date.
Row sweep_row(const Run& run, const SuiteWork& suite, const Shape& shape, std::vector<double>& guess, bool calm) {
  Row row;
  row.shape = shape;
  row.operations = shape.operations();
  row.bytes = suite.bytes(run.options, shape);
  row.limit_us = run.limits.limit_us(row.bytes, 0);
  row.kernel = suite.kernel(run, shape);
  guess.resize(1 + run.options.peers.size(), 3 + row.limit_us);
  std::vector<Contender> contenders;
  std::vector<std::size_t> slots;  // 0: ours, then the peers
  const auto add = [&](std::optional<Work> work, std::size_t slot) {
    if (!work) return;
    contenders.push_back(run.timer.capture(std::move(*work), guess[slot], sweep_graph_us));
    slots.push_back(slot);
  };
  add(suite.ours(run, shape), 0);
  for (std::size_t i = 0; i < run.options.peers.size(); ++i) {
    add(suite.peer(run, run.options.peers[i], shape, guess[1 + i]), 1 + i);
  }
  run.timer.burst(contenders, calm ? 2 : 1, calm ? burst_idle_seconds : sweep_idle_seconds, sweep_samples);
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    const Summary time = summarize(contenders[i].burst);
    guess[slots[i]] = time.median;
    (slots[i] == 0 ? row.burst : row.peers[run.options.peers[slots[i] - 1]]) = time;
  }
  row.sm_mhz = median(contenders.front().burst_mhz);
  return row;
}

}  // namespace

void run_sweep(const Run& run, const std::vector<Shape>& rows, Report& report, Console& console) {
  const std::unique_ptr<SuiteWork> suite = make_gemm_suite();
  run.peers.set_trials(peer_trials);
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  report.summary = nlohmann::json::array();
  for (std::size_t begin = 0; begin < rows.size();) {
    std::size_t end = begin;
    while (end < rows.size() && rows[end].name == rows[begin].name) ++end;
    std::vector<Row> layer;
    std::vector<double> guess;
    for (std::size_t i = begin; i < end; ++i) {
      console.next(static_cast<int>(i), static_cast<int>(rows.size()), rows[i], elapsed());
      layer.push_back(sweep_row(run, *suite, rows[i], guess, false));
      // Not every row: those where something changes, and one in 32.
      if (i == begin || rows[i].m % 32 == 0 || layer.back().kernel != layer[layer.size() - 2].kernel) {
        console.row(layer.back());
        console.line("    from here " + layer.back().kernel);
      }
    }
    for (const std::size_t i : rows_to_repeat(layer, most_repeated)) {
      guess.assign(1, layer[i].burst.median);
      for (const std::string& peer : run.options.peers) guess.push_back(std::max(1.0, layer[i].peers[peer].median));
      layer[i] = sweep_row(run, *suite, layer[i].shape, guess, true);
    }
    const SweepSummary summary = summarize_sweep(layer);
    console.line(to_text(summary));
    report.summary.push_back(to_json(summary));
    report.rows.insert(report.rows.end(), layer.begin(), layer.end());
    if (!run.options.json.empty()) write_results(to_json(report), run.options.json, false);
    begin = end;
  }
}

}  // namespace w8a8::bench
