// The command line of w8a8_bench.
#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "shapes.hpp"
#include "w8a8/gemm/problem.hpp"

namespace w8a8::bench {

enum class Suite { none, gemm, quantize, linear, limits, compare };

enum class Output { half, bfloat16, float32 };

inline const char* output_name(Output output) {
  switch (output) {
    case Output::half: return "half";
    case Output::bfloat16: return "bfloat16";
    case Output::float32: return "float";
  }
  return "unknown";
}

inline constexpr const char* peer_int8 = "cublaslt_int8_dequant";
inline constexpr const char* peer_fp16 = "cublaslt_fp16";
inline constexpr const char* peer_fp8 = "cublaslt_fp8";
inline constexpr const char* peer_fp8_rowwise = "cublaslt_fp8_rowwise";

inline const std::vector<std::string>& peer_names() {
  static const std::vector<std::string> names = {peer_int8, peer_fp16, peer_fp8, peer_fp8_rowwise};
  return names;
}

/// The load before a sustained figure: a contender's own, all contenders in turn, or no such figure.
enum class Sustained { own, mixed, none };

struct Options {
  Suite suite = Suite::none;
  std::string suite_name;
  bool list = false;
  std::string help;  ///< not empty: print this and stop

  std::vector<Shape> shapes;   ///< in the order in which they are measured
  bool default_shapes = true;  ///< neither --preset nor --shape was given
  Kernel kernel = Kernel::automatic;
  std::string configuration;
  Output output = Output::half;
  bool bias = true;
  bool dependent_launch = false;
  std::vector<std::string> peers;
  Sustained sustained = Sustained::own;
  double time_budget = 0;  ///< seconds; 0: none
  std::uint64_t seed = 1;
  std::string json;

