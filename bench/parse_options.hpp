// Reads the command line of w8a8_bench.
#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "options.hpp"
#include "quantize_forms.hpp"

namespace w8a8::bench {

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

/// "1,8,32" and "1-300", also mixed. Throws UsageError that names --m.
inline std::vector<int> parse_tokens(const std::vector<std::string>& words) {
  std::vector<int> tokens;
  for (const std::string& word : split_commas(words)) {
    const std::size_t dash = word.find('-');
    if (dash == std::string::npos || dash == 0) {
      tokens.push_back(parse_size("--m", word));
      continue;
    }
    const int first = parse_size("--m", word.substr(0, dash)), last = parse_size("--m", word.substr(dash + 1));
    if (last < first || last - first >= 100000) throw UsageError("--m: expected a range such as 1-300, got '" + word + "'");
    for (int m = first; m <= last; ++m) tokens.push_back(m);
  }
  return tokens;
}

/// The flags that a suite takes.
struct Takes {
  bool preset = false, shape = false, layers = false, tokens = false, measuring = false, kernel = false, configuration = false,
       output = false, peers = false, forms = false, dependent_launch = false;
};

}  // namespace detail

/// Reads the arguments after the program's name. Throws UsageError, one line, for what it does not understand.
inline Options parse_options(std::vector<std::string> arguments) {
  using detail::Takes;
  Options options;
  CLI::App app{"Microbenchmarks of w8a8: times beside the card's limits and cuBLASLt", "w8a8_bench"};
  app.add_flag("--list", options.list, "print suites, presets, kernel families and configurations, and stop");
  app.require_subcommand(0, 1);

  std::vector<std::string> preset_words, shape_words, token_words, peer_words, form_words{"all"};
  std::string kernel_word = "auto", output_word = "half", sustained_word = "own";
  bool no_bias = false;
  const auto add_suite = [&](const char* name, const char* description, const Takes& takes) {
    CLI::App* suite = app.add_subcommand(name, description);
    if (takes.preset) suite->add_option("--preset", preset_words, "shapes by name (several: commas); --list prints them");
    if (takes.shape) suite->add_option("--shape", shape_words, "shapes as MxNxK (several: commas)");
    if (takes.layers) suite->add_option("--shape", shape_words, "layers as NxK (several: commas)");
    if (takes.tokens) suite->add_option("-m,--m", token_words, "list of M (1,8,32 or 1-300) that replaces the default");
    if (takes.measuring) {
      suite->add_option("--time-budget", options.time_budget, "seconds that the rows may take together")
          ->check(CLI::PositiveNumber);
      suite->add_option("--sustained", sustained_word,
                        "load before a sustained figure: own, mixed (ours and the peers in turn), none");
    }
    if (takes.kernel) suite->add_option("--kernel", kernel_word, "kernel family: auto, sm80, sm90, host");
    if (takes.configuration) {
      suite->add_option("--configuration", options.configuration, "a configuration by name (--list), or two: FIRST@COLUMN+REST");
      suite->add_option("--tuning", options.tuning_file, "a tuning file, as `tune` writes it, that gemm() is to follow");
    }
    if (takes.output) {
      suite->add_option("--output", output_word, "output type: half, bfloat16, float");
      suite->add_flag("--no-bias", no_bias, "leave the bias out");
    }
    if (takes.dependent_launch) {
      suite->add_flag("--dependent-launch", options.dependent_launch, "let launches overlap (programmatic dependent launch)");
    }
    if (takes.peers) {
      suite->add_option("--peers", peer_words, "all, none, or names with commas: " + CLI::detail::join(peer_names(), ", "));
    }
    if (takes.forms) suite->add_option("--forms", form_words, "all, or names with commas; --list prints them");
    suite->add_option("--seed", options.seed, "seed of the random data");
    suite->add_option("--json", options.json, "write the results to FILE");
  };
  const std::vector<std::pair<std::string, Suite>> suites = {
      {"gemm", Suite::gemm},   {"quantize", Suite::quantize}, {"linear", Suite::linear}, {"sweep", Suite::sweep},
      {"chain", Suite::chain}, {"tune", Suite::tune},         {"limits", Suite::limits}};
  Takes gemm;
  gemm.preset = gemm.shape = gemm.tokens = gemm.measuring = gemm.kernel = gemm.configuration = gemm.output = gemm.peers = true;
  gemm.dependent_launch = true;
  add_suite("gemm", "the GEMM with its fused epilogue", gemm);
  Takes quantize;
  quantize.preset = quantize.shape = quantize.tokens = quantize.measuring = quantize.forms = quantize.dependent_launch = true;
  add_suite("quantize", "quantization of activations, alone and fused with what comes before", quantize);
  Takes linear = gemm;
  linear.dependent_launch = false;  // both are measured
  add_suite("linear", "quantization and GEMM, as a layer runs them, with and without dependent launch", linear);
  Takes sweep;
  sweep.layers = sweep.tokens = sweep.kernel = sweep.configuration = sweep.output = sweep.peers = true;
  add_suite("sweep", "the GEMM at every M of a range: steps between neighbours", sweep);
  Takes chain;
  chain.tokens = chain.kernel = chain.configuration = true;
  add_suite("chain", "the four linear layers of Llama 3 8B one after another in a graph, beside streaming reads", chain);
  Takes tune;
  tune.preset = tune.shape = tune.tokens = tune.kernel = tune.output = true;
  add_suite("tune", "try every configuration on this card; --json writes a tuning file", tune);
  add_suite("limits", "what the card can do: DRAM, tensor cores, launches", {});
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
    if (!options.list) {
      throw UsageError("a suite is required: gemm, quantize, linear, sweep, chain, tune, limits or compare (--help says more)");
    }
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
  if (options.suite == Suite::sweep || options.suite == Suite::tune) options.sustained = Sustained::none;

  if (peer_words.empty()) {
    peer_words = {options.suite == Suite::gemm || options.suite == Suite::linear ? "all"
                  : options.suite == Suite::sweep                                ? peer_fp16
                                                                                 : "none"};
  }
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
  if (options.suite == Suite::quantize) {
    for (const std::string& word : detail::split_commas(form_words)) {
      std::vector<std::pair<std::string, std::string>> choices{{"all", "all"}};
      for (const QuantizeForm& form : quantize_forms()) choices.emplace_back(form.name, form.name);
      const std::string name = detail::one_of("--forms", word, choices);
      if (name != "all") options.forms.push_back(name);
      for (const QuantizeForm& form : quantize_forms()) {
        if (name == "all") options.forms.push_back(form.name);
      }
    }
  }

  const std::vector<int> tokens = detail::parse_tokens(token_words);
  options.default_shapes = preset_words.empty() && shape_words.empty();
  if (options.default_shapes) {
    switch (options.suite) {
      case Suite::gemm:
      case Suite::tune: preset_words = {options.kernel == Kernel::host ? "host" : "anchors"}; break;
      case Suite::quantize: preset_words = {"quantize"}; break;
      case Suite::linear: preset_words = {"layers"}; break;
      case Suite::sweep: preset_words = {"sweep"}; break;
      case Suite::chain: preset_words = {"chain"}; break;
      default: break;
    }
  }
  for (const std::string& word : detail::split_commas(preset_words)) {
    const std::vector<Shape> shapes = preset_shapes(word, tokens);
    options.shapes.insert(options.shapes.end(), shapes.begin(), shapes.end());
  }
  for (const std::string& word : detail::split_commas(shape_words)) {
    if (options.suite == Suite::sweep) {
      const std::vector<Shape> shapes = layer_shapes(parse_layer("--shape", word), tokens.empty() ? sweep_tokens() : tokens);
      options.shapes.insert(options.shapes.end(), shapes.begin(), shapes.end());
      continue;
    }
    const Shape shape = parse_shape("--shape", word);
    if (tokens.empty()) options.shapes.push_back(shape);
    for (const int m : tokens) options.shapes.push_back({shape.name, m, shape.n, shape.k});
  }
  for (const Shape& shape : options.shapes) {
    if (shape.k > maximum_k)
      throw UsageError("--shape: K must be at most " + std::to_string(maximum_k) + ", got " + shape.text());
    if (shape.n == 0 && options.suite != Suite::quantize && options.suite != Suite::chain) {
      throw UsageError("--preset: '" + shape.name + "' is no GEMM: it has no N");
    }
  }
  return options;
}

}  // namespace w8a8::bench
