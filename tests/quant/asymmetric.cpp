// Asymmetric quantization of the CPU: the written rule, its edges, and the product that the zero-point correction restores.
#include "w8a8/quant/asymmetric.hpp"

#include <cmath>
#include <cstdint>
#include <vector>

#include "quant/rows.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/guarded.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"
#include "w8a8/epilogue/zero_point.hpp"

namespace {

using namespace w8a8;
using w8a8_test::contains;
using w8a8_test::error_text;
using w8a8_test::Guarded;
using w8a8_test::infinity;
using w8a8_test::nan_value;
using w8a8_test::Random;

struct Row {
  std::vector<std::int8_t> codes;
  float scale;
  std::int32_t zero_point;
};

Row quantize(std::vector<float> x, int bits = 8) {
  const auto k = static_cast<std::int64_t>(x.size());
  Row row{std::vector<std::int8_t>(x.size(), 99), -1, -1};
  QuantizeOptions options;
  options.bits = bits;
  quantize_per_token_asymmetric(MatrixView<float, Host>(x.data(), {1, k}),
                                MatrixView<std::int8_t, Host>(row.codes.data(), {1, k}), VectorView<float, Host>(&row.scale, {1}),
                                VectorView<std::int32_t, Host>(&row.zero_point, {1}), nullptr, options);
  return row;
}

}  // namespace

TEST_CASE("asymmetric: the range maps onto all codes", "[quant][host]") {
  const Row row = quantize({0.0f, 255.0f, 1.0f, 2.5f, 3.5f});
  CHECK(row.scale == 1.0f);
  CHECK(row.zero_point == -128);
  CHECK(row.codes == std::vector<std::int8_t>{-128, 127, -127, -126, -124});
  const Row mixed = quantize({-100.0f, 155.0f, 0.0f});
  CHECK(mixed.scale == 1.0f);
  CHECK(mixed.zero_point == -28);
  CHECK(mixed.codes == std::vector<std::int8_t>{-128, 127, -28});
  const Row negative = quantize({-255.0f, -1.0f});
  CHECK(negative.zero_point == 127);
  CHECK(negative.codes == std::vector<std::int8_t>{-128, 126});
}

TEST_CASE("asymmetric: zero is a code of its own, so zero stays exact", "[quant][host]") {
  Random random(51);
  for (int round = 0; round < 200; ++round) {
    const int bits = static_cast<int>(random.integer(2, 8));
    std::vector<float> x = w8a8_test::normal<float>(random, random.integer(1, 40), 3.0f);
    const float shift = random.normal() * 4;
    for (float& v : x) v += shift;
    x.push_back(0.0f);
    const Row row = quantize(x, bits);
    CHECK(row.codes.back() == row.zero_point);
    for (std::size_t i = 0; i < x.size(); ++i) {
      CHECK(row.codes[i] >= -(1 << (bits - 1)));
      CHECK(row.codes[i] <= qmax(bits));
      CHECK(std::fabs(static_cast<float>(row.codes[i] - row.zero_point) * row.scale - x[i]) <= 1.001f * row.scale);
    }
  }
}

TEST_CASE("asymmetric: zero, denormal and bad rows", "[quant][host]") {
  for (const float tiny : {0.0f, 1e-44f, -1e-44f}) {
    const Row row = quantize({tiny, 0, 0});
    CHECK(row.scale == 1e-5f / 255.0f);
    CHECK(row.zero_point == -128);
    CHECK(row.codes == std::vector<std::int8_t>(3, -128));
  }
  for (const float bad : {nan_value, -nan_value, infinity, -infinity}) {
    std::vector<float> x(19, -2.0f);
    x[12] = bad;
    const Row row = quantize(x);
    CHECK(std::isnan(row.scale));
    CHECK(row.zero_point == 0);
    CHECK(row.codes == std::vector<std::int8_t>(19, 0));
  }
  const Row wide = quantize({3e38f, -3e38f});  // the range itself overflows: scale infinity, outputs NaN
  CHECK(std::isinf(wide.scale));
}

