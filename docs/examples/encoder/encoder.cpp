// encoder: sentence embeddings of a published BERT encoder (all-MiniLM-L6-v2), in FP32 and in INT8, on the CPU; what INT8 costs
// each layer and the embeddings. --check fails where that is more than it should be.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bert.hpp"
#include "w8a8/nn/calibrate.hpp"
#include "w8a8/nn/fake_w8a8_linear.hpp"
#include "w8a8/nn/progress_bar.hpp"
#include "w8a8/nn/quantized_linear.hpp"
#include "wordpiece.hpp"

namespace {

using w8a8::half;
using w8a8::Host;
using w8a8::Tensor;
using w8a8::to_float;
namespace nn = w8a8::nn;

/// Published for all-MiniLM-L6-v2: how its embedding of reference_text begins.
constexpr const char* reference_text = "This is an example sentence";
constexpr double reference_embedding[] = {0.0676569, 0.0634959, 0.0487131, 0.0793049};

const std::vector<std::string> default_texts = {
    reference_text,
    "Each sentence is converted",
    "The quick brown fox jumps over the lazy dog.",
    "INT8 multiplication is exact; only the rounding of weights and activations loses anything.",
    "A man is playing the guitar on stage.",
    "Someone performs music with a stringed instrument.",
    "In 1687 Newton published the Principia, in which he stated the laws of motion and of universal gravitation.",
    "Caf\xc3\xa9 na\xc3\xafve r\xc3\xa9sum\xc3\xa9: 3.14159 & 2.71828 (50% off!)",
    "When the ferry left the harbour that morning, the sea lay flat and grey under a low sky, and the few passengers on deck "
    "had turned up their collars; by noon the wind had risen, the cups slid along the tables of the saloon, and nobody spoke "
    "of anything but the hour at which they hoped to see the lights of the other shore.",
};

/// What smoothing is calibrated on: none of the texts above.
const std::vector<std::string> calibration_texts = {
    "The weather is lovely today.",
    "He drove to the stadium in heavy rain.",
    "Quantum computers use qubits.",
    "Please return the book by Friday, or pay a fine.",
    "what is the capital of france?",
    "Stock markets fell sharply after the announcement; investors sold shares worth billions.",
    "def main(): print('hello world')",
    "She poured coffee, opened her laptop & wrote 2,000 words.",
    "The committee will meet on 14 March at 9:30 in room B-12 to discuss next year's budget.",
    "Mitochondria are the organelles in which most of a cell's energy is set free.",
    "I can't believe it's already December!",
    "Two dogs run through a field of tall grass while a child watches from the fence.",
};

/// What a layer's error is measured by.
struct LayerError {
  double signal = 0.0, noise = 0.0;
  double off_prediction = 0.0;  ///< largest |fake - INT8|, in units of what FP16 rounding allows

  double snr_db() const { return 10.0 * std::log10(signal / noise); }
};

/// A linear layer that passes on what FP32 gives, and measures what INT8 and its prediction would give for the same input.
class Probe : public nn::Module<float, Host> {
 public:
  Probe(const nn::Linear<float, Host>& linear, LayerError& error) : error_(error) {
    linear_.weight = w8a8::clone_to<Host>(linear.weight.view());
    if (linear.has_bias()) linear_.bias = w8a8::clone_to<Host>(linear.bias.view());
    quantized_ = Quantized::from_linear(linear);
    fake_ = w8a8::FakeW8A8Linear<float>::from_linear(linear);
  }

  std::int64_t out_features(std::int64_t in_features) const override { return linear_.out_features(in_features); }
  std::size_t workspace_bytes(std::int64_t, std::int64_t) const override { return 0; }

  void forward(const bert::Matrix<const float>& x, const bert::Matrix<float>& y, const bert::Bytes&,
               cudaStream_t) const override {
    linear_.forward(x, y);
    const std::int64_t m = x.extent(0), n = y.extent(1);
    Tensor<std::byte, 1, Host> workspace(
        {static_cast<std::int64_t>(std::max(quantized_.forward_workspace_bytes(m), fake_.workspace_bytes(m, x.extent(1))))});
    Tensor<float, 2, Host> exact({m, n});
    Tensor<half, 2, Host> real({m, n});
    quantized_.forward(x, exact.view(), workspace.view());
    quantized_.forward(x, real.view(), workspace.view());
    Tensor<float, 2, Host> predicted({m, n});
    fake_.forward(x, predicted.view(), workspace.view());
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        const double noise = static_cast<double>(exact(i, j)) - y(i, j);
        error_.signal += static_cast<double>(y(i, j)) * y(i, j);
        error_.noise += noise * noise;
        const float after = to_float(w8a8::from_float<half>(predicted(i, j))), got = to_float(real(i, j));
        // One unit in the last place; and where terms cancel, what the order of FP32 sums may change.
        const double allowed = std::fabs(got) * 0x1p-10 + 1e-5;
        error_.off_prediction = std::max(error_.off_prediction, std::fabs(after - got) / allowed);
      }
    }
  }

 private:
  using Quantized = w8a8::W8A8OF16LinearDynamicInputScale<float, Host>;
  nn::Linear<float, Host> linear_;
  Quantized quantized_;
  w8a8::FakeW8A8Linear<float> fake_;
  LayerError& error_;
};

