// Converting a checkpoint to W8A8: tensors stream through, a block of rows at a time, so that memory does not grow with the
// model.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "w8a8/io/atomic_file.hpp"
#include "w8a8/io/checkpoint.hpp"
#include "w8a8/io/convert_plan.hpp"
#include "w8a8/io/convert_record.hpp"
#include "w8a8/io/file_error.hpp"
#include "w8a8/io/json.hpp"
#include "w8a8/io/quantization_config.hpp"
#include "w8a8/io/row_blocks.hpp"
#include "w8a8/io/safetensors_writer.hpp"
#include "w8a8/io/smoothing.hpp"
#include "w8a8/io/smoothing_pass.hpp"
#include "w8a8/nn/convert.hpp"
#include "w8a8/quant/quantize.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/support/parallel.hpp"
#include "w8a8/tensor/tensor.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

struct ConvertReport {
  std::vector<ConvertedLayer> layers;
  std::vector<std::string> copied, left_out;  ///< other files of the directory
  std::size_t shards_written = 0, shards_kept = 0;
  std::size_t smoothed = 0;  ///< norms
};

namespace detail {

inline double decibels(double signal, double noise) {
  return noise > 0.0 ? 10.0 * std::log10(signal / noise) : std::numeric_limits<double>::infinity();
}

}  // namespace detail

/// A conversion of a directory's checkpoint into another directory. The constructor plans and checks; nothing is written before
/// run().
class CheckpointConverter {
 public:
  /// input, output: directories. Throws Error and FileError as Checkpoint, make_convert_plan and find_smoothing_groups do, and
  /// where one directory lies in the other, config.json says that the model is quantized, or the output directory is neither
  /// empty nor of a run with the same input and options.
  CheckpointConverter(const std::string& input, const std::string& output, ConvertOptions options)
      : input_(input), output_(output), options_(std::move(options)), checkpoint_(open(input, output)) {
    read_config();
    plan_ = make_convert_plan(checkpoint_, options_);
    if (!options_.activation_maxima.empty()) {
      smoothing_.emplace(checkpoint_, options_.activation_maxima, find_smoothing_groups(smoothing_rules(), checkpoint_),
                         options_.alpha, options_.threads);
    }
    record_ = detail::ConvertRecord(output, fingerprint());
  }
  CheckpointConverter(const CheckpointConverter&) = delete;
  CheckpointConverter& operator=(const CheckpointConverter&) = delete;

  const ConvertPlan& plan() const { return plan_; }
  const Checkpoint& checkpoint() const { return checkpoint_; }
  std::vector<SmoothingGroup> smoothing_groups() const {
    return smoothing_ ? smoothing_->groups() : std::vector<SmoothingGroup>();
  }

  /// The lines that quantization_config of the output's config.json is made of.
  Json quantization_config() const { return quantization_config_json({{"Linear"}, plan_.ignore}); }

  /// Converts; call it once. The output directory is made where it is not there; shards that a run before this one has finished
  /// are verified and kept. progress is told of each tensor. Throws FileError for output that cannot be written and for a weight
  /// that holds a NaN or an infinity; finished shards then stay for the next run.
  ConvertReport run(const nn::Progress& progress = {}) {
    ConvertReport report;
    record_.open();
    if (smoothing_) smoothing_->compute();
    report.smoothed = smoothing_ ? smoothing_->groups().size() : 0;
    std::size_t done = 0, next = 0;
    for (std::size_t shard = 0; shard < plan_.shards.size(); ++shard) {
      const std::size_t begin = next;
      while (next < plan_.tensors.size() && plan_.tensors[next].shard == shard) ++next;
      const std::string file = plan_.shards[shard].file;
      if (record_.keeps(file, report.layers)) {
        ++report.shards_kept;
        done += next - begin;
        if (progress && next > begin) progress(done, plan_.tensors.size(), file + " (kept)");
        continue;
      }
      SafetensorsWriter writer(out_path(file), plan_.shards[shard].tensors, {{"format", "pt"}});
      const std::size_t layers_before = report.layers.size();
      for (std::size_t i = begin; i < next; ++i) {
        const PlannedTensor& tensor = plan_.tensors[i];
        if (tensor.quantize) {
          report.layers.push_back(quantize(tensor, writer));
        } else {
          copy_tensor(tensor, writer);
        }
        if (progress) progress(++done, plan_.tensors.size(), tensor.entry->name);
      }
      writer.commit();
      ++report.shards_written;
      record_.add(file, report.layers, layers_before);
    }
    copy_files(report);
    Json config = config_;
    config["quantization_config"] = quantization_config();
    write_json(out_path("config.json"), config);
    if (plan_.shards.size() > 1) write_safetensors_index(out_path("model.safetensors.index.json"), index_of(plan_.shards));
    return report;
  }

