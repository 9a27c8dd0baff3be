// The INT8 layers on the GPU against the same layers on the CPU backend, bit for bit.
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "nn/layer_data.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/gpu.hpp"
#include "w8a8/nn/w8a8_linear.cuh"

namespace {

using namespace w8a8;
using namespace w8a8_test;

using DynamicGpu = W8A8OF16LinearDynamicInputScale<half, Device>;
using DynamicCpu = W8A8OF16LinearDynamicInputScale<half, Host>;
using StaticGpu = W8A8OF16LinearStaticScale<bfloat16, Device, half>;
using StaticCpu = W8A8OF16LinearStaticScale<bfloat16, Host, half>;

constexpr std::array<std::int64_t, 3> shapes[] = {{1, 64, 64},   {1, 4096, 1024}, {7, 1152, 4304}, {16, 4304, 1152},
                                                  {33, 100, 77}, {128, 512, 384}, {129, 513, 257}, {300, 1024, 640},
                                                  {5, 0, 9},     {3, 17, 1}};

template <class T, int Rank>
std::vector<T> on_host(const Tensor<T, Rank, Device>& tensor) {
  const auto copied = clone_to<Host>(tensor.view());
  return values(copied);
}

template <class T, int Rank>
Tensor<T, Rank, Device> poisoned_on_device(const std::array<std::int64_t, Rank>& shape) {
  return clone_to<Device>(poisoned<T, Rank>(shape).view());
}

TEST_CASE("layers on the GPU: parameters are the CPU's, from weights in either space", "[gpu][nn]") {
  W8A8_REQUIRE_GPU();
  Random random(1);
  const auto linear = random_linear<half>(random, 333, 129);
  nn::Linear<half, Device> there;
  there.weight = clone_to<Device>(linear.weight.view());
  there.bias = clone_to<Device>(linear.bias.view());
  std::vector<float> given(129);
  for (std::size_t i = 0; i < given.size(); ++i) given[i] = 0.0005f * static_cast<float>(i + 1);
  for (const auto& scales : {VectorView<const float, Host>(), VectorView<const float, Host>(given.data(), {129})}) {
    const auto cpu = DynamicCpu::from_linear(linear, false, scales);
    const auto from_host = DynamicGpu::from_linear(linear, false, scales),
               from_device = DynamicGpu::from_linear(there, false, scales);
    const auto back = DynamicCpu::from_linear(there, false, scales);
    CHECK(difference(values(cpu.weight), on_host(from_host.weight), 333) == "");
    CHECK(difference(values(cpu.weight), on_host(from_device.weight), 333) == "");
    CHECK(difference(values(cpu.weight), values(back.weight), 333) == "");
    CHECK(difference(values(cpu.dequant_scale), on_host(from_host.dequant_scale)) == "");
    CHECK(difference(values(cpu.dequant_scale), on_host(from_device.dequant_scale)) == "");
    CHECK(difference(values(cpu.bias), on_host(from_host.bias)) == "");
    CHECK(difference(values(cpu.bias), on_host(from_device.bias)) == "");
  }
  CHECK(difference(values(linear.weight), on_host(there.weight)) == "");
}

TEST_CASE("dynamic layer on the GPU: forward from half", "[gpu][nn][sanitizer]") {
  W8A8_REQUIRE_GPU();
  Random random(2);
  const Stream stream;
  for (const auto& [tokens, in, out] : shapes) {
    for (const bool has_bias : {false, true}) {
      for (const bool dependent_launch : {false, true}) {
        INFO(tokens << " tokens, " << in << " to " << out << ", bias " << has_bias << ", dependent launch " << dependent_launch);
        const auto linear = random_linear<half>(random, in, out, has_bias);
        const auto cpu = DynamicCpu::from_linear(linear);
        const auto gpu = DynamicGpu::from_linear(linear);
        auto x = normal_tensor<half, 2>(random, {tokens, in}, 3.0f);
        if (tokens > 2 && in > 5) x(1, 5) = from_float<half>(quiet_nan());
        auto expected = poisoned<half, 2>({tokens, out});
        auto cpu_workspace = workspace_for(cpu, tokens);
        cpu.forward(x.view(), expected.view(), cpu_workspace.view());

        const auto gpu_x = clone_to<Device>(x.view());
        auto y = poisoned_on_device<half, 2>({tokens, out});
        auto workspace = workspace_for(gpu, tokens);
        check_cuda(cudaMemset(workspace.data(), 0xff, static_cast<std::size_t>(workspace.bytes())), "cudaMemset");
        check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
        GemmOptions options;
        options.dependent_launch = dependent_launch;
        gpu.forward(gpu_x.view(), y.view(), workspace.view(), options, stream);
        stream.synchronize();
        CHECK(difference(values(expected), on_host(y), out) == "");
      }
    }
  }
}

TEST_CASE("static layer on the GPU: batches, bfloat16, half scales", "[gpu][nn][sanitizer]") {
  W8A8_REQUIRE_GPU();
  Random random(3);
  const Stream stream;
  for (const auto& [tokens, in, out] : shapes) {
    INFO("2 x " << tokens << " tokens, " << in << " to " << out);
    const auto linear = random_linear<bfloat16>(random, in, out);
    const auto cpu = StaticCpu::from_linear(linear, false, {}, false, 0.03f);
    const auto gpu = StaticGpu::from_linear(linear, false, {}, false, 0.03f);
    const auto x = normal_tensor<bfloat16, 3>(random, {2, tokens, in});
    auto expected = poisoned<bfloat16, 3>({2, tokens, out});
    auto cpu_workspace = workspace_for(cpu, 2 * tokens);
    cpu.forward(x.view(), expected.view(), cpu_workspace.view());
    const auto gpu_x = clone_to<Device>(x.view());
    auto y = poisoned_on_device<bfloat16, 3>({2, tokens, out});
    auto workspace = workspace_for(gpu, 2 * tokens);
    gpu.forward(gpu_x.view(), y.view(), workspace.view(), {}, stream);
    stream.synchronize();
    CHECK(difference(values(expected), on_host(y), out) == "");
  }
}

TEST_CASE("dynamic layer on the GPU: INT8 input", "[gpu][nn]") {
  W8A8_REQUIRE_GPU();
  Random random(4);
  const std::int64_t m = 70, k = 200, n = 90;
  const auto linear = random_linear<half>(random, k, n);
  const auto cpu = DynamicCpu::from_linear(linear);
  const auto gpu = DynamicGpu::from_linear(linear);
  const auto codes = bell_int8(random, m * k);
  const auto scale = scales<float>(random, m);
  const MatrixView<const std::int8_t, Host> x(codes.data(), {m, k});
  const VectorView<const float, Host> s(scale.data(), {m});
  const auto gpu_x = clone_to<Device>(x);
  const auto gpu_s = clone_to<Device>(s);
  auto expected = poisoned<half, 2>({m, n});
  auto y = poisoned_on_device<half, 2>({m, n});
  cpu.forward(x, s, expected.view());
  gpu.forward(gpu_x.view(), gpu_s.view(), y.view());
  CHECK(difference(values(expected), on_host(y), n) == "");
  cpu.apply_weights_no_bias(x, s, expected.view());
  gpu.apply_weights_no_bias(gpu_x.view(), gpu_s.view(), y.view());
  CHECK(difference(values(expected), on_host(y), n) == "");
}

TEST_CASE("dynamic layer on the GPU: fc1 is the CPU's up to tanh", "[gpu][nn]") {
  W8A8_REQUIRE_GPU();
  Random random(5);
  for (const std::int64_t tokens : {1, 40, 200}) {
    const auto linear = random_linear<half>(random, 256, 128);
    const auto cpu = DynamicCpu::from_linear(linear, false, {}, true);
    const auto gpu = DynamicGpu::from_linear(linear, false, {}, true);
    const auto x = normal_tensor<half, 2>(random, {tokens, 256});
    auto expected = poisoned<half, 2>({tokens, 128});
    auto cpu_workspace = workspace_for(cpu, tokens);
    cpu.forward(x.view(), expected.view(), cpu_workspace.view());
    const auto gpu_x = clone_to<Device>(x.view());
    auto y = poisoned_on_device<half, 2>({tokens, 128});
    auto workspace = workspace_for(gpu, tokens);
    gpu.forward(gpu_x.view(), y.view(), workspace.view());
    const auto actual = on_host(y);
    double worst = 0.0;
    for (std::size_t i = 0; i < actual.size(); ++i) {
      const double e = to_float(expected.data()[i]), error = std::abs(to_float(actual[i]) - e) / (std::abs(e) + 1e-3);
      if (!(error <= worst)) worst = error;
    }
    CHECK(worst <= 2e-3);  // one step of half is 2^-10 of the value at most
  }
}

TEST_CASE("dynamic layer on the GPU: forward can be captured in a graph", "[gpu][nn]") {
  W8A8_REQUIRE_GPU();
  Random random(6);
  const Stream stream;
  const std::int64_t tokens = 24, in = 512, out = 320;
  const auto linear = random_linear<half>(random, in, out);
  const auto cpu = DynamicCpu::from_linear(linear);
  const auto gpu = DynamicGpu::from_linear(linear);
  auto gpu_x = Tensor<half, 2, Device>({tokens, in});
  auto y = Tensor<half, 2, Device>({tokens, out});
  auto workspace = workspace_for(gpu, tokens);
  auto cpu_workspace = workspace_for(cpu, tokens);

  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "cudaStreamBeginCapture");
  gpu.forward(gpu_x.view(), y.view(), workspace.view(), {}, stream);
  check_cuda(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  check_cuda(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  for (int replay = 0; replay < 3; ++replay) {
    const auto x = normal_tensor<half, 2>(random, {tokens, in});
    auto expected = poisoned<half, 2>({tokens, out});
    cpu.forward(x.view(), expected.view(), cpu_workspace.view());
    copy(VectorView<const half, Host>(x.data(), {x.size()}), VectorView<half, Device>(gpu_x.data(), {x.size()}), stream);
    check_cuda(cudaGraphLaunch(executable, stream), "cudaGraphLaunch");
    stream.synchronize();
    CHECK(difference(values(expected), on_host(y), out) == "");
  }
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
}

}  // namespace
