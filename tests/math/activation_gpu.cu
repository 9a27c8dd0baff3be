// The activation functions over every half and every bfloat16, on host and GPU, against FP64: within one ulp after rounding.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include "support/compare.hpp"
#include "support/gpu.hpp"
#include "w8a8/math/activation.hpp"
#include "w8a8/tensor/tensor.hpp"

namespace {

using namespace w8a8;

constexpr int functions = 3;

W8A8_HOST_DEVICE float activation(int which, float x) { return which == 0 ? silu(x) : which == 1 ? gelu_tanh(x) : gelu_erf(x); }

double exact(int which, double x) {
  if (which == 0) return x / (1 + std::exp(-x));
  if (which == 1) return x / (1 + std::exp(-2 * std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
  return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
}

template <class T>
T from_bits(std::uint16_t bits) {
  T value;
  std::memcpy(static_cast<void*>(&value), &bits, sizeof bits);
  return value;
}

template <class T>
__global__ void evaluate(T* out) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  const std::uint16_t bits = static_cast<std::uint16_t>(i);
  T x;
  std::memcpy(static_cast<void*>(&x), &bits, sizeof bits);
  for (int which = 0; which < functions; ++which) out[which * 65536 + i] = from_float<T>(activation(which, to_float(x)));
}

template <class T>
void check(const std::function<T(int which, int i)>& value) {
  for (int which = 0; which < functions; ++which) {
    int far = 0, first = -1;
    for (int i = 0; i < 65536; ++i) {
      const double x = static_cast<double>(to_float(from_bits<T>(static_cast<std::uint16_t>(i))));
      if (!std::isfinite(x)) continue;
      const bool near = w8a8_test::ulps(value(which, i), exact(which, x)) <= 1;
      if (!near && far++ == 0) first = i;
    }
    CAPTURE(which, first, sizeof(T));
    CHECK(far == 0);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("activations on the host are within an ulp of FP64 for every 16-bit input", "[support][host]", half,
                   bfloat16) {
  check<TestType>([](int which, int i) {
    return from_float<TestType>(activation(which, to_float(from_bits<TestType>(static_cast<std::uint16_t>(i)))));
  });
}

TEMPLATE_TEST_CASE("activations on the GPU are within an ulp of FP64 for every 16-bit input", "[support][gpu]", half, bfloat16) {
  W8A8_REQUIRE_GPU();
  Tensor<TestType, 1, Device> device({functions * 65536});
  evaluate<<<256, 256>>>(device.data());
  check_cuda(cudaGetLastError(), "evaluate");
  const auto values = clone_to<Host>(device.view());
  check<TestType>([&](int which, int i) { return values.data()[which * 65536 + i]; });
}