double cosine(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

int failures = 0;

void expect(bool held, const std::string& what) {
  if (held) return;
  std::printf("NOT MET: %s\n", what.c_str());
  ++failures;
}

void encoder(const std::string& directory, const std::vector<std::string>& texts, float alpha) {
  const bert::Config config;
  const WordPiece tokens(directory + "/vocab.txt");
  const w8a8::SafetensorsFile file(directory + "/model.safetensors");
  std::vector<std::vector<std::int64_t>> ids;
  for (const std::string& text : texts) ids.push_back(tokens.encode(text));
  const auto embed_all = [&](const auto& model) {
    std::vector<std::vector<double>> all;
    for (const auto& each : ids) all.push_back(bert::embed(model, each, config.hidden));
    return all;
  };

  // 1. The model in FP32, as it was published.
  auto model = bert::load<float>(config, file);
  const auto exact = embed_all(model);
  if (texts.front() == reference_text) {
    for (std::size_t i = 0; i < std::size(reference_embedding); ++i)
      expect(std::fabs(exact[0][i] - reference_embedding[i]) < 2e-6, "the FP32 embedding is the published one");
  }

  // 2. Layer by layer: INT8 on the inputs that the FP32 model gives, and how well fake quantization predicts it.
  std::map<std::string, LayerError> errors;
  nn::replace_linears<float, Host>(
      model, {}, [&](const std::string& name, const nn::Linear<float, Host>& linear) -> nn::ModulePtr<float, Host> {
        return std::make_unique<Probe>(linear, errors[name]);
      });
  embed_all(model);
  std::printf("%-44s %8s  %s\n", "layer", "SNR", "fake quantization off by (1: FP16 rounding)");
  for (const auto& [name, error] : errors) {
    std::printf("%-44s %5.1f dB  %.2f\n", name.c_str(), error.snr_db(), error.off_prediction);
    expect(error.snr_db() > 30.0, name + ": SNR above 30 dB");
    expect(error.off_prediction <= 1.0, name + ": fake quantization within FP16 rounding");
  }

  // 3. The whole model in INT8 with FP16 between the layers, query, key and value fused.
  auto quantized = bert::load<half>(config, file);
  nn::quantize(quantized, {}, nn::ProgressBar("Quantizing"), nn::Fuse::yes);
  const auto int8 = embed_all(quantized);
  auto predicted = bert::load<half>(config, file);
  w8a8::fake_quant(predicted, 8, nn::ProgressBar("Fake quantizing"));
  const auto fake = embed_all(predicted);

  // 4. INT8 for activations with outliers: part of their range moved into the weights, the rest with a zero point a token.
  auto smoothed = bert::load<half>(config, file);
  const auto maxima = nn::channel_maxima(smoothed, [&] {
    for (const std::string& text : calibration_texts) bert::embed(smoothed, tokens.encode(text), config.hidden);
  });
  nn::SmoothOptions options;
  options.alpha = alpha;
  options.progress = nn::ProgressBar("Quantizing, smoothed");
  nn::quantize_smoothed(smoothed, maxima, options);
  const auto smooth = embed_all(smoothed);

  std::printf("\ncosine with FP32:  INT8  fake quantization  INT8 smoothed, zero points  (tokens)\n");
  double mean = 0.0, predicted_mean = 0.0, smoothed_mean = 0.0;
  const auto count = static_cast<double>(texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const double real = cosine(exact[i], int8[i]), guess = cosine(exact[i], fake[i]), better = cosine(exact[i], smooth[i]);
    std::printf("%23.5f %18.5f %27.5f  %8zu  %.40s\n", real, guess, better, ids[i].size(), texts[i].c_str());
    mean += real / count, predicted_mean += guess / count, smoothed_mean += better / count;
    expect(real > 0.99, "INT8: cosine above 0.99 for each text");
    expect(better > 0.998, "INT8 smoothed: cosine above 0.998 for each text");
  }
  std::printf("%23.5f %18.5f %27.5f            mean\n", mean, predicted_mean, smoothed_mean);
  expect(smoothed_mean > 0.999, "INT8 smoothed: mean cosine above 0.999");
  expect(std::fabs(mean - predicted_mean) < 5e-4, "fake quantization predicts the cosine of the INT8 model");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Sentence embeddings of a BERT encoder, in FP32 and INT8");
  std::string directory;
  std::vector<std::string> texts;
  bool check = false;
  float alpha = nn::SmoothOptions{}.alpha;
  app.add_option("model", directory, "folder with model.safetensors and vocab.txt of all-MiniLM-L6-v2")->required();
  app.add_option("--text", texts, "texts to embed; default: nine English ones");
  app.add_option("--alpha", alpha, "how much of the inputs' range smoothing moves into the weights, 0 to 1");
  app.add_flag("--check", check, "fail where the error is more than it should be");
  CLI11_PARSE(app, argc, argv);
  try {
    encoder(directory, texts.empty() ? default_texts : texts, alpha);
    return check && failures > 0 ? 1 : 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "encoder: %s\n", error.what());
    return 1;
  }
}
