// Converting a checkpoint to W8A8: tensors stream through, a block of rows at a time, so that memory does not grow with the
// model.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "w8a8/io/atomic_file.hpp"
#include "w8a8/io/checkpoint.hpp"
#include "w8a8/io/convert_plan.hpp"
#include "w8a8/io/file_error.hpp"
#include "w8a8/io/json.hpp"
#include "w8a8/io/quantization_config.hpp"
#include "w8a8/io/safetensors_writer.hpp"
#include "w8a8/io/smoothing.hpp"
#include "w8a8/nn/convert.hpp"
#include "w8a8/quant/quantize.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/support/parallel.hpp"
#include "w8a8/tensor/tensor.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

/// What quantization cost one layer's weight (smoothed, where it is): signal-to-noise ratios in dB, infinite where nothing was
/// lost.
struct ConvertedLayer {
  std::string name;   ///< of the module
  std::string dtype;  ///< of its weight before
  std::int64_t out_features = 0, in_features = 0;
  double snr_db = 0.0;
  std::int64_t worst_channel = 0;  ///< the output channel with the lowest ratio
  double worst_snr_db = 0.0;
};

struct ConvertReport {
  std::vector<ConvertedLayer> layers;
  std::vector<std::string> copied, left_out;  ///< other files of the directory
  std::size_t shards_written = 0, shards_kept = 0;
  std::size_t smoothed = 0;  ///< norms
};

/// The name of the file in the output directory that says what is done and with what options: a run that was cut off goes on from
/// there, and a finished checkpoint keeps it as its record.
inline constexpr const char* convert_record_name = "w8a8_convert.json";

namespace detail {

/// A sum over bytes, 8 at a time, that changes with every bit: against accidents, not against forgers. It does not depend on how
/// the bytes are cut into calls of update(), as long as all but the last are multiples of 8.
class Checksum {
 public:
  void update(const void* data, std::size_t bytes) {
    const char* from = static_cast<const char*>(data);
    for (; bytes > 0;) {
      std::uint64_t word = 0;
      const std::size_t count = min_of<std::size_t>(bytes, sizeof word);
      std::memcpy(&word, from, count);
      state_ = (state_ ^ word) * 0x9e3779b97f4a7c15u;
      state_ ^= state_ >> 29;
      from += count;
      bytes -= count;
    }
  }
  void update(const std::string& text) {
    const std::uint64_t length = text.size();
    update(&length, sizeof length);
    update(text.data(), text.size());
  }

  std::string hex() const {
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(state_));
    return digits;
  }

 private:
  std::uint64_t state_ = 0x2545f4914f6cdd1du;
};

/// The checksum of a file's bytes, or an empty text where it cannot be read.
inline std::string file_checksum(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> buffer(1 << 20);
  Checksum sum;
  while (file) {
    file.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    sum.update(buffer.data(), static_cast<std::size_t>(file.gcount()));
  }
  return file.eof() ? sum.hex() : "";
}

/// to[i] = from[i] * factors[i % columns] as floats (factors empty: 1), from any alignment.
template <class T>
void widen_rows(const std::byte* from, float* to, std::int64_t rows, std::int64_t columns, const std::vector<float>& factors,
                int threads) {
  parallel_for(rows, threads, [&](std::int64_t row) {
    const std::byte* source = from + static_cast<std::size_t>(row * columns) * sizeof(T);
    float* out = to + row * columns;
    for (std::int64_t k = 0; k < columns; ++k, source += sizeof(T)) {
      T element;
      std::memcpy(static_cast<void*>(&element), source, sizeof element);
      out[k] = to_float(element);
    }
    if (factors.empty()) return;
    for (std::int64_t k = 0; k < columns; ++k) out[k] = multiply(out[k], factors[static_cast<std::size_t>(k)]);
  });
}

inline double decibels(double signal, double noise) {
  return noise > 0.0 ? 10.0 * std::log10(signal / noise) : std::numeric_limits<double>::infinity();
}

inline Json layer_json(const ConvertedLayer& layer) {
  const auto number = [](double db) { return std::isfinite(db) ? Json(db) : Json(nullptr); };
  return {{"name", layer.name},
          {"dtype", layer.dtype},
          {"out_features", layer.out_features},
          {"in_features", layer.in_features},
          {"snr_db", number(layer.snr_db)},
          {"worst_channel", layer.worst_channel},
          {"worst_snr_db", number(layer.worst_snr_db)}};
}

