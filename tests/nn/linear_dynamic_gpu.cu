// The dynamic INT8 layer on the GPU against the same layer on the CPU backend, bit for bit.
#include <array>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "nn/layer_gpu.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/gpu.hpp"
#include "w8a8/nn/w8a8_linear.cuh"

namespace {

using namespace w8a8;
using namespace w8a8_test;

using DynamicGpu = W8A8OF16LinearDynamicInputScale<half, Device>;
using DynamicCpu = W8A8OF16LinearDynamicInputScale<half, Host>;

TEST_CASE("layers on the GPU: parameters are the CPU's, from weights in either space", "[gpu][nn]") {
  W8A8_REQUIRE_GPU();
  Random random(1);
  const auto linear = random_linear<half>(random, 333, 129);
  const auto there = on_device(linear);
  const auto before = values(linear.weight);
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
  CHECK(difference(before, values(linear.weight)) == "");  // defect 8
  CHECK(difference(before, on_host(there.weight)) == "");
}

TEST_CASE("dynamic layer on the GPU: forward from half", "[gpu][nn]") {
  W8A8_REQUIRE_GPU();
  Random random(2);
  const Stream stream;
  for (const auto& [tokens, in, out] : layer_shapes) {
    for (const bool has_bias : {false, true}) {
      INFO(tokens << " tokens, " << in << " to " << out << ", bias " << has_bias);
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
      gpu.forward(gpu_x.view(), y.view(), workspace.view(), {}, stream);
      stream.synchronize();
      CHECK(difference(values(expected), on_host(y), out) == "");
    }
  }
}

// Kernels of such a chain overlap (programmatic dependent launch), and all share one workspace and two buffers: a kernel that
// wrote before its predecessor had finished reading would show.
TEST_CASE("dynamic layer on the GPU: a chain of layers through one workspace", "[gpu][nn]") {
  W8A8_REQUIRE_GPU();
  Random random(7);
  const Stream stream;
  const std::int64_t narrow = 1024, wide = 4096;
  const auto up = random_linear<half>(random, narrow, wide), down = random_linear<half>(random, wide, narrow);
  const auto cpu_up = DynamicCpu::from_linear(up), cpu_down = DynamicCpu::from_linear(down);
  const auto gpu_up = DynamicGpu::from_linear(up), gpu_down = DynamicGpu::from_linear(down);
  for (const auto& [tokens, promised] : std::vector<std::pair<std::int64_t, bool>>{
           {1, false}, {1, true}, {4, true}, {24, false}, {24, true}, {50, true}, {70, false}, {260, false}, {260, true}}) {
    INFO(tokens << " tokens, weights " << (promised ? "promised to be still" : "fetched after the quantizer's wait"));
    GemmOptions options;
    options.dependent_launch = promised;
    auto x = normal_tensor<half, 2>(random, {tokens, narrow});
    auto gpu_x = clone_to<Device>(x.view());
    auto hidden = poisoned<half, 2>({tokens, wide});
    auto gpu_hidden = poisoned_on_device<half, 2>({tokens, wide});
    auto cpu_workspace = workspace_for(cpu_down, tokens);
    const std::size_t bytes = max_of(gpu_up.forward_workspace_bytes(tokens), gpu_down.forward_workspace_bytes(tokens));
    Tensor<std::byte, 1, Device> workspace({static_cast<std::int64_t>(bytes)});
    check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    constexpr int links = 4;
    for (int i = 0; i < links; ++i) {
      gpu_up.forward(gpu_x.view(), gpu_hidden.view(), workspace.view(), options, stream);
      gpu_down.forward(gpu_hidden.view(), gpu_x.view(), workspace.view(), options, stream);
    }
    for (int i = 0; i < links; ++i) {
      cpu_up.forward(x.view(), hidden.view(), cpu_workspace.view());
      cpu_down.forward(hidden.view(), x.view(), cpu_workspace.view());
    }
    stream.synchronize();
    CHECK(difference(values(x), on_host(gpu_x), narrow) == "");
  }
}

TEST_CASE("dynamic layer on the GPU: INT8 input", "[gpu][nn][sanitizer]") {
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

TEST_CASE("dynamic layer on the GPU: what the multiplication refuses is thrown before anything runs", "[gpu][nn]") {
  W8A8_REQUIRE_GPU();
  Random random(8);
  check_refusals_of_forward(DynamicGpu::from_linear(random_linear<half>(random, 100, 48)));
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

TEST_CASE("dynamic layer on the GPU: forward can be captured in a graph", "[gpu][nn][sanitizer]") {
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