 private:
  static Checkpoint open(const std::string& input, const std::string& output) {
    namespace fs = std::filesystem;
    std::error_code code;
    if (!fs::is_directory(input, code)) throw FileError(input, "is not a directory");
    // With a slash and without its empty last part: "out/" and "out" are one.
    const auto canonical = [](const std::string& path) {
      std::error_code fault;
      const fs::path whole = fs::weakly_canonical(path, fault);
      if (fault) throw FileError(path, "cannot be followed: " + fault.message());
      return (whole / "").parent_path();
    };
    const fs::path from = canonical(input), to = canonical(output);
    const auto within = [](const fs::path& inner, const fs::path& outer) {
      return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
    };
    if (within(from, to) || within(to, from)) {
      throw FileError(output, "lies in the input directory, is it, or holds it: the input is never overwritten");
    }
    return Checkpoint(input);
  }

  std::string in_path(const std::string& name) const { return (std::filesystem::path(input_) / name).string(); }
  std::string out_path(const std::string& name) const { return (std::filesystem::path(output_) / name).string(); }

  void read_config() {
    const std::string path = in_path("config.json");
    std::error_code code;
    config_ = std::filesystem::exists(path, code) ? read_json(path) : Json::object();
    if (!config_.is_object()) throw FileError(path, "is no object");
    for (const char* key : {"quantization_config", "compression_config"}) {
      if (config_.contains(key) && !config_[key].is_null())
        throw FileError(path, text("has a ", key, ": the model is quantized already"));
    }
  }

  /// Stands for everything that the output depends on.
  std::string fingerprint() const {
    namespace fs = std::filesystem;
    detail::Checksum sum;
    const auto add_file = [&](const std::string& path) {
      std::error_code code;
      sum.update(fs::path(path).filename().string());
      sum.update(text(fs::file_size(path, code), " ", fs::last_write_time(path, code).time_since_epoch().count()));
    };
    for (const SafetensorsFile& shard : checkpoint_.shards()) add_file(shard.path());
    for (const PlannedTensor& tensor : plan_.tensors) {
      sum.update(text(tensor.entry->name, " ", tensor.entry->dtype, " ", shape_text(tensor.entry->shape), " ", tensor.scale_dtype,
                      " ", tensor.shard));
    }
    if (smoothing_) {
      add_file(options_.activation_maxima);
      sum.update(text(float_bits(options_.alpha)));
      for (const SmoothingGroup& group : smoothing_->groups()) {
        sum.update(text(group.norm, " ", float_bits(group.offset)));
        for (const std::string& linear : group.linears) sum.update(linear);
      }
    }
    return sum.hex();
  }

  /// Copies everything but weights: tokenizers, generation settings, code, licences.
  void copy_files(ConvertReport& report) const {
    namespace fs = std::filesystem;
    std::error_code code;
    const auto options = fs::directory_options::skip_permission_denied;
    for (auto it = fs::recursive_directory_iterator(input_, options, code); !code && it != fs::recursive_directory_iterator();
         it.increment(code)) {
      const fs::path relative = it->path().lexically_relative(input_);
      const std::string name = it->path().filename().string();
      if (name[0] == '.') {  // .git, .cache
        if (it->is_directory(code)) it.disable_recursion_pending();
        continue;
      }
      if (!it->is_regular_file(code)) continue;
      if (relative == "config.json" || relative == "model.safetensors.index.json" || relative == convert_record_name) continue;
      if (is_weight_file(name)) {
        const bool converted =
            std::any_of(checkpoint_.shards().begin(), checkpoint_.shards().end(),
                        [&](const SafetensorsFile& shard) { return fs::equivalent(shard.path(), it->path()); });
        if (!converted && it->path().string() != checkpoint_.index_path()) report.left_out.push_back(relative.string());
        continue;
      }
      fs::create_directories((fs::path(output_) / relative).parent_path(), code);
      copy_file(it->path().string(), out_path(relative.string()));
      report.copied.push_back(relative.string());
    }
    if (code) throw FileError(input_, "cannot be listed: " + code.message());
    std::sort(report.copied.begin(), report.copied.end());
    std::sort(report.left_out.begin(), report.left_out.end());
  }

  static bool is_weight_file(const std::string& name) {
    for (const char* ending : {".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt", ".pth", ".ckpt",
                               ".h5", ".msgpack", ".onnx", ".gguf", ".ot", ".tflite"}) {
      const std::size_t length = std::strlen(ending);
      if (name.size() >= length && name.compare(name.size() - length, length, ending) == 0) return true;
    }
    return false;
  }

  static void copy_file(const std::string& from, const std::string& to) {
    const MappedFile source(from);
    AtomicFile file(to);
    file.write(0, source.data(), source.size());
    file.commit();
  }

  // ---- Tensors ----

  const std::vector<float>& factors_of(const std::string& module) const {
    static const std::vector<float> none;
    return smoothing_ ? smoothing_->factors_of(module) : none;
  }

  ConvertedLayer quantize(const PlannedTensor& tensor, SafetensorsWriter& writer) const {
    ConvertedLayer layer;
    detail::with_dtype(tensor.scale_dtype, [&](auto zero) { layer = quantize_with<decltype(zero)>(tensor, writer); });
    return layer;
  }