inline ConvertedLayer layer_from_json(const Json& json) {
  const auto number = [](const Json& db) { return db.is_null() ? std::numeric_limits<double>::infinity() : db.get<double>(); };
  return {json.at("name").get<std::string>(),
          json.at("dtype").get<std::string>(),
          json.at("out_features").get<std::int64_t>(),
          json.at("in_features").get<std::int64_t>(),
          number(json.at("snr_db")),
          json.at("worst_channel").get<std::int64_t>(),
          number(json.at("worst_snr_db"))};
}

/// What SmoothQuant changes: the factors of each linear layer's input channels, and the norms' new parameters.
struct Smoothing {
  std::vector<std::vector<float>> factors;              // one a group
  std::map<std::string, std::size_t> group_of;          // linear module to its group
  std::map<std::string, std::vector<std::byte>> norms;  // tensor to its new bytes
};

}  // namespace detail

/// A conversion of a directory's checkpoint into another directory. The constructor plans and checks; nothing is written before
/// run().
class CheckpointConverter {
 public:
  /// input, output: directories. Throws Error and FileError as Checkpoint, make_convert_plan and find_smoothing_groups do, and
  /// where one directory lies in the other, or config.json says that the model is quantized.
  CheckpointConverter(const std::string& input, const std::string& output, ConvertOptions options)
      : input_(input), output_(output), options_(std::move(options)), checkpoint_(open(input, output)) {
    read_config();
    plan_ = make_convert_plan(checkpoint_, options_);
    if (!options_.activation_maxima.empty()) {
      groups_ = find_smoothing_groups(smoothing_rules(), checkpoint_);
      maxima_.emplace_back(options_.activation_maxima);
      smoothing_factors({}, {}, options_.alpha);  // checks alpha
      for (const SmoothingGroup& group : groups_) check_group(group);
    }
    record_ = read_record();
  }

  const ConvertPlan& plan() const { return plan_; }
  const Checkpoint& checkpoint() const { return checkpoint_; }
  const std::vector<SmoothingGroup>& smoothing_groups() const { return groups_; }

  /// The lines that quantization_config of the output's config.json is made of.
  Json quantization_config() const { return quantization_config_json({{"Linear"}, plan_.ignore}); }

  /// Converts. An output directory that is not there is made; one that is there must be empty or hold a run with the same input
  /// and options, whose finished shards are verified and kept. progress is told of each tensor. Throws FileError for output that
  /// cannot be written or is somebody else's, and for a weight that holds a NaN or an infinity; finished shards then stay for the
  /// next run.
  ConvertReport run(const nn::Progress& progress = {}) {
    ConvertReport report;
    open_output();
    if (!groups_.empty()) smooth();
    report.smoothed = groups_.size();
    std::size_t done = 0, next = 0;
    for (std::size_t shard = 0; shard < plan_.shards.size(); ++shard) {
      const std::size_t begin = next;
      while (next < plan_.tensors.size() && plan_.tensors[next].shard == shard) ++next;
      const std::string file = plan_.shards[shard].file;
      if (keep_shard(file, report)) {
        ++report.shards_kept;
        done += next - begin;
        if (progress && next > begin) progress(done, plan_.tensors.size(), file + " (kept)");
        continue;
      }
      SafetensorsWriter writer(out_path(file), plan_.shards[shard].tensors, {{"format", "pt"}});
      Json layers = Json::array();
      for (std::size_t i = begin; i < next; ++i) {
        const PlannedTensor& tensor = plan_.tensors[i];
        if (tensor.quantize) {
          report.layers.push_back(quantize(tensor, writer));
          layers.push_back(detail::layer_json(report.layers.back()));
        } else {
          copy_tensor(tensor, writer);
        }
        if (progress) progress(++done, plan_.tensors.size(), tensor.entry->name);
      }
      writer.commit();
      ++report.shards_written;
      record_["shards"][file] = {{"checksum", detail::file_checksum(out_path(file))}, {"layers", layers}};
      write_json(out_path(convert_record_name), record_);
    }
    copy_files(report);
    Json config = config_;
    config["quantization_config"] = quantization_config();
    write_json(out_path("config.json"), config);
    if (plan_.shards.size() > 1) write_safetensors_index(out_path("model.safetensors.index.json"), index_of(plan_.shards));
    return report;
  }

