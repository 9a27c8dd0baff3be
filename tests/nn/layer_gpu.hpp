// What the GPU tests of the layers share.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "nn/layer_data.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/gpu.hpp"
#include "w8a8/gemm/gemm.cuh"
#include "w8a8/tensor/tensor.hpp"

namespace w8a8_test {

using w8a8::Device;

/// Tokens, in_features, out_features.
inline constexpr std::array<std::int64_t, 3> layer_shapes[] = {{1, 64, 64},   {1, 4096, 1024}, {7, 1152, 4304}, {16, 4304, 1152},
                                                               {33, 100, 77}, {128, 512, 384}, {129, 513, 257}, {300, 1024, 640},
                                                               {5, 0, 9},     {3, 17, 1}};

template <class T, int Rank>
std::vector<T> on_host(const Tensor<T, Rank, Device>& tensor) {
  const auto copied = w8a8::clone_to<Host>(tensor.view());
  return values(copied);
}

template <class T, int Rank>
Tensor<T, Rank, Device> poisoned_on_device(const std::array<std::int64_t, Rank>& shape) {
  return w8a8::clone_to<Device>(poisoned<T, Rank>(shape).view());
}

/// The same layer on the GPU.
template <class T>
w8a8::nn::Linear<T, Device> on_device(const w8a8::nn::Linear<T, Host>& linear) {
  w8a8::nn::Linear<T, Device> there;
  there.weight = w8a8::clone_to<Device>(linear.weight.view());
  if (linear.has_bias()) there.bias = w8a8::clone_to<Device>(linear.bias.view());
  return there;
}

/// Options that the multiplication of such a layer refuses are refused before the input is quantized. in_features: no multiple
/// of 16, so that no kernel but sm80_gemm takes the codes.
template <class Layer>
void check_refusals_of_forward(const Layer& layer) {
  REQUIRE(layer.in_features() % 16 != 0);
  for (const char* name : {"sm80_gemm/none", "sm80_decode", " "}) {
    w8a8::GemmOptions options;
    options.configuration = name;
    const std::string text = refusal_of_forward(layer, 5, options);
    CHECK(contains(text, "w8a8::gemm: argument 'options.configuration': expected one of sm80_gemm/"));
    CHECK(ends_with(text, std::string("got ") + name));
  }
  for (const std::string& name : w8a8::gemm_configurations()) {
    if (contains(name, "sm80_gemm/")) continue;
    w8a8::GemmOptions options;
    options.configuration = name;
    const std::string text = refusal_of_forward(layer, 5, options);
    CHECK(contains(text, "w8a8::gemm: argument 'options.configuration': expected "));
    CHECK(ends_with(text, "got " + name));
  }
  for (const w8a8::Kernel kernel : {w8a8::Kernel::host, w8a8::Kernel::sm90}) {
    w8a8::GemmOptions options;
    options.kernel = kernel;
    const std::string text = refusal_of_forward(layer, 5, options);
    CHECK(contains(text, "w8a8::gemm: argument 'options.kernel': expected "));
    CHECK(ends_with(text, std::string("got ") + w8a8::kernel_name(kernel)));
  }
}

}  // namespace w8a8_test
