// w8a8_bench: see docs/performance.md. Exit codes: 0 done, 1 a regression (compare) or an error while running, 2 unusable
// arguments.
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

#include "compare.hpp"
#include "library_calls.hpp"
#include "parse_options.hpp"
#include "quantize_forms.hpp"
#include "suites.hpp"
#include "w8a8/support/device.hpp"

namespace {

using namespace w8a8;
using namespace w8a8::bench;

void print_list() {
  std::printf("device: %s\n\nsuites: gemm, quantize, linear, sweep, chain, tune, limits, compare\n\npresets:\n",
              has_cuda_device() ? device_name(current_device().ordinal).c_str() : "none");
  for (const Preset& preset : presets()) {
    std::printf("  %-14s %s\n", preset.name.c_str(), preset.description.c_str());
    std::string shapes;
    for (const Layer& layer : preset.layers)
      shapes += " " + layer.name + " " + std::to_string(layer.n) + "x" + std::to_string(layer.k);
    for (const Shape& shape : preset.further) shapes += " " + shape.name + " " + shape.text();
    std::printf("                %s\n", shapes.c_str() + 1);
    if (preset.tokens.empty()) continue;
    const std::vector<int>& m = preset.tokens;
    std::string tokens;
    for (const int each : m) tokens += (tokens.empty() ? "" : ",") + std::to_string(each);
    if (m.size() > 20) tokens = std::to_string(m.front()) + "-" + std::to_string(m.back());
    std::printf("                 M = %s\n", tokens.c_str());
  }
  std::printf("\npeers:\n");
  for (const std::string& peer : peer_names()) std::printf("  %s\n", peer.c_str());
  std::printf("\nforms of quantization:\n");
  for (const QuantizeForm& form : quantize_forms()) std::printf("  %-17s %s\n", form.name, form.function);
  std::printf("\nkernel families: auto, sm80, sm90, host\nconfigurations:\n");
  for (const std::string& name : all_configurations()) std::printf("  %s\n", name.c_str());
}

/// A configuration that does not exist is a wrong flag, not a row that fails 55 times. Of FIRST@COLUMN+REST both are to exist;
/// whether they can meet at that column gemm() says, which knows N.
void check_configuration(const Options& options) {
  const std::string& name = options.configuration;
  if (name.empty()) return;
  const std::vector<std::string> all = all_configurations();
  const auto exists = [&](const std::string& each) { return std::find(all.begin(), all.end(), each) != all.end(); };
  const std::size_t at = name.find('@'), plus = name.find('+');
  const bool two = at != std::string::npos && plus != std::string::npos && at < plus;
  if (exists(two ? name.substr(0, at) : name) && (!two || exists(name.substr(0, name.find('/') + 1) + name.substr(plus + 1))))
    return;
  throw UsageError("--configuration: no configuration '" + name + "'; --list prints them");
}

int compare_files(const Options& options) {
  const Comparison comparison = compare_results(read_results(options.old_file), read_results(options.new_file));
  std::fputs(to_text(comparison).c_str(), stdout);
  return comparison.regressed ? 1 : 0;
}

int measure(Options options) {
  check_configuration(options);
  Report report;
  if (options.kernel == Kernel::host) {
    if (options.suite != Suite::gemm) throw UsageError("--kernel: host is measured by the suite gemm alone");
    report = run_host_suite(options);
  } else if (has_cuda_device()) {
    report = run_gpu_suite(options);
  } else {
    std::printf("%s: skipped: no CUDA device\n", options.suite_name.c_str());
    if (options.suite != Suite::gemm || !options.default_shapes || options.kernel != Kernel::automatic) return 0;
    std::printf("the host family instead:\n");
    options.kernel = Kernel::host;
    options.shapes = preset_shapes("host");
    report = run_host_suite(options);
  }
  if (!options.json.empty() && options.suite != Suite::tune) write_results(to_json(report), options.json, true);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Options options = parse_options(std::vector<std::string>(argv + 1, argv + argc));
    if (!options.help.empty()) {
      std::fputs(options.help.c_str(), stdout);
      return 0;
    }
    if (options.list) {
      print_list();
      return 0;
    }
    return options.suite == Suite::compare ? compare_files(options) : measure(options);
  } catch (const UsageError& error) {
    std::fprintf(stderr, "w8a8_bench: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "w8a8_bench: %s\n", error.what());
    return 1;
  }
}
