// w8a8_convert IN_DIR OUT_DIR: a checkpoint (BF16, FP16 or FP32 safetensors, one file or shards) to W8A8, on the CPU, in the
// format that the ecosystem reads (compressed-tensors, int-quantized).
//
// Exit codes: 0 done; 1 the conversion failed on its way (finished shards stay, and the same call goes on from there); 2 flags or
// input that cannot be used, nothing was written. Errors are one line on standard error.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <string>
#include <vector>

#include "w8a8/io/convert_checkpoint.hpp"
#include "w8a8/io/json.hpp"
#include "w8a8/nn/progress_bar.hpp"
#include "w8a8/support/error.hpp"

namespace {

struct Flags {
  std::string input, output, json, smooth_map, scale_dtype = "auto";
  std::vector<std::string> skip;
  bool no_default_skip = false, dry_run = false, quiet = false;
  w8a8::ConvertOptions options;
};

std::string megabytes(std::uint64_t bytes) {
  char out[32];
  std::snprintf(out, sizeof out, "%.1f MB", static_cast<double>(bytes) * 1e-6);
  return out;
}

std::string decibels(double db) {
  char out[32];
  std::snprintf(out, sizeof out, "%.1f", db);
  return std::isfinite(db) ? out : "exact";
}

/// Names come from files: no control character reaches the terminal.
std::string printable(const std::string& name) {
  const std::string quoted = w8a8::detail::quote(name);
  return quoted.substr(1, quoted.size() - 2);
}

void print_plan(const w8a8::CheckpointConverter& converter) {
  const w8a8::ConvertPlan& plan = converter.plan();
  std::printf("%-60s %-5s %-14s %s\n", "tensor", "dtype", "shape", "becomes");
  for (const w8a8::PlannedTensor& tensor : plan.tensors) {
    const std::string what = tensor.quantize ? "I8, scale " + tensor.scale_dtype : "the same: " + tensor.reason;
    std::printf("%-60s %-5s %-14s %s\n", printable(tensor.entry->name).c_str(), printable(tensor.entry->dtype).c_str(),
                w8a8::shape_text(tensor.entry->shape).c_str(), printable(what).c_str());
  }
  for (const w8a8::SmoothingGroup& group : converter.smoothing_groups()) {
    std::string linears;
    for (const std::string& linear : group.linears) linears += " " + printable(linear);
    std::printf("smoothed: %s ->%s\n", printable(group.norm).c_str(), linears.c_str());
  }
  for (const w8a8::Shard& shard : plan.shards)
    std::printf("%s: %zu tensors, %s\n", shard.file.c_str(), shard.tensors.size(), megabytes(shard.bytes).c_str());
}

void print_report(const w8a8::ConvertReport& report) {
  std::size_t width = 5;
  for (const w8a8::ConvertedLayer& layer : report.layers) width = std::max(width, printable(layer.name).size());
  std::printf("%-*s  %-5s %13s %9s %22s\n", static_cast<int>(width), "layer", "dtype", "shape", "SNR, dB",
              "worst channel, its dB");
  for (const w8a8::ConvertedLayer& layer : report.layers) {
    const std::string shape = w8a8::text(layer.out_features, "x", layer.in_features);
    std::printf("%-*s  %-5s %13s %9s %14lld %7s\n", static_cast<int>(width), printable(layer.name).c_str(), layer.dtype.c_str(),
                shape.c_str(), decibels(layer.snr_db).c_str(), static_cast<long long>(layer.worst_channel),
                decibels(layer.worst_snr_db).c_str());
  }
}

void print_summary(const w8a8::CheckpointConverter& converter, const w8a8::ConvertReport& report, double seconds, bool dry_run) {
  const w8a8::ConvertPlan& plan = converter.plan();
  std::printf("%zu of %zu tensors %s INT8; %s to %s (%.1f%%) in %zu file%s", plan.quantized, plan.tensors.size(),
              dry_run ? "would become" : "are now", megabytes(plan.bytes_before).c_str(), megabytes(plan.bytes_after).c_str(),
              100.0 * static_cast<double>(plan.bytes_after) / static_cast<double>(plan.bytes_before), plan.shards.size(),
              plan.shards.size() == 1 ? "" : "s");
  if (report.shards_kept > 0) std::printf(", %zu of them kept from a run before", report.shards_kept);
  if (!dry_run) std::printf("; %.1f s", seconds);
  std::printf("\n");
  if (report.smoothed > 0) std::printf("%zu norms smoothed\n", report.smoothed);
  for (const std::string& file : report.left_out)
    std::printf("not copied: %s (weights of another format)\n", printable(file).c_str());
  const auto& said = converter.checkpoint().total_size();
  if (said && *said != converter.checkpoint().bytes()) {
    std::printf("note: the input's index says %llu bytes of tensors, its shards hold %llu\n",
                static_cast<unsigned long long>(*said), static_cast<unsigned long long>(converter.checkpoint().bytes()));
  }
}

w8a8::Json report_json(const Flags& flags, const w8a8::CheckpointConverter& converter, const w8a8::ConvertReport& report,
                       double seconds) {
  const w8a8::ConvertPlan& plan = converter.plan();
  w8a8::Json layers = w8a8::Json::array(), kept = w8a8::Json::array(), shards = w8a8::Json::array(),
             smoothed = w8a8::Json::array();
  for (const w8a8::ConvertedLayer& layer : report.layers) layers.push_back(w8a8::detail::layer_json(layer));
  for (const w8a8::PlannedTensor& tensor : plan.tensors) {
    if (!tensor.quantize) kept.push_back({{"name", tensor.entry->name}, {"reason", tensor.reason}});
  }
  for (const w8a8::Shard& shard : plan.shards) shards.push_back({{"file", shard.file}, {"bytes", shard.bytes}});
  for (const w8a8::SmoothingGroup& group : converter.smoothing_groups())
    smoothed.push_back({{"norm", group.norm}, {"linears", group.linears}});
  return {{"input", flags.input},
          {"output", flags.output},
          {"dry_run", flags.dry_run},
          {"layers_converted", plan.quantized},
          {"bytes_before", plan.bytes_before},
          {"bytes_after", plan.bytes_after},
          {"seconds", seconds},
          {"shards", shards},
          {"shards_written", report.shards_written},
          {"shards_kept", report.shards_kept},
          {"layers", layers},
          {"kept", kept},
          {"smoothed", smoothed},
          {"copied", report.copied},
          {"left_out", report.left_out},
          {"quantization_config", converter.quantization_config()}};
}

int fail(std::string message, int code) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  std::fprintf(stderr, "w8a8_convert: %s\n", message.c_str());
  return code;
}