  std::string old_file, new_file;  ///< compare
};

namespace detail {

inline std::vector<std::string> split_commas(const std::vector<std::string>& words) {
  std::vector<std::string> parts;
  for (const std::string& word : words) {
    std::size_t begin = 0;
    for (std::size_t end; (end = word.find(',', begin)) != std::string::npos; begin = end + 1) {
      parts.push_back(word.substr(begin, end - begin));
    }
    parts.push_back(word.substr(begin));
  }
  return parts;
}

template <class T>
T one_of(const std::string& flag, const std::string& word, const std::vector<std::pair<std::string, T>>& choices) {
  std::string known;
  for (const auto& choice : choices) {
    if (choice.first == word) return choice.second;
    known += (known.empty() ? "" : ", ") + choice.first;
  }
  throw UsageError(flag + ": expected one of " + known + ", got '" + word + "'");
}

}  // namespace detail

/// Reads the arguments after the program's name. Throws UsageError, one line, for what it does not understand.
inline Options parse_options(std::vector<std::string> arguments) {
  Options options;
  CLI::App app{"Microbenchmarks of w8a8: times beside the card's limits and cuBLASLt", "w8a8_bench"};
  app.add_flag("--list", options.list, "print suites, presets, kernel families and configurations, and stop");
  app.require_subcommand(0, 1);

  std::vector<std::string> preset_words, shape_words, token_words, peer_words{"all"};
  std::string kernel_word = "auto", output_word = "half", sustained_word = "own";
  bool no_bias = false;
  const auto add_measuring = [&](CLI::App* suite, bool shapes, bool gemm) {
    if (shapes) {
      suite->add_option("--preset", preset_words, "shapes by name (several: commas); --list prints them");
      suite->add_option("--shape", shape_words, "shapes as MxNxK (several: commas)");
      suite->add_option("-m,--m", token_words, "list of M that replaces the preset's");
      suite->add_option("--time-budget", options.time_budget, "seconds that the rows may take together")
          ->check(CLI::PositiveNumber);
    }
    if (shapes) {
      suite->add_option("--sustained", sustained_word,
                        "load before a sustained figure: own, mixed (ours and the peers in turn), none");
    }
    if (gemm) {
      suite->add_option("--kernel", kernel_word, "kernel family: auto, sm80, sm90, host");
      suite->add_option("--configuration", options.configuration, "a configuration by name; --list prints them");
      suite->add_option("--output", output_word, "output type: half, bfloat16, float");
      suite->add_flag("--no-bias", no_bias, "leave the bias out");
      suite->add_flag("--dependent-launch", options.dependent_launch, "let launches overlap (programmatic dependent launch)");
      suite->add_option("--peers", peer_words, "all, none, or names with commas: " + CLI::detail::join(peer_names(), ", "));
    }
    suite->add_option("--seed", options.seed, "seed of the random data");
    suite->add_option("--json", options.json, "write the results to FILE");
  };
  const std::vector<std::pair<std::string, Suite>> suites = {
      {"gemm", Suite::gemm}, {"quantize", Suite::quantize}, {"linear", Suite::linear}, {"limits", Suite::limits}};
  add_measuring(app.add_subcommand("gemm", "the GEMM with its fused epilogue"), true, true);
  add_measuring(app.add_subcommand("quantize", "per-token quantization of activations"), true, false);
  add_measuring(app.add_subcommand("linear", "quantization and GEMM, as a layer runs them"), true, true);
  add_measuring(app.add_subcommand("limits", "what the card can do: DRAM, tensor cores, launches"), false, false);
  CLI::App* compare = app.add_subcommand("compare", "compare two result files; exit code 1 on a regression of more than 3%");
  compare->add_option("OLD", options.old_file, "result file before")->required();
  compare->add_option("NEW", options.new_file, "result file after")->required();

  try {
    std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them last first
    app.parse(arguments);
  } catch (const CLI::CallForHelp&) {
    options.help = app.help();  // of the suite, where one was named
    return options;
  } catch (const CLI::ParseError& error) {
    std::string line = error.what();
    std::replace(line.begin(), line.end(), '\n', ' ');
    throw UsageError(line);
  }

  const auto chosen = app.get_subcommands();
  if (chosen.empty()) {
    if (!options.list) throw UsageError("a suite is required: gemm, quantize, linear, limits or compare (--help says more)");
    return options;
  }
  options.suite_name = chosen.front()->get_name();
  if (options.suite_name == "compare") {
    options.suite = Suite::compare;
    return options;
  }
  options.suite = detail::one_of("suite", options.suite_name, suites);
  options.kernel = detail::one_of<Kernel>(
      "--kernel", kernel_word,
      {{"auto", Kernel::automatic}, {"sm80", Kernel::sm80}, {"sm90", Kernel::sm90}, {"host", Kernel::host}});
  options.output = detail::one_of<Output>("--output", output_word,
                                          {{"half", Output::half}, {"bfloat16", Output::bfloat16}, {"float", Output::float32}});
  options.sustained = detail::one_of<Sustained>(
      "--sustained", sustained_word, {{"own", Sustained::own}, {"mixed", Sustained::mixed}, {"none", Sustained::none}});
  options.bias = !no_bias;

  for (const std::string& word : detail::split_commas(peer_words)) {
    if (word == "all") {
      options.peers = peer_names();
    } else if (word == "none") {
      options.peers.clear();
    } else {
      std::vector<std::pair<std::string, std::string>> choices{{"all", ""}, {"none", ""}};
      for (const std::string& name : peer_names()) choices.emplace_back(name, name);
      options.peers.push_back(detail::one_of("--peers", word, choices));
    }
  }

  std::vector<int> tokens;
  for (const std::string& word : detail::split_commas(token_words)) tokens.push_back(parse_size("--m", word));
  options.default_shapes = preset_words.empty() && shape_words.empty();
  if (options.default_shapes) preset_words = {options.kernel == Kernel::host ? "host" : "anchors"};
  for (const std::string& word : detail::split_commas(preset_words)) {
    const std::vector<Shape> shapes = preset_shapes(word, tokens);
    options.shapes.insert(options.shapes.end(), shapes.begin(), shapes.end());
  }
  for (const std::string& word : detail::split_commas(shape_words)) {
    const Shape shape = parse_shape("--shape", word);
    if (tokens.empty()) options.shapes.push_back(shape);
    for (const int m : tokens) options.shapes.push_back({shape.name, m, shape.n, shape.k});
  }
  for (const Shape& shape : options.shapes) {
    if (shape.k > maximum_k)
      throw UsageError("--shape: K must be at most " + std::to_string(maximum_k) + ", got " + shape.text());
  }
  return options;
}

}  // namespace w8a8::bench
