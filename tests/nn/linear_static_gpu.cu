// The static INT8 layer on the GPU against the same layer on the CPU backend, bit for bit.
#include <cstdint>

#include "nn/layer_gpu.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/gpu.hpp"
#include "w8a8/nn/w8a8_linear.cuh"

namespace {

using namespace w8a8;
using namespace w8a8_test;

using StaticGpu = W8A8OF16LinearStaticScale<bfloat16, Device, half>;
using StaticCpu = W8A8OF16LinearStaticScale<bfloat16, Host, half>;

TEST_CASE("static layer on the GPU: batches, bfloat16, half scales", "[gpu][nn]") {
  W8A8_REQUIRE_GPU();
  Random random(3);
  const Stream stream;
  for (const auto& [tokens, in, out] : layer_shapes) {
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

TEST_CASE("static layer on the GPU: what the multiplication refuses is thrown before anything runs", "[gpu][nn]") {
  W8A8_REQUIRE_GPU();
  Random random(4);
  check_refusals_of_forward(StaticGpu::from_linear(random_linear<bfloat16>(random, 100, 48)));
}

}  // namespace
