// Host and device give the same bits for every step of the numerics contract.
#include <cstdint>
#include <cstring>
#include <vector>

#include "support/compare.hpp"
#include "support/gpu.hpp"
#include "support/random.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/tensor/tensor.hpp"

using namespace w8a8;

namespace {

struct Steps {
  float product, sum, fused, quotient, converted;
  std::int32_t rounded;
  std::uint32_t as_float, as_half, as_bfloat16;
};

template <class T>
W8A8_HOST_DEVICE std::uint32_t stored_bits(float x) {
  const T stored = from_float<T>(x);
  std::uint32_t bits = 0;
  memcpy(&bits, &stored, sizeof(T));
  return bits;
}

W8A8_HOST_DEVICE Steps steps(float a, float b, float c) {
  Steps s;
  s.product = multiply(a, b);
  s.sum = add(a, b);
  s.fused = fused_multiply_add(a, b, c);
  s.quotient = divide(a, b);
  s.converted = int_to_float(static_cast<std::int32_t>(float_bits(a)));
  // x86 converts what does not fit otherwise than a GPU does, and makes NaNs of another sign: outside the contract.
  s.rounded = a > -1e9f && a < 1e9f ? round_to_int(a) : 0;
  s.product = s.product == s.product ? s.product : 0.0f;
  s.sum = s.sum == s.sum ? s.sum : 0.0f;
  s.fused = s.fused == s.fused ? s.fused : 0.0f;
  s.quotient = s.quotient == s.quotient ? s.quotient : 0.0f;
  s.as_float = stored_bits<float>(multiply(a, 1.0f));  // a NaN that arithmetic made
  s.as_half = stored_bits<half>(a);
  s.as_bfloat16 = stored_bits<bfloat16>(a);
  return s;
}

__global__ void run_steps(TensorView<const float, 2, Device> in, TensorView<Steps, 1, Device> out) {
  const std::int64_t i = blockIdx.x * std::int64_t{256} + threadIdx.x;
  if (i < out.extent(0)) out(i) = steps(in(i, 0), in(i, 1), in(i, 2));
}

}  // namespace

TEST_CASE("each rounding step has the same bits on host and device", "[support][gpu][sanitizer]") {
  W8A8_REQUIRE_GPU();
  const std::int64_t count = 100000;
  w8a8_test::Random random(3);
  Tensor<float, 2, Host> in({count, 3});
  for (std::int64_t i = 0; i < count; ++i) {
    for (int j = 0; j < 3; ++j) {
      in(i, j) = i % 2 == 0 ? random.normal() * 100.0f : float_from_bits(static_cast<std::uint32_t>(random.bits() >> 32));
    }
  }
  Tensor<Steps, 1, Device> out({count});
  const auto device_in = clone_to<Device>(in.view());
  run_steps<<<static_cast<unsigned>((count + 255) / 256), 256>>>(device_in.view(), out.view());
  check_cuda(cudaGetLastError(), "run_steps");
  const auto result = clone_to<Host>(out.view());
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const Steps expected = steps(in(i, 0), in(i, 1), in(i, 2));
    if (std::memcmp(&expected, &result(i), sizeof(Steps)) != 0 && wrong++ == 0) {
      UNSCOPED_INFO("first at inputs " << in(i, 0) << ", " << in(i, 1) << ", " << in(i, 2));
    }
  }
  CHECK(wrong == 0);
}