  template <class Scale>
  ConvertedLayer quantize_with(const PlannedTensor& tensor, SafetensorsWriter& writer) const {
    const SafetensorsEntry& entry = *tensor.entry;
    const std::int64_t rows = entry.shape[0], columns = entry.shape[1];
    Tensor<Scale, 1, Host> scales({rows});
    std::vector<double> signal(static_cast<std::size_t>(rows)), noise(static_cast<std::size_t>(rows));
    Tensor<std::int8_t, 1, Host> codes({detail::rows_of_block(rows, columns) * columns});
    detail::for_each_row_block(
        *tensor.file, entry, factors_of(tensor.module), options_.threads,
        [&](std::int64_t first, std::int64_t count, const float* weight) {
          const MatrixView<std::int8_t, Host> out(codes.data(), {count, columns});
          const VectorView<Scale, Host> scale(scales.data() + first, {count});
          quantize_per_channel(MatrixView<const float, Host>(weight, {count, columns}), out, scale, nullptr,
                               {8, false, options_.threads});
          parallel_for(count, options_.threads, [&](std::int64_t n) {
            const float step = to_float(scale(n));
            if (!std::isfinite(step)) {
              throw FileError(tensor.file->path(), entry.name,
                              step != step ? text("row ", first + n, " holds a NaN or an infinity: it cannot be quantized")
                                           : text("row ", first + n, " has a scale beyond ", dtype_name<Scale>()));
            }
            double s = 0.0, e = 0.0;
            for (std::int64_t k = 0; k < columns; ++k) {
              const double w = weight[n * columns + k], d = w - static_cast<double>(step) * out(n, k);
              s += w * w;
              e += d * d;
            }
            signal[static_cast<std::size_t>(first + n)] = s;
            noise[static_cast<std::size_t>(first + n)] = e;
          });
          writer.append(entry.name, codes.data(), static_cast<std::uint64_t>(count * columns));
        });
    writer.append(entry.name + "_scale", scales.data(), static_cast<std::uint64_t>(scales.bytes()));

    ConvertedLayer layer{tensor.module, entry.dtype, rows, columns, 0.0, 0, std::numeric_limits<double>::infinity()};
    double total_signal = 0.0, total_noise = 0.0;
    for (std::int64_t n = 0; n < rows; ++n) {
      const double s = signal[static_cast<std::size_t>(n)], e = noise[static_cast<std::size_t>(n)];
      total_signal += s;
      total_noise += e;
      if (detail::decibels(s, e) < layer.worst_snr_db) {
        layer.worst_snr_db = detail::decibels(s, e);
        layer.worst_channel = n;
      }
    }
    layer.snr_db = detail::decibels(total_signal, total_noise);
    return layer;
  }

  void copy_tensor(const PlannedTensor& tensor, SafetensorsWriter& writer) const {
    const SafetensorsEntry& entry = *tensor.entry;
    if (const auto* bytes = smoothing_ ? smoothing_->replacement(entry.name) : nullptr) {
      return writer.append(entry.name, bytes->data(), bytes->size());
    }
    if (const std::vector<float>& factors = factors_of(tensor.module); !factors.empty()) {
      return detail::with_dtype(entry.dtype, [&](auto zero) {
        using T = decltype(zero);
        std::vector<T> rounded;
        detail::for_each_row_block(*tensor.file, entry, factors, options_.threads,
                                   [&](std::int64_t, std::int64_t count, const float* weight) {
                                     rounded.resize(static_cast<std::size_t>(count * entry.shape[1]));
                                     for (std::size_t i = 0; i < rounded.size(); ++i) rounded[i] = from_float<T>(weight[i]);
                                     writer.append(entry.name, rounded.data(), rounded.size() * sizeof(T));
                                   });
      });
    }
    const TensorRef ref = tensor.file->ref(entry.name);
    for (std::uint64_t at = 0; at < ref.bytes; at += static_cast<std::uint64_t>(detail::row_block_bytes)) {
      const std::uint64_t count = min_of(static_cast<std::uint64_t>(detail::row_block_bytes), ref.bytes - at);
      writer.append(entry.name, static_cast<const char*>(ref.data) + at, count);
      tensor.file->release(entry.name, at, at + count);
    }
  }

  // ---- SmoothQuant ----

  std::vector<SmoothingRule> smoothing_rules() const {
    if (!options_.smoothing_rules.empty()) return options_.smoothing_rules;
    const Json& type = detail::member(config_, "model_type");
    const std::string name = type.is_string() ? type.get<std::string>() : "";
    std::vector<SmoothingRule> rules = smoothing_rules_of(name);
    if (rules.empty()) {
      throw FileError(in_path("config.json"), "its model_type, " + detail::quote(name) +
                                                  ", is none whose smoothing rules are known: say which norms feed which layers");
    }
    return rules;
  }

  std::string input_, output_;
  ConvertOptions options_;
  Checkpoint checkpoint_;
  ConvertPlan plan_;
  Json config_;
  std::optional<detail::SmoothingPass> smoothing_;
  detail::ConvertRecord record_;
};

}  // namespace w8a8
