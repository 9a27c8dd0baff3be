// The epilogue functors beyond dequantization, alone and composed: values, states, and what validate() refuses.
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "w8a8/epilogue/activation.hpp"
#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/epilogue/requantize.hpp"
#include "w8a8/epilogue/residual.hpp"
#include "w8a8/epilogue/zero_point.hpp"

namespace {

using namespace w8a8;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

template <class Functor>
float apply(const Functor& functor, float value) {
  return functor.apply(value, Empty{}, Empty{}, 0, 0);
}

template <class Functor>
std::string refusal(const Functor& functor, std::int64_t rows, std::int64_t columns) {
  try {
    functor.validate("gemm", rows, columns);
  } catch (const Error& error) {
    return error.argument();
  }
  return "";
}

}  // namespace

TEST_CASE("activation functors: known values and tails", "[epilogue][host]") {
  CHECK(apply(Relu{}, -1.0f) == 0.0f);
  CHECK(apply(Relu{}, 2.5f) == 2.5f);
  CHECK(std::isnan(apply(Relu{}, nan_value)));
  CHECK(apply(Silu{}, 1.0f) == Approx(0.7310585786));
  CHECK(apply(Gelu{}, 1.0f) == Approx(0.8411919906));
  CHECK(apply(GeluErf{}, 1.0f) == Approx(0.8413447461));
  const auto all = [](auto&& check) { check(Silu{}), check(Gelu{}), check(GeluErf{}); };
  all([](const auto& f) {
    CHECK(apply(f, 0.0f) == 0.0f);
    CHECK(apply(f, 1e30f) == 1e30f);
    CHECK(apply(f, -1e30f) == 0.0f);
    CHECK(std::isnan(apply(f, nan_value)));
    for (float x = -60.0f; x < 60.0f; x += 0.37f) CHECK(std::isfinite(apply(f, x)));
  });
  CHECK(apply(Silu{}, infinity) == infinity);
  CHECK(apply(Gelu{}, infinity) == infinity);
  CHECK(std::isnan(apply(GeluErf{}, infinity)));  // documented
  // Where 1 + tanh and 1 + erf would cancel.
  CHECK(apply(Gelu{}, -5.0f) == Approx(-2.2917961e-7).epsilon(1e-4));
  CHECK(apply(GeluErf{}, -5.0f) == Approx(-1.4332579e-6).epsilon(1e-5));
  CHECK(apply(GeluErf{}, -9.0f) == Approx(-1.0157292e-18).epsilon(1e-5));
  CHECK(apply(Silu{}, -30.0f) == Approx(-2.8072869e-12).epsilon(1e-5));
}

TEST_CASE("Residual adds the element at its own row and column, with any strides", "[epilogue][host]") {
  std::vector<half> matrix(3 * 5);
  for (int i = 0; i < 15; ++i) matrix[static_cast<std::size_t>(i)] = from_float<half>(static_cast<float>(i));
  const Residual functor{MatrixView<half, Host>(matrix.data(), {3, 4}, {5, 1})};
  CHECK(functor.apply(0.5f, Empty{}, Empty{}, 2, 3) == 13.5f);
  const Residual transposed{MatrixView<const half, Host>(matrix.data(), {4, 3}, {1, 5})};
  CHECK(transposed.apply(0.5f, Empty{}, Empty{}, 3, 2) == 13.5f);
  CHECK(refusal(functor, 3, 4) == "");
  CHECK(refusal(functor, 4, 3) == "residual");
  CHECK(refusal(Residual{MatrixView<half, Host>(nullptr, {3, 4})}, 3, 4) == "residual");
}

TEST_CASE("Requantize: half to even, clamped, NaN to 0", "[epilogue][host]") {
  const Requantize functor(0.5f);
  const auto code = [&](float x) { return static_cast<int>(functor.apply(x, Empty{}, Empty{}, 0, 0)); };
  CHECK(code(0.25f) == 0);
  CHECK(code(0.75f) == 2);
  CHECK(code(-0.75f) == -2);
  CHECK(code(1e9f) == 127);
  CHECK(code(-infinity) == -127);
  CHECK(code(nan_value) == 0);
  CHECK(static_cast<int>(Requantize(1.0f, 4).apply(100.0f, Empty{}, Empty{}, 0, 0)) == 7);
  CHECK(refusal(functor, 1, 1) == "");
  for (const float bad : {0.0f, -1.0f, nan_value, infinity}) CHECK(refusal(Requantize(bad), 1, 1) == "scale");
  CHECK(refusal(Requantize(1.0f, 9), 1, 1) == "bits");
}

TEST_CASE("a whole chain: zero point, dequantize, bias, activation, residual, requantize", "[epilogue][host]") {
  const std::int32_t zero[] = {3, -7}, sums[] = {10, 20, -30};
  const float input_scale[] = {0.5f, 0.25f}, weight_scale[] = {1, 2, 4}, bias[] = {1, -1, 0.5f};
  std::vector<bfloat16> added(6);
  for (int i = 0; i < 6; ++i) added[static_cast<std::size_t>(i)] = from_float<bfloat16>(static_cast<float>(i) - 2.0f);
  const auto chain =
      ZeroPoint{VectorView<const std::int32_t, Host>(zero, {2}), VectorView<const std::int32_t, Host>(sums, {3})} |
      Dequantize{VectorView<const float, Host>(input_scale, {2}), VectorView<const float, Host>(weight_scale, {3})} |
      Bias{VectorView<const float, Host>(bias, {3})} | Relu{} | Residual{MatrixView<bfloat16, Host>(added.data(), {2, 3})} |
      Requantize(0.5f);
  CHECK(refusal(chain, 2, 3) == "");
  CHECK(refusal(chain, 2, 4) != "");
  for (int m = 0; m < 2; ++m) {
    for (int n = 0; n < 3; ++n) {
      const std::int32_t acc = 17 * m - 11 * n;
      const float y = static_cast<float>(acc - zero[m] * sums[n]) * weight_scale[n] * input_scale[m] + bias[n];
      const float z = (y > 0 ? y : 0) + static_cast<float>(3 * m + n - 2);
      const float code = std::nearbyint(z * 2);
      const float expected = code > 127 ? 127 : (code < -127 ? -127 : code);
      CHECK(store_value<std::int8_t>(chain.apply(acc, chain.row(m), chain.column(n), m, n)) == expected);
    }
  }
}
