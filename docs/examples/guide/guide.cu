// guide: the code of docs/guide.md, in the order of its page. Reads a linear layer from a checkpoint, makes the INT8 layer, runs
// it.
//
//   guide model.safetensors model.layers.0.mlp.down_proj
//
// Without arguments it writes a small checkpoint first. Without a GPU it stops where one is needed.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <vector>
#include <w8a8/io/safetensors.hpp>
#include <w8a8/io/safetensors_writer.hpp>
#include <w8a8/nn/w8a8_linear.cuh>
#include <w8a8/support/device.hpp>

namespace {

/// A checkpoint with one layer, to have something to read.
void write_checkpoint(const std::string& path, const std::string& name) {
  constexpr std::int64_t in = 256, out = 128;
  w8a8::Tensor<half, 2, w8a8::Host> weight({out, in});
  for (std::int64_t i = 0; i < weight.size(); ++i)
    weight.data()[i] = w8a8::from_float<half>(0.05f * std::sin(static_cast<float>(i)));
  w8a8::SafetensorsWriter writer(path, {{name + ".weight", "F16", {out, in}}});
  writer.write(name + ".weight", w8a8::tensor_ref(weight.view()));
  writer.commit();
}

void guide(const std::string& path, const std::string& name) {
  w8a8::SafetensorsFile file(path);  // mapped, and checked as a whole: a broken file throws here
  w8a8::nn::Linear<half> linear;
  linear.weight = file.load_as<half, 2>(name + ".weight");  // out_features x in_features
  if (file.contains(name + ".bias")) linear.bias = file.load_as<half, 1>(name + ".bias");

  if (!w8a8::has_cuda_device()) {
    std::printf("%s: %lld x %lld; no GPU to run it on\n", name.c_str(), static_cast<long long>(linear.out_features()),
                static_cast<long long>(linear.in_features()));
    return;
  }
  auto layer = w8a8::W8A8OF16LinearDynamicInputScale<>::from_linear(linear);

  const std::int64_t tokens = 16;
  w8a8::Tensor<half, 2, w8a8::Host> host_x({tokens, layer.in_features()});
  for (std::int64_t i = 0; i < host_x.size(); ++i) host_x.data()[i] = w8a8::from_float<half>(std::cos(static_cast<float>(i)));
  const auto x = w8a8::clone_to<w8a8::Device>(host_x.view());
  cudaStream_t stream = nullptr;

  w8a8::Tensor<half, 2, w8a8::Device> y({tokens, layer.out_features()});
  w8a8::Tensor<std::byte, 1, w8a8::Device> workspace({static_cast<std::int64_t>(layer.forward_workspace_bytes(tokens))});
  layer.forward(x.view(), y.view(), workspace.view(), {}, stream);  // x: tokens x in_features, half

  const auto host_y = w8a8::clone_to<w8a8::Host>(y.view());
  std::printf("%s: y[0, 0] = %g\n", name.c_str(), w8a8::to_float(host_y(0, 0)));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const bool own = argc < 3;
    const std::string path = own ? "w8a8_guide.safetensors" : argv[1], name = own ? "mlp.down_proj" : argv[2];
    if (own) write_checkpoint(path, name);
    guide(path, name);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "guide: %s\n", error.what());
    return 1;
  }
}
