// Dequantize and Bias: the order of the roundings, shared and per-row scales, every storage type, and what is refused.
#include "w8a8/epilogue/dequantize.hpp"

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/random.hpp"
#include "w8a8/epilogue/activation.hpp"

using namespace w8a8;

namespace {

template <class T>
VectorView<const T, Host> view(const std::vector<T>& values) {
  return {values.data(), {static_cast<std::int64_t>(values.size())}};
}

template <class Epilogue>
float run(const Epilogue& epilogue, std::int32_t acc, std::int64_t m, std::int64_t n) {
  return epilogue.apply(acc, epilogue.row(m), epilogue.column(n), m, n);
}

}  // namespace

TEST_CASE("y = fma(float(acc) * weight_scale, input_scale, bias), bit for bit", "[epilogue]") {
  w8a8_test::Random random(21);
  const std::int64_t rows = 40, columns = 60;
  const auto input = w8a8_test::scales<float>(random, rows), weight = w8a8_test::scales<float>(random, columns);
  const auto bias = w8a8_test::normal<float>(random, columns);
  const auto plain = Dequantize{view(input), view(weight)};
  const auto biased = Dequantize{view(input), view(weight)} | Bias{view(bias)};
  int wrong = 0;
  for (std::int64_t m = 0; m < rows; ++m) {
    for (std::int64_t n = 0; n < columns; ++n) {
      const auto acc = static_cast<std::int32_t>(random.integer(-2000000000, 2000000000)) >> random.integer(0, 24);
      const auto at = [](const std::vector<float>& v, std::int64_t i) { return v[static_cast<std::size_t>(i)]; };
      const float product = static_cast<float>(static_cast<double>(static_cast<float>(acc)) * at(weight, n));
      wrong += float_bits(run(plain, acc, m, n)) != float_bits(std::fma(product, at(input, m), 0.0f));
      wrong += float_bits(run(biased, acc, m, n)) != float_bits(std::fma(product, at(input, m), at(bias, n)));
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("the bias after Dequantize is the addend of a fused multiply-add", "[epilogue]") {
  // 1.0001... squared minus its rounded self: not zero only if the product is not rounded before the addition.
  const float s = 1.0f + 0x1p-12f;
  const std::vector<float> input{s}, weight{s}, bias{-(1.0f + 0x1p-11f)};
  CHECK(run(Dequantize{view(input), view(weight)} | Bias{view(bias)}, 1, 0, 0) == 0x1p-24f);
}

TEST_CASE("a bias elsewhere is an addition in FP32", "[epilogue]") {
  const std::vector<float> one{1.0f}, bias{0.25f};
  const auto twice = Dequantize{view(one), view(one)} | Bias{view(bias)} | Bias{view(bias)};
  CHECK(run(twice, 3, 0, 0) == 3.5f);
}

TEST_CASE("scales of length one are shared by all rows or columns", "[epilogue]") {
  const std::vector<float> shared{0.5f}, weight{1.0f, 2.0f, 4.0f}, input{1.0f, 3.0f};
  CHECK(run(Dequantize{view(shared), view(weight)}, 10, 7, 2) == 20.0f);
  CHECK(run(Dequantize{view(input), view(shared)}, 10, 1, 9) == 15.0f);
}

TEMPLATE_TEST_CASE("scales and biases are read in the type they are stored in", "[epilogue]", float, half, bfloat16) {
  const std::vector<TestType> input{from_float<TestType>(0.1f)}, weight{from_float<TestType>(0.3f)},
      bias{from_float<TestType>(0.7f)};
  const float product = multiply(100.0f, to_float(weight[0]));
  CHECK(run(Dequantize{view(input), view(weight)} | Bias{view(bias)}, 100, 0, 0) ==
        std::fma(product, to_float(input[0]), to_float(bias[0])));
}

TEST_CASE("a NaN scale makes its whole row NaN, even where the accumulator is 0", "[epilogue]") {
  const std::vector<float> input{quiet_nan(), 1.0f}, weight{1.0f};
  const auto epilogue = Dequantize{view(input), view(weight)};
  CHECK(std::isnan(run(epilogue, 0, 0, 0)));
  CHECK(std::isnan(run(epilogue, 12, 0, 0)));
  CHECK(run(epilogue, 12, 1, 0) == 12.0f);
}

TEST_CASE("Gelu is the tanh form, in FP32, after the bias", "[epilogue]") {
  const std::vector<float> one{1.0f}, bias{-2.0f};
  const auto epilogue = Dequantize{view(one), view(one)} | Bias{view(bias)} | Gelu{};
  for (std::int32_t acc = -6; acc <= 10; ++acc) {
    const double x = acc - 2.0;
    const double expected = 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    CHECK(run(epilogue, acc, 0, 0) == Approx(expected).epsilon(1e-5).margin(1e-6));
  }
  CHECK(std::isnan(gelu_tanh(quiet_nan())));
  CHECK(gelu_tanh(1e30f) == 1e30f);
  CHECK(gelu_tanh(-1e30f) == 0.0f);
}

TEST_CASE("lengths, null pointers and strides that do not fit are refused by name", "[epilogue]") {
  const std::vector<float> three(3, 1.0f), four(4, 1.0f);
  const auto refused = [](const std::string& argument, const std::string& received, const std::function<void()>& call) {
    try {
      call();
      FAIL_CHECK("not refused: " << argument);
    } catch (const Error& error) {
      CHECK(error.function() == "gemm");
      CHECK(error.argument() == argument);
      CHECK(error.received() == received);
    }
  };
  const auto validate = [](const auto& epilogue) { epilogue.validate("gemm", 3, 4); };
  using View = VectorView<const float, Host>;
  CHECK_NOTHROW(validate(Dequantize{view(three), view(four)} | Bias{view(four)}));
  refused("input_scale", "length 4", [&] { validate(Dequantize{view(four), view(four)}); });
  refused("weight_scale", "length 3", [&] { validate(Dequantize{view(three), view(three)}); });
  refused("bias", "length 3", [&] { validate(Dequantize{view(three), view(four)} | Bias{view(three)}); });
  refused("input_scale", "nullptr", [&] { validate(Dequantize{View(nullptr, {3}), view(four)}); });
  refused("bias", "nullptr", [&] { validate(Bias{View(nullptr, {4})}); });
  refused("weight_scale", "stride 2", [&] { validate(Dequantize{view(three), View(four.data(), {4}, {2})}); });
  // A bias is never shared: one value for all channels is more likely a mistake.
  const std::vector<float> one(1, 1.0f);
  refused("bias", "length 1", [&] { validate(Bias{view(one)}); });
}