/// Reads what the flags name and makes the converter's options of them.
void finish(Flags& flags) {
  if (flags.no_default_skip) flags.options.skip.clear();
  flags.options.skip.insert(flags.options.skip.end(), flags.skip.begin(), flags.skip.end());
  const std::map<std::string, std::string> dtypes = {{"auto", ""}, {"float32", "F32"}, {"float16", "F16"}, {"bfloat16", "BF16"}};
  flags.options.scale_dtype = dtypes.at(flags.scale_dtype);
  if (!flags.smooth_map.empty()) {
    flags.options.smoothing_rules = w8a8::parse_smoothing_rules(w8a8::read_json(flags.smooth_map), flags.smooth_map);
  }
}

int convert(Flags& flags) {
  const auto start = std::chrono::steady_clock::now();
  const bool to_stdout = flags.json == "-";
  int code = 2;  // until something is written
  try {
    finish(flags);
    w8a8::CheckpointConverter converter(flags.input, flags.output, flags.options);
    w8a8::ConvertReport report;
    if (flags.dry_run) {
      if (!flags.quiet && !to_stdout) print_plan(converter);
    } else {
      code = 1;
      report = converter.run(flags.quiet ? w8a8::nn::Progress() : w8a8::nn::ProgressBar("Converting"));
      if (!flags.quiet && !to_stdout) print_report(report);
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (!flags.quiet && !to_stdout) print_summary(converter, report, seconds, flags.dry_run);
    if (!flags.json.empty()) {
      const w8a8::Json document = report_json(flags, converter, report, seconds);
      if (to_stdout) {
        std::puts(document.dump(2, ' ', false, w8a8::Json::error_handler_t::replace).c_str());
      } else {
        w8a8::write_json(flags.json, document);
      }
    }
    return 0;
  } catch (const std::exception& error) {
    return fail(error.what(), code);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Converts a checkpoint's linear layers to W8A8 (INT8 weights, INT8 activations found while it runs).",
               "w8a8_convert");
  app.add_option("IN_DIR", flags.input, "directory with model.safetensors, or shards and their index; only read")->required();
  app.add_option("OUT_DIR", flags.output, "directory to write: new, empty, or of the same call cut off before")->required();
  app.add_option("--skip", flags.skip, "modules that stay as they are, glob pattern of their names; may be given often")
      ->type_name("PATTERN");
  app.add_option("--only", flags.options.only, "modules that are converted, and no others; may be given often")
      ->type_name("PATTERN");
  app.add_flag("--no-default-skip", flags.no_default_skip,
               "do not skip by itself what is named lm_head, *embed*, *.gate and the like");
  app.add_option("--scale-dtype", flags.scale_dtype, "type of weight_scale; auto, the default: that of the weight before")
      ->check(CLI::IsMember({"auto", "float32", "float16", "bfloat16"}));
  app.add_option("--max-shard-size", flags.options.maximum_shard_bytes, "of one file, such as 5GB (the default) or 500MB")
      ->transform(CLI::AsSizeValue(true))
      ->check(CLI::PositiveNumber);
  app.add_option(
         "--activation-maxima", flags.options.activation_maxima,
         "SmoothQuant with this safetensors file: a vector of the largest |x| of each input channel, under the module's name")
      ->type_name("FILE");
  app.add_option("--alpha", flags.options.alpha, "SmoothQuant: how much moves into the weights, 0 to 1, default 0.5")
      ->check(CLI::Range(0.0f, 1.0f));
  app.add_option("--smooth-map", flags.smooth_map,
                 "SmoothQuant: which linears read a norm, [{\"norm\": \"layers.{}.ln\", \"linears\": [...]}]; default: by "
                 "config.json's model_type")
      ->type_name("FILE");
  app.add_option("--threads", flags.options.threads, "number of threads, default one a core")->check(CLI::NonNegativeNumber);
  app.add_flag("--dry-run", flags.dry_run, "say what would be done to each tensor, and write nothing");
  app.add_option("--json", flags.json, "write the report as JSON, too; - is standard output, instead of the tables")
      ->type_name("FILE");
  app.add_flag("--quiet", flags.quiet, "no progress bar, no tables");
  app.allow_extras(false);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return fail(error.what(), 2);
  }
  return convert(flags);
}
