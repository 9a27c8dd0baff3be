// Defect 6: offsets beyond 2^31 elements, in each operand. Sampled rows are compared with the CPU reference, bit for bit.
#include <cstdint>
#include <vector>

#include "support/compare.hpp"
#include "support/gpu.hpp"
#include "support/random.hpp"
#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/gemm/gemm.cuh"
#include "w8a8/tensor/tensor.hpp"

using namespace w8a8;
using namespace w8a8_test;

namespace {

/// splitmix64's finaliser on the index: the same on host and device.
W8A8_HOST_DEVICE std::int8_t code_at(std::int64_t i, std::uint64_t seed) {
  std::uint64_t z = (static_cast<std::uint64_t>(i) + seed) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  return static_cast<std::int8_t>(z >> 56);
}

__global__ void fill(std::int8_t* data, std::int64_t count, std::uint64_t seed) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step)
    data[i] = code_at(i, seed);
}

void check_large(std::int64_t m, std::int64_t n, std::int64_t k, Kernel kernel) {
  std::size_t free_bytes = 0, total_bytes = 0;
  check_cuda(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
  if (static_cast<double>(free_bytes) < 1.1 * (1.0 * m * k + 1.0 * n * k + 2.0 * m * n)) {
    WARN("too little device memory for this size");
    return;
  }
  const Stream stream;
  Tensor<std::int8_t, 2, Device> x({m, k}), w({n, k});
  Tensor<half, 2, Device> out({m, n});
  Random random(1);
  const auto input = scales<float>(random, m), weight = scales<float>(random, n);
  const auto input_scale = clone_to<Device>(VectorView<const float, Host>(input.data(), {m}));
  const auto weight_scale = clone_to<Device>(VectorView<const float, Host>(weight.data(), {n}));
  fill<<<1024, 256, 0, stream>>>(x.data(), x.size(), 1);
  fill<<<1024, 256, 0, stream>>>(w.data(), w.size(), 2);
  check_cuda(cudaMemsetAsync(out.data(), 0xff, static_cast<std::size_t>(out.bytes()), stream), "cudaMemsetAsync");
  GemmOptions options;
  options.kernel = kernel;
  gemm(x.view(), w.view(), Dequantize{input_scale.view(), weight_scale.view()}, out.view(), options, stream);
  stream.synchronize();

  // The last rows and columns have the largest offsets; the first ones catch a wrap-around.
  std::vector<std::int8_t> row(static_cast<std::size_t>(k)), column(static_cast<std::size_t>(k));
  for (const std::int64_t i : {std::int64_t{0}, m / 2 + 1, m - 1}) {
    for (std::int64_t l = 0; l < k; ++l) row[static_cast<std::size_t>(l)] = code_at(i * k + l, 1);
    std::vector<half> got(static_cast<std::size_t>(n));
    check_cuda(cudaMemcpy(got.data(), out.data() + i * n, static_cast<std::size_t>(n) * sizeof(half), cudaMemcpyDeviceToHost),
               "cudaMemcpy");
    std::int64_t wrong = 0;
    for (std::int64_t j = 0; j < n; j += (j < 64 || j + 65 > n) ? 1 : 61) {
      std::int32_t sum = 0;
      for (std::int64_t l = 0; l < k; ++l) sum += row[static_cast<std::size_t>(l)] * code_at(j * k + l, 2);
      const half expected = store_value<half>(
          Dequantized{multiply(int_to_float(sum), weight[static_cast<std::size_t>(j)]), input[static_cast<std::size_t>(i)]});
      wrong += std::memcmp(&expected, &got[static_cast<std::size_t>(j)], sizeof(half)) != 0;
    }
    CAPTURE(m, n, k, i);
    CHECK(wrong == 0);
  }
}

}  // namespace

TEST_CASE("defect 6: outputs of more than 2^31 elements", "[gpu][gemm][defect][large]") {
  W8A8_REQUIRE_GPU();
  check_large(70001, 32768, 64, Kernel::automatic);
  check_large(70001, 32768, 64, Kernel::sm80);
}

TEST_CASE("defect 6: activations of more than 2^31 elements", "[gpu][gemm][defect][large]") {
  W8A8_REQUIRE_GPU();
  check_large(68000, 136, 32768, Kernel::automatic);
  check_large(68000, 136, 32768, Kernel::sm80);
}

TEST_CASE("defect 6: weights of more than 2^31 elements", "[gpu][gemm][defect][large]") {
  W8A8_REQUIRE_GPU();
  for (const std::int64_t m : {8, 100, 200}) {
    check_large(m, 68000, 32768, Kernel::automatic);
    check_large(m, 68000, 32768, Kernel::sm80);
  }
}
