// Programmatic dependent launch of the quantizers: a predecessor that lets them start at once, and is slow, must still be waited
// for, by the quantizer and by what follows it.
#include <cstdint>
#include <vector>

#include "support/compare.hpp"
#include "support/gpu.hpp"
#include "support/random.hpp"
#include "w8a8/ptx/dependent_launch.cuh"
#include "w8a8/quant/quantize.cuh"
#include "w8a8/tensor/tensor.hpp"

namespace {

using namespace w8a8;
using w8a8_test::difference;

/// Lets its dependents start, dawdles for about a millisecond, then copies.
__global__ void slow_copy(const half* from, half* to, std::int64_t count) {
  ptx::griddepcontrol_launch_dependents();
  for (int i = 0; i < 1000; ++i) __nanosleep(1000);
  for (std::int64_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += std::int64_t{gridDim.x} * blockDim.x)
    to[i] = from[i];
}

}  // namespace

TEST_CASE("a dependent quantizer waits for a predecessor that triggered early", "[quant][gpu]") {
  W8A8_REQUIRE_GPU();
  w8a8_test::Random random(71);
  const std::int64_t rows = 16, columns = 4096;
  const auto values = w8a8_test::normal<half>(random, rows * columns), stale = w8a8_test::normal<half>(random, rows * columns);
  const auto source = clone_to<Device>(MatrixView<const half, Host>(values.data(), {rows, columns}));
  std::vector<std::int8_t> expected(values.size());
  std::vector<float> expected_scale(static_cast<std::size_t>(rows));
  quantize_per_token(MatrixView<const half, Host>(values.data(), {rows, columns}),
                     MatrixView<std::int8_t, Host>(expected.data(), {rows, columns}),
                     VectorView<float, Host>(expected_scale.data(), {rows}));
  QuantizeOptions options;
  options.dependent_launch = true;
  w8a8_test::Stream stream;
  for (int round = 0; round < 6; ++round) {
    options.early_successor = round >= 3;
    auto x = clone_to<Device>(MatrixView<const half, Host>(stale.data(), {rows, columns}));
    Tensor<std::int8_t, 2, Device> first({rows, columns}), second({rows, columns});
    Tensor<float, 1, Device> first_scale({rows}), second_scale({rows});
    slow_copy<<<4, 256, 0, stream>>>(source.data(), x.data(), rows * columns);
    // The second one starts once the first says so: after it has waited for the copy, or at once. Then it is what the second one
    // itself waits for that has waited for the copy.
    quantize_per_token(x.view(), first.view(), first_scale.view(), stream, options);
    quantize_per_token(x.view(), second.view(), second_scale.view(), stream, options);
    stream.synchronize();
    for (const auto* codes : {&first, &second}) {
      const auto host = clone_to<Host>(codes->view());
      CHECK(difference(expected, std::vector<std::int8_t>(host.data(), host.data() + host.size()), columns) == "");
    }
    const auto scale = clone_to<Host>(second_scale.view());
    CHECK(difference(expected_scale, std::vector<float>(scale.data(), scale.data() + rows)) == "");
  }
}