 private:
  // Rows go through in blocks of about this many bytes of floats.
  static constexpr std::int64_t block_bytes = 32 << 20;

  static Checkpoint open(const std::string& input, const std::string& output) {
    namespace fs = std::filesystem;
    std::error_code code;
    if (!fs::is_directory(input, code)) throw FileError(input, "is not a directory");
    // With a slash and without its empty last part: "out/" and "out" are one.
    const auto canonical = [](const std::string& path) { return (fs::weakly_canonical(path) / "").parent_path(); };
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

  // ---- The output directory and the record of what is done ----

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
    if (!groups_.empty()) {
      add_file(options_.activation_maxima);
      sum.update(text(float_bits(options_.alpha)));
      for (const SmoothingGroup& group : groups_) {
        sum.update(text(group.norm, " ", float_bits(group.offset)));
        for (const std::string& linear : group.linears) sum.update(linear);
      }
    }
    return sum.hex();
  }

  /// What an AtomicFile of a process that was killed leaves: "name.tmp-<process>-<number>".
  static bool is_leftover(const std::string& name) {
    const std::size_t mark = name.rfind(".tmp-");
    return mark != std::string::npos && mark > 0 && name.find_first_not_of("0123456789-", mark + 5) == std::string::npos;
  }

  /// The record of the output directory, or a new one where there is none yet.
  Json read_record() const {
    namespace fs = std::filesystem;
    const Json fresh = {{"program", "w8a8_convert"},
                        {"version", text(W8A8_VERSION_MAJOR, ".", W8A8_VERSION_MINOR, ".", W8A8_VERSION_PATCH)},
                        {"fingerprint", fingerprint()},
                        {"shards", Json::object()}};
    std::error_code code;
    if (!fs::exists(output_, code)) return fresh;
    if (!fs::is_directory(output_, code)) throw FileError(output_, "is not a directory");
    const fs::directory_iterator files(output_, code);
    const bool empty = std::all_of(
        begin(files), end(files), [](const fs::directory_entry& entry) { return is_leftover(entry.path().filename().string()); });
    if (empty) return fresh;
    const std::string path = out_path(convert_record_name);
    if (!fs::exists(path, code)) {
      throw FileError(output_,
                      text("is not empty and holds no ", convert_record_name, " to go on from: choose another directory"));
    }
    const Json record = read_json(path);
    if (!record.is_object() || !detail::member(record, "shards").is_object())
      throw FileError(path, "is no record of a conversion");
    for (const char* key : {"program", "version", "fingerprint"}) {
      if (detail::member(record, key) != fresh[key]) {
        throw FileError(path, text("is of a conversion with other input, options or version (", key,
                                   " differs): choose another directory, or remove this one"));
      }
    }
    return record;
  }