TEST_CASE("asymmetric: ZeroPoint restores the product of the shifted codes", "[quant][epilogue][host]") {
  Random random(52);
  const std::int64_t m = 5, n = 7, k = 93;
  const auto x = w8a8_test::uniform_int8(random, m * k), w = w8a8_test::uniform_int8(random, n * k);
  std::vector<std::int32_t> zero(static_cast<std::size_t>(m)), sum(static_cast<std::size_t>(n));
  for (auto& z : zero) z = static_cast<std::int32_t>(random.integer(-128, 127));
  weight_row_sum(MatrixView<const std::int8_t, Host>(w.data(), {n, k}), VectorView<std::int32_t, Host>(sum.data(), {n}));
  const VectorView<std::int32_t, Host> zero_view(zero.data(), {m}), sum_view(sum.data(), {n});
  const auto out = w8a8_test::reference_gemm<std::int32_t>(x, w, m, n, k, ZeroPoint{zero_view, sum_view});
  int wrong = 0;
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      std::int64_t exact = 0;
      for (std::int64_t l = 0; l < k; ++l)
        exact +=
            (x[static_cast<std::size_t>(i * k + l)] - zero[static_cast<std::size_t>(i)]) * w[static_cast<std::size_t>(j * k + l)];
      wrong += out[static_cast<std::size_t>(i * n + j)] != exact;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("asymmetric: the extreme product of the largest K fits int32", "[quant][epilogue][host]") {
  // Codes 127, zero point -128, weights -128: (127 + 128) * -128 * K. The accumulator and the correction each fit or wrap; their
  // difference is exact.
  const std::int32_t k = static_cast<std::int32_t>(maximum_asymmetric_k), zero = -128, sum = -128 * k;
  const ZeroPoint functor{VectorView<const std::int32_t, Host>(&zero, {1}), VectorView<const std::int32_t, Host>(&sum, {1})};
  const std::int32_t acc = static_cast<std::int32_t>(static_cast<std::int64_t>(127) * -128 * k);
  CHECK(functor.apply(acc, functor.row(0), functor.column(0), 0, 0) == static_cast<std::int64_t>(255) * -128 * k);
}

TEST_CASE("asymmetric: every bad argument is named", "[quant][host]") {
  const auto named = [](auto&& call, const char* part) { return contains(error_text(call), part); };
  std::vector<float> x(8), scale(2);
  std::vector<std::int8_t> codes(8);
  std::vector<std::int32_t> zero(2);
  const MatrixView<float, Host> xv(x.data(), {2, 4});
  const MatrixView<std::int8_t, Host> out(codes.data(), {2, 4});
  const VectorView<float, Host> s(scale.data(), {2});
  const VectorView<std::int32_t, Host> z(zero.data(), {2}), shorter(zero.data(), {1});
  CHECK(named([&] { quantize_per_token_asymmetric(xv, out, s, shorter); },
              "quantize_per_token_asymmetric: argument 'zero_point': expected length 2"));
  CHECK(named([&] { quantize_per_token_asymmetric(xv, MatrixView<std::int8_t, Host>(codes.data(), {2, 3}), s, z); }, "'out'"));
  CHECK(named([&] { weight_row_sum(MatrixView<std::int8_t, Host>(nullptr, {2, 4}), z); }, "weight_row_sum: argument 'weight'"));
  CHECK(named(
      [&] {
        weight_row_sum(MatrixView<std::int8_t, Host>(codes.data(), {2, maximum_asymmetric_k + 1}), z);
      },
      "K <= 65793"));
  CHECK(named([&] { weight_row_sum(out, shorter); }, "'sum': expected length 2"));
  CHECK(named([&] { ZeroPoint{shorter, shorter}.validate("gemm", 3, 2); }, "gemm: argument 'weight_row_sum'"));
  CHECK(named([&] { ZeroPoint{z, z}.validate("gemm", 3, 2); }, "gemm: argument 'zero_point'"));
}
