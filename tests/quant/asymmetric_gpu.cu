// Asymmetric quantization and weight row sums on the GPU against the CPU, bit for bit.
#include <cstdint>
#include <vector>

#include "quant/rows.hpp"
#include "support/compare.hpp"
#include "support/gpu.hpp"
#include "support/guarded.hpp"
#include "support/random.hpp"
#include "w8a8/quant/asymmetric.cuh"

namespace {

using namespace w8a8;
using w8a8_test::difference;
using w8a8_test::Guarded;
using w8a8_test::Random;

template <class T>
void check_shape(Random& random, std::int64_t rows, std::int64_t columns, bool aligned, const std::vector<T>& x) {
  const std::int64_t shift = aligned ? 0 : random.integer(0, 7);
  Guarded<T, Host> host_x(rows, columns);
  Guarded<T, Device> device_x(rows, columns, columns + (aligned ? 8 : 3), shift);
  Guarded<std::int8_t, Host> codes(rows, columns);
  Guarded<std::int8_t, Device> device_codes(rows, columns, columns + (aligned ? 16 : 5), shift);
  Guarded<float, Host> scale(1, rows);
  Guarded<float, Device> device_scale(1, rows);
  Guarded<std::int32_t, Host> zero(1, rows);
  Guarded<std::int32_t, Device> device_zero(1, rows);
  host_x.fill(x), device_x.fill(x);
  QuantizeOptions options;
  options.bits = static_cast<int>(random.choose<std::int64_t>({8, 8, 4, 2}));
  quantize_per_token_asymmetric(host_x.view(), codes.view(), scale.vector(), zero.vector(), nullptr, options);
  quantize_per_token_asymmetric(device_x.view(), device_codes.view(), device_scale.vector(), device_zero.vector(), nullptr,
                                options);
  CAPTURE(rows, columns, aligned, options.bits);
  CHECK(difference(codes.values(), device_codes.values(), columns) == "");
  CHECK(difference(scale.values(), device_scale.values()) == "");
  CHECK(difference(zero.values(), device_zero.values()) == "");
  CHECK(device_codes.damage() == "");
  CHECK(device_zero.damage() == "");
  CHECK(device_scale.damage() == "");
}

}  // namespace

TEMPLATE_TEST_CASE("quantize_per_token_asymmetric on the GPU equals the CPU", "[quant][gpu]", half, float) {
  using T = TestType;
  W8A8_REQUIRE_GPU();
  Random random(61);
  const auto shifted = [&](std::vector<T> x) {
    const float offset = random.normal() * 3;
    for (T& v : x) v = from_float<T>(to_float(v) + offset);
    return x;
  };
  for (int round = 0; round < 40; ++round) {
    const std::int64_t rows = round % 5 ? random.integer(1, 30) : random.integer(129, 150),
                       columns = random.integer(1, round % 5 == 1 ? 34000 : 3000);
    const bool aligned = round % 2;
    const std::int64_t k = aligned ? (columns + 7) / 8 * 8 : columns;
    check_shape<T>(random, rows, k, aligned, shifted(w8a8_test::activations<T>(random, rows, k)));
  }
  for (const std::int64_t k : {1, 64, 77, 1152, 1300, 4096, 4097, 8192, 14336, 33000}) {
    check_shape<T>(random, 9, k, k % 8 == 0, w8a8_test::one_of_each<T>(random, k));
  }
  for (const std::int64_t k : {4096, 8192, 14336}) {
    check_shape<T>(random, 129, k, true, shifted(w8a8_test::activations<T>(random, 129, k)));
  }
}

TEST_CASE("weight_row_sum on the GPU equals the CPU", "[quant][gpu][sanitizer]") {
  W8A8_REQUIRE_GPU();
  Random random(62);
  for (const std::int64_t k : {0, 1, 15, 16, 17, 127, 2047, 2048, 2064, 14336, 65793}) {
    const std::int64_t n = k > 10000 ? 5 : 37, pad = random.choose<std::int64_t>({0, 16, 3});
    const auto w = w8a8_test::uniform_int8(random, n * k);
    Guarded<std::int8_t, Device> weight(n, k, k + pad, random.choose<std::int64_t>({0, 16, 1}));
    weight.fill(w);
    Guarded<std::int32_t, Device> sum(1, n);
    std::vector<std::int32_t> expected(static_cast<std::size_t>(n));
    weight_row_sum(weight.view(), sum.vector(), nullptr);
    weight_row_sum(MatrixView<const std::int8_t, Host>(w.data(), {n, k}), VectorView<std::int32_t, Host>(expected.data(), {n}));
    CAPTURE(n, k, pad);
    CHECK(difference(expected, sum.values()) == "");
    CHECK(sum.damage() == "");
  }
}