  /// Makes the directory where it is not there; removes what a run that was killed left half written.
  void open_output() const {
    namespace fs = std::filesystem;
    std::error_code code;
    fs::create_directories(output_, code);
    if (code) throw FileError(output_, "cannot be made: " + code.message());
    write_json(out_path(convert_record_name), record_);
    std::vector<fs::path> leftovers;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(output_, code)) {
      if (is_leftover(entry.path().filename().string())) leftovers.push_back(entry.path());
    }
    for (const fs::path& each : leftovers) fs::remove(each, code);
  }

  /// True where the record says that the shard is done, and it is there as it was written; then its layers join the report.
  bool keep_shard(const std::string& file, ConvertReport& report) const {
    const Json& entry = detail::member(record_["shards"], file.c_str());
    if (entry.is_null()) return false;
    try {
      const auto checksum = entry.at("checksum").get<std::string>();
      std::vector<ConvertedLayer> layers;
      for (const Json& layer : entry.at("layers")) layers.push_back(detail::layer_from_json(layer));
      if (checksum.empty() || detail::file_checksum(out_path(file)) != checksum) return false;
      report.layers.insert(report.layers.end(), layers.begin(), layers.end());
      return true;
    } catch (const Json::exception&) {
      return false;
    }
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

  /// Calls f(first row, rows, floats) for one block of rows of a matrix after another.
  template <class F>
  void for_each_block(const SafetensorsFile& file, const SafetensorsEntry& entry, const std::vector<float>& factors,
                      F&& f) const {
    const std::int64_t rows = entry.shape[0], columns = entry.shape[1];
    const std::int64_t block = min_of(rows, max_of<std::int64_t>(1, block_bytes / (4 * columns)));
    const TensorRef ref = file.ref(entry.name);
    Tensor<float, 2, Host> floats({block, columns});
    detail::with_dtype(entry.dtype, [&](auto zero) {
      using T = decltype(zero);
      const auto row_bytes = static_cast<std::uint64_t>(columns) * sizeof(T);
      for (std::int64_t row = 0; row < rows; row += block) {
        const std::int64_t count = min_of(block, rows - row);
        const std::uint64_t offset = static_cast<std::uint64_t>(row) * row_bytes;
        detail::widen_rows<T>(static_cast<const std::byte*>(ref.data) + offset, floats.data(), count, columns, factors,
                              options_.threads);
        f(row, count, floats.data());
        file.release(entry.name, offset, offset + static_cast<std::uint64_t>(count) * row_bytes);
      }
    });
  }

  const std::vector<float>& factors_of(const std::string& module) const {
    static const std::vector<float> none;
    const auto found = smoothing_.group_of.find(module);
    return found == smoothing_.group_of.end() ? none : smoothing_.factors[found->second];
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
    Tensor<std::int8_t, 1, Host> codes({min_of(rows * columns, max_of<std::int64_t>(columns, block_bytes / 4))});
    for_each_block(
        *tensor.file, entry, factors_of(tensor.module), [&](std::int64_t first, std::int64_t count, const float* weight) {
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
    const auto norm = smoothing_.norms.find(entry.name);
    if (norm != smoothing_.norms.end()) return writer.append(entry.name, norm->second.data(), norm->second.size());
    if (const std::vector<float>& factors = factors_of(tensor.module); !factors.empty()) {
      return detail::with_dtype(entry.dtype, [&](auto zero) {
        using T = decltype(zero);
        std::vector<T> rounded;
        for_each_block(*tensor.file, entry, factors, [&](std::int64_t, std::int64_t count, const float* weight) {
          rounded.resize(static_cast<std::size_t>(count * entry.shape[1]));
          for (std::size_t i = 0; i < rounded.size(); ++i) rounded[i] = from_float<T>(weight[i]);
          writer.append(entry.name, rounded.data(), rounded.size() * sizeof(T));
        });
      });
    }
    const TensorRef ref = tensor.file->ref(entry.name);
    for (std::uint64_t at = 0; at < ref.bytes; at += static_cast<std::uint64_t>(block_bytes)) {
      const std::uint64_t count = min_of(static_cast<std::uint64_t>(block_bytes), ref.bytes - at);
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

  /// Everything about a group that can be wrong.
  void check_group(const SmoothingGroup& group) const {
    const std::string norm = group.norm + ".weight";
    const SafetensorsEntry& entry = checkpoint_.find(norm);
    if (entry.shape.size() != 1 || !detail::is_floating_dtype(entry.dtype)) {
      throw FileError(checkpoint_.shard(norm).path(), norm,
                      "is no norm's weight: " + entry.dtype + " of shape " + shape_text(entry.shape));
    }
    const std::string bias = group.norm + ".bias";
    if (checkpoint_.contains(bias) &&
        (checkpoint_.find(bias).shape != entry.shape || !detail::is_floating_dtype(checkpoint_.find(bias).dtype))) {
      throw FileError(checkpoint_.shard(bias).path(), bias, "does not fit the norm's weight");
    }
    for (const std::string& linear : group.linears) {
      const std::string weight = linear + ".weight";
      const SafetensorsEntry& matrix = checkpoint_.find(weight);
      if (matrix.shape.size() != 2 || matrix.shape[1] != entry.shape[0] || !detail::is_floating_dtype(matrix.dtype)) {
        throw FileError(checkpoint_.shard(weight).path(), weight,
                        text("is ", matrix.dtype, " of shape ", shape_text(matrix.shape), ", and its norm has ", entry.shape[0],
                             " channels"));
      }
    }
    activation_maxima_of(group, entry.shape[0]);
  }

  /// The largest magnitude of each channel: what the file says under the norm's name or any of the linear modules'.
  std::vector<float> activation_maxima_of(const SmoothingGroup& group, std::int64_t channels) const {
    const Checkpoint& maxima = maxima_[0];
    std::vector<std::string> names = group.linears;
    names.push_back(group.norm);
    std::vector<float> largest;
    for (const std::string& name : names) {
      if (!maxima.contains(name)) continue;
      const Tensor<float, 1, Host> found = maxima.load_as<float, 1>(name);
      if (found.extent(0) != channels) {
        throw FileError(maxima.shard(name).path(), name, text("its length is ", found.extent(0), ", expected ", channels));
      }
      largest.resize(static_cast<std::size_t>(channels), 0.0f);
      for (std::int64_t k = 0; k < channels; ++k) {
        if (!(found(k) >= 0.0f) || std::isinf(found(k))) {
          throw FileError(maxima.shard(name).path(), name,
                          text("holds ", found(k), " for channel ", k, ", expected a finite maximum >= 0"));
        }
        largest[static_cast<std::size_t>(k)] = max_of(largest[static_cast<std::size_t>(k)], found(k));
      }
    }
    if (largest.empty()) {
      throw FileError(maxima.path(), group.norm,
                      "has no maxima, nor has a linear module behind it, such as " + detail::quote(group.linears[0]));
    }
    return largest;
  }

  void smooth() {
    smoothing_ = {};
    for (const SmoothingGroup& group : groups_) {
      const std::string norm = group.norm + ".weight", bias = group.norm + ".bias";
      const SafetensorsEntry& entry = checkpoint_.find(norm);
      const std::vector<float> activations = activation_maxima_of(group, entry.shape[0]);
      std::vector<float> weights(activations.size(), 0.0f);
      for (const std::string& linear : group.linears) {
        const SafetensorsEntry& matrix = checkpoint_.find(linear + ".weight");
        const std::int64_t columns = matrix.shape[1];
        if (columns == 0) continue;
        for_each_block(checkpoint_.shard(linear + ".weight"), matrix, {},
                       [&](std::int64_t, std::int64_t count, const float* weight) {
                         for (std::int64_t i = 0; i < count; ++i) {
                           for (std::int64_t k = 0; k < columns; ++k) {
                             float& largest = weights[static_cast<std::size_t>(k)];
                             largest = max_of(largest, std::fabs(weight[i * columns + k]));
                           }
                         }
                       });
        smoothing_.group_of[linear] = smoothing_.factors.size();
      }
      std::vector<float> factors = smoothing_factors(activations, weights, options_.alpha);
      replace_vector(norm, [&](auto* weight) { divide_norm(weight, group.offset, factors); });
      if (checkpoint_.contains(bias)) {
        replace_vector(bias, [&](auto* value) {
          using T = std::remove_pointer_t<decltype(value)>;
          for (std::size_t k = 0; k < factors.size(); ++k) value[k] = from_float<T>(divide(to_float(value[k]), factors[k]));
        });
      }
      smoothing_.factors.push_back(std::move(factors));
    }
  }

  /// Keeps new elements of a vector for when it is written: a copy of the old ones, changed by f.
  template <class F>
  void replace_vector(const std::string& name, F&& f) {
    const SafetensorsEntry& entry = checkpoint_.find(name);
    detail::with_dtype(entry.dtype, [&](auto zero) {
      using T = decltype(zero);
      Tensor<T, 1, Host> vector = checkpoint_.load<T, 1>(name);
      f(vector.data());
      const auto* bytes = reinterpret_cast<const std::byte*>(vector.data());
      smoothing_.norms[name] = std::vector<std::byte>(bytes, bytes + vector.bytes());
    });
  }

  std::string input_, output_;
  ConvertOptions options_;
  Checkpoint checkpoint_;
  ConvertPlan plan_;
  Json config_, record_;
  std::vector<SmoothingGroup> groups_;
  std::vector<Checkpoint> maxima_;  // none or one
  detail::Smoothing smoothing_;
};

}  // namespace w8a8
