// quickstart: one linear layer from floating-point weights in a file to INT8, on the GPU, or on the CPU where there is none.
//
// Prints what it cost (SNR and worst error against FP64) and what it brought (bytes, time a call). Exit codes: 0; 1 where the
// device fails; 2 for flags and files that cannot be used, with one line on standard error.
#include <cuda_runtime_api.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "accuracy.hpp"
#include "generator.hpp"
#include "w8a8/io/safetensors.hpp"
#include "w8a8/io/safetensors_writer.hpp"
#include "w8a8/nn/w8a8_linear.cuh"
#include "w8a8/support/device.hpp"

namespace {

using w8a8::Device;
using w8a8::half;
using w8a8::Host;
using w8a8::Tensor;

constexpr const char* default_file = "w8a8_quickstart.safetensors";
constexpr const char* default_tensor = "model.layers.0.mlp.down_proj.weight";
constexpr const char* default_input = "input";
constexpr std::int64_t default_in_features = 4096, default_out_features = 4096;

struct Flags {
  std::string checkpoint, tensor, device = "auto";
  std::int64_t tokens = 64;
  std::uint64_t seed = 1;
  bool json = false, list = false;
};

struct Result {
  std::string checkpoint, tensor, dtype, device;
  bool bias = false;
  std::int64_t tokens = 0, in_features = 0, out_features = 0, bytes_before = 0, bytes_after = 0;
  quickstart::Accuracy accuracy;
  double us = 0.0;

  double tops() const {
    return 2e-6 * static_cast<double>(tokens) * static_cast<double>(in_features) * static_cast<double>(out_features) / us;
  }
};

// ---- The file ---------------------------------------------------------------------------------------------------------------

void write_default_file(const Flags& flags) {
  const auto linear = quickstart::make_linear(flags.seed, default_in_features, default_out_features);
  const auto input = quickstart::make_activations(flags.seed, flags.tokens, default_in_features);
  const std::string prefix = std::string(default_tensor).substr(0, std::string(default_tensor).rfind('.'));
  w8a8::write_safetensors(default_file,
                          {{default_tensor, tensor_ref(linear.weight.view())},
                           {prefix + ".bias", tensor_ref(linear.bias.view())},
                           {default_input, tensor_ref(input.view())}},
                          {{"generator", "w8a8 quickstart"}, {"seed", std::to_string(flags.seed)}});
}

bool is_floating(const w8a8::SafetensorsEntry& entry) {
  return entry.dtype == "F32" || entry.dtype == "F16" || entry.dtype == "BF16";
}

/// The weight asked for, or the only one there is.
const w8a8::SafetensorsEntry& find_weight(const w8a8::SafetensorsFile& file, const std::string& name) {
  const w8a8::SafetensorsEntry* found = nullptr;
  if (!name.empty()) {
    found = &file.find(name);
  } else {
    for (const w8a8::SafetensorsEntry& entry : file.tensors()) {
      if (!is_floating(entry) || entry.shape.size() != 2) continue;
      if (found != nullptr)
        throw w8a8::FileError(file.path(), "holds several matrices: choose one with --tensor (--list shows them)");
      found = &entry;
    }
    if (found == nullptr) throw w8a8::FileError(file.path(), "holds no matrix of dtype F32, F16 or BF16");
  }
  if (!is_floating(*found))
    throw w8a8::FileError(file.path(), found->name, "its dtype is " + found->dtype + ", expected F32, F16 or BF16");
  if (found->shape.size() != 2 || found->shape[0] == 0 || found->shape[1] == 0) {
    throw w8a8::FileError(file.path(), found->name,
                          "its shape is " + w8a8::shape_text(found->shape) + ", expected a matrix with elements");
  }
  return *found;
}

/// The layer whose weight `entry` is; "x.bias" beside "x.weight" is its bias where the length fits.
template <class T>
w8a8::nn::Linear<T> load_linear(const w8a8::SafetensorsFile& file, const w8a8::SafetensorsEntry& entry) {
  w8a8::nn::Linear<T> linear;
  linear.weight = file.load<T, 2>(entry.name);
  const std::string suffix = ".weight";
  if (entry.name.size() > suffix.size() && entry.name.compare(entry.name.size() - suffix.size(), suffix.size(), suffix) == 0) {
    const std::string bias = entry.name.substr(0, entry.name.size() - suffix.size()) + ".bias";
    if (file.contains(bias) && file.find(bias).shape == std::vector<std::int64_t>{entry.shape[0]} &&
        is_floating(file.find(bias))) {
      linear.bias = file.load_as<T, 1>(bias);
    }
  }
  return linear;
}

void print_list(const w8a8::SafetensorsFile& file, bool json) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  std::size_t width = 0;
  for (const auto& entry : file.tensors()) width = std::max(width, entry.name.size());
  for (const auto& entry : file.tensors()) {
    rows.push_back({{"name", entry.name}, {"dtype", entry.dtype}, {"shape", entry.shape}, {"bytes", entry.end - entry.begin}});
    if (!json)
      std::cout << std::left << std::setw(static_cast<int>(width)) << entry.name << "  " << std::setw(5) << entry.dtype
                << w8a8::shape_text(entry.shape) << "\n";
  }
  if (json) std::cout << rows.dump(2) << "\n";
}

// ---- The run ----------------------------------------------------------------------------------------------------------------

template <class F>
double seconds(F&& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

/// Microseconds a call: the median over CPU calls.
template <class Call>
double time_call(Host, const Call& call) {
  std::vector<double> samples;
  double total = 0.0;
  while (samples.size() < 3 || (total < 0.5 && samples.size() < 50)) {
    samples.push_back(seconds([&] { call(nullptr); }));
    total += samples.back();
  }
  return 1e6 * median(samples);
}

/// Microseconds a call: the median over launches of a CUDA graph of 20 calls.
template <class Call>
double time_call(Device, const Call& call) {
  constexpr int calls = 20, launches = 9;
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  cudaEvent_t begin = nullptr, end = nullptr;
  w8a8::check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  w8a8::check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "cudaStreamBeginCapture");
  for (int i = 0; i < calls; ++i) call(stream);
  w8a8::check_cuda(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  w8a8::check_cuda(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  w8a8::check_cuda(cudaEventCreate(&begin), "cudaEventCreate");
  w8a8::check_cuda(cudaEventCreate(&end), "cudaEventCreate");
  std::vector<double> samples;
  for (int i = 0; i <= launches; ++i) {
    w8a8::check_cuda(cudaEventRecord(begin, stream), "cudaEventRecord");
    w8a8::check_cuda(cudaGraphLaunch(executable, stream), "cudaGraphLaunch");
    w8a8::check_cuda(cudaEventRecord(end, stream), "cudaEventRecord");
    w8a8::check_cuda(cudaEventSynchronize(end), "cudaEventSynchronize");
    float milliseconds = 0.0f;
    w8a8::check_cuda(cudaEventElapsedTime(&milliseconds, begin, end), "cudaEventElapsedTime");
    if (i > 0) samples.push_back(1e3 * static_cast<double>(milliseconds) / calls);  // the first launch warms up
  }
  cudaEventDestroy(end);
  cudaEventDestroy(begin);
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
  return median(samples);
}

/// Quantizes the layer, runs it on x in `Space`, and compares.
template <class Space, class T>
void run_layer(const w8a8::nn::Linear<T>& linear, const Tensor<half, 2, Host>& x, Result& result) {
  const auto layer = w8a8::W8A8OF16LinearDynamicInputScale<half, Space>::from_linear(linear);
  const auto input = w8a8::clone_to<Space>(x.view());
  Tensor<half, 2, Space> output({x.extent(0), linear.out_features()});
  Tensor<std::byte, 1, Space> workspace({static_cast<std::int64_t>(layer.forward_workspace_bytes(x.extent(0)))});
  layer.forward(input.view(), output.view(), workspace.view());
  const auto y = w8a8::clone_to<Host>(w8a8::MatrixView<const half, Space>(output.view()));

  result.bias = linear.has_bias();
  result.bytes_before = linear.weight.bytes() + (linear.has_bias() ? linear.bias.bytes() : 0);
  result.bytes_after = layer.weight.bytes() + layer.dequant_scale.bytes() + (layer.has_bias() ? layer.bias.bytes() : 0);
  result.accuracy = quickstart::compare_with_fp64(linear, x.view(), y.view());
  result.us =
      time_call(Space{}, [&](cudaStream_t stream) { layer.forward(input.view(), output.view(), workspace.view(), {}, stream); });
}

template <class T>
void run(const w8a8::SafetensorsFile& file, const w8a8::SafetensorsEntry& entry, const Tensor<half, 2, Host>& x, bool on_gpu,
         Result& result) {
  const auto linear = load_linear<T>(file, entry);
  if (on_gpu) {
    run_layer<Device>(linear, x, result);
  } else {
    run_layer<Host>(linear, x, result);
  }
}

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  std::string line, name = "CPU";
  while (std::getline(info, line)) {
    if (line.rfind("model name", 0) == 0 && line.find(": ") != std::string::npos) {
      name = line.substr(line.find(": ") + 2);
      break;
    }
  }
  const int threads = w8a8::thread_count(0);
  return name + ", " + std::to_string(threads) + (threads == 1 ? " thread" : " threads") + " (CPU backend)";
}

// ---- The output -------------------------------------------------------------------------------------------------------------

std::string number(double value, int digits) {
  std::ostringstream out;
  if (std::abs(value) >= std::pow(10.0, digits))
    out << std::fixed << std::setprecision(0);  // 35130, not 3.513e+04
  else
    out << std::setprecision(digits);
  out << value;
  return out.str();
}

void print_table(const Result& r) {
  const auto row = [](const char* name, const std::string& value) {
    std::cout << "  " << std::left << std::setw(15) << name << value << "\n";
  };
  std::cout << "w8a8 quickstart: one linear layer in INT8\n";
  row("checkpoint", r.checkpoint);
  row("tensor", r.tensor + " (" + r.dtype + (r.bias ? ", with bias)" : ", no bias)"));
  row("device", r.device);
  row("shape", w8a8::text(r.tokens, " tokens, ", r.in_features, " -> ", r.out_features));
  row("bytes before", w8a8::text(r.bytes_before));
  row("bytes after",
      w8a8::text(r.bytes_after, " (", number(100.0 * static_cast<double>(r.bytes_after) / static_cast<double>(r.bytes_before), 3),
                 "%)"));
  row("SNR", number(r.accuracy.snr_db, 4) + " dB against FP64");
  row("worst error",
      number(r.accuracy.worst_error, 3) + " against FP64, where the largest output is " + number(r.accuracy.largest_output, 3));
  row("time a call", number(r.us, 4) + " us, " + number(r.tops(), 3) + " TOPS (quantize the tokens, multiply, dequantize)");
}

void print_json(const Result& r) {
  const nlohmann::ordered_json out = {{"checkpoint", r.checkpoint},
                                      {"tensor", r.tensor},
                                      {"dtype", r.dtype},
                                      {"bias", r.bias},
                                      {"device", r.device},
                                      {"tokens", r.tokens},
                                      {"in_features", r.in_features},
                                      {"out_features", r.out_features},
                                      {"bytes_before", r.bytes_before},
                                      {"bytes_after", r.bytes_after},
                                      {"snr_db", r.accuracy.snr_db},
                                      {"worst_error", r.accuracy.worst_error},
                                      {"largest_output", r.accuracy.largest_output},
                                      {"us", r.us},
                                      {"tops", r.tops()}};
  std::cout << out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

bool use_gpu(const std::string& device) {
  if (device == "cpu") return false;
  const bool found = w8a8::has_cuda_device();
  if (device == "gpu" && !found) throw w8a8::Error("quickstart", "--device", "a CUDA device", "none");
  return found && (device == "gpu" || w8a8::current_device().compute_capability >= 80);
}

void quickstart_main(const Flags& flags) {
  const bool own_file = flags.checkpoint.empty();
  const std::string path = own_file ? default_file : flags.checkpoint;
  const bool on_gpu = !flags.list && use_gpu(flags.device);
  if (own_file) write_default_file(flags);
  const w8a8::SafetensorsFile file(path);
  if (flags.list) return print_list(file, flags.json);

  const w8a8::SafetensorsEntry& entry = find_weight(file, own_file && flags.tensor.empty() ? default_tensor : flags.tensor);
  Result result;
  result.checkpoint = own_file ? path + " (written just now, seed " + std::to_string(flags.seed) + ")" : path;
  result.tensor = entry.name;
  result.dtype = entry.dtype;
  result.tokens = flags.tokens;
  result.out_features = entry.shape[0];
  result.in_features = entry.shape[1];
  if (result.in_features > w8a8::maximum_k) {
    throw w8a8::FileError(path, entry.name,
                          w8a8::text("has ", result.in_features, " input features, more than ", w8a8::maximum_k));
  }
  result.device = on_gpu ? w8a8::device_name(w8a8::current_device().ordinal) : cpu_name();
  const bool own_input = own_file && entry.name == default_tensor;
  const auto x =
      own_input ? file.load<half, 2>(default_input) : quickstart::make_activations(flags.seed, flags.tokens, result.in_features);
  if (entry.dtype == "F32") run<float>(file, entry, x, on_gpu, result);
  if (entry.dtype == "F16") run<half>(file, entry, x, on_gpu, result);
  if (entry.dtype == "BF16") run<w8a8::bfloat16>(file, entry, x, on_gpu, result);
  if (flags.json) {
    print_json(result);
  } else {
    print_table(result);
  }
}

int fail(std::string message, int code) {
  for (char& c : message) c = c == '\n' ? ' ' : c;
  std::cerr << "quickstart: " << message << "\n";
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Quantizes one linear layer to INT8, runs it, and compares it with FP64.", "quickstart");
  app.add_option("--checkpoint", flags.checkpoint, w8a8::text("safetensors file; default: writes and loads ./", default_file))
      ->type_name("FILE");
  app.add_option("--tensor", flags.tensor, "name of a weight in the file, out_features x in_features")->type_name("NAME");
  app.add_option("--tokens", flags.tokens, "tokens to run, 64 if not given")
      ->type_name("M")
      ->check(CLI::Range(1, 65536).description(""));
  app.add_option("--seed", flags.seed, "seed of the generated numbers, 1 if not given")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--device", flags.device, "auto, gpu or cpu")
      ->type_name("WHERE")
      ->check(CLI::IsMember({"auto", "gpu", "cpu"}).description(""));
  app.add_flag("--json", flags.json, "print JSON");
  app.add_flag("--list", flags.list, "list the file's tensors and stop");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    return 0;
  } catch (const CLI::ParseError& error) {
    return fail(error.what(), 2);
  }
  try {
    quickstart_main(flags);
    std::cout.flush();
    return std::cout ? 0 : 1;
  } catch (const w8a8::CudaError& error) {
    return fail(error.what(), 1);
  } catch (const w8a8::Error& error) {
    return fail(error.what(), 2);
  } catch (const std::exception& error) {
    return fail(error.what(), 1);
  }
}
