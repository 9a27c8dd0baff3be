// The quantizers of the CPU against the written rule, element by element; the error contract of both spaces' shared checks.
#include "w8a8/quant/quantize.hpp"

#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "quant/rows.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/error_text.hpp"
#include "support/guarded.hpp"
#include "support/random.hpp"

namespace {

using namespace w8a8;
using w8a8_test::contains;
using w8a8_test::difference;
using w8a8_test::error_text;
using w8a8_test::Guarded;
using w8a8_test::infinity;
using w8a8_test::nan_value;
using w8a8_test::Random;

template <class Scale>
struct Row {
  std::vector<int> codes;
  Scale scale;
};

/// Quantizes one row of floats.
template <class Scale = float>
Row<Scale> quantize(std::vector<float> x, int bits = 8) {
  const auto k = static_cast<std::int64_t>(x.size());
  std::vector<std::int8_t> codes(x.size() + 1);
  Row<Scale> row;
  QuantizeOptions options;
  options.bits = bits;
  quantize_per_token(MatrixView<float, Host>(x.data(), {1, k}), MatrixView<std::int8_t, Host>(codes.data(), {1, k}),
                     VectorView<Scale, Host>(&row.scale, {1}), nullptr, options);
  row.codes.assign(codes.begin(), codes.end() - 1);
  return row;
}

/// The rule in double precision, independent of the library's functions: exact steps, then one rounding each where the contract
/// rounds.
template <class In, class Scale>
void check_rows_by_rule(const std::vector<In>& x, const std::vector<std::int8_t>& codes, const std::vector<Scale>& scales,
                        std::int64_t rows, std::int64_t columns, int bits) {
  const int limit = (1 << (bits - 1)) - 1;
  int wrong = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    float absmax = 1e-5f;
    for (std::int64_t k = 0; k < columns; ++k)
      absmax = std::fmax(absmax, std::fabs(to_float(x[static_cast<std::size_t>(r * columns + k)])));
    const Scale scale = from_float<Scale>(absmax / static_cast<float>(limit));
    const float inverse = 1.0f / to_float(scale);
    wrong += to_float(scale) != to_float(scales[static_cast<std::size_t>(r)]);
    for (std::int64_t k = 0; k < columns; ++k) {
      volatile float product = to_float(x[static_cast<std::size_t>(r * columns + k)]) * inverse;
      double expected = std::nearbyint(static_cast<double>(product));
      if (expected > limit) expected = limit;
      if (expected < -limit) expected = -limit;
      wrong += codes[static_cast<std::size_t>(r * columns + k)] != expected;
    }
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("quantize: halves round to even", "[quant][host]") {
  // Scale 1: absmax is qmax.
  const auto row = quantize({127, 0.5f, 1.5f, 2.5f, 3.5f, -0.5f, -1.5f, -2.5f, 126.5f, -126.5f, 0.49999997f});
  CHECK(row.scale == 1.0f);
  CHECK(row.codes == std::vector<int>{127, 0, 2, 2, 4, 0, -2, -2, 126, -126, 0});
}

TEST_CASE("quantize: the largest magnitude gets the largest code at every width", "[quant][host]") {
  for (int bits = 2; bits <= 8; ++bits) {
    const int limit = (1 << (bits - 1)) - 1;
    const auto row = quantize({-3.0f, 3.0f, 0.0f, 1e-7f}, bits);
    CHECK(row.codes == std::vector<int>{-limit, limit, 0, 0});
    CHECK(row.scale == 3.0f / static_cast<float>(limit));
  }
}

TEMPLATE_TEST_CASE("quantize: a zero row divides by the smallest scale", "[quant][host]", float, half, bfloat16) {
  const auto row = quantize<TestType>({0, -0.0f, 0});
  CHECK(row.codes == std::vector<int>{0, 0, 0});
  CHECK(to_float(row.scale) == to_float(from_float<TestType>(1e-5f / 127.0f)));
  CHECK(to_float(row.scale) > 0);
}

TEMPLATE_TEST_CASE("quantize: denormals and values below the smallest absmax", "[quant][host]", float, half, bfloat16) {
  const auto denormal = quantize<TestType>({1e-40f, -1e-45f});
  CHECK(denormal.codes == std::vector<int>{0, 0});
  CHECK(to_float(denormal.scale) == to_float(from_float<TestType>(1e-5f / 127.0f)));
  // A half cannot hold 1e-5 / 127 well: the scale as stored is what counts, and codes stay within their bounds.
  const auto small = quantize<TestType>({1e-5f, -1e-5f, 5e-6f});
  CHECK(small.codes[0] == 127);
  CHECK(small.codes[1] == -127);
  CHECK(std::abs(small.codes[2]) <= 127);
}

TEMPLATE_TEST_CASE("quantize: a row that is not finite gets scale NaN and codes 0", "[quant][host]", float, half, bfloat16) {
  for (const float bad : {nan_value, -nan_value, infinity, -infinity}) {
    for (std::size_t at : {0u, 7u, 8u, 19u}) {
      std::vector<float> x(20, 5.0f);
      x[at] = bad;
      const auto row = quantize<TestType>(x);
      CHECK(row.codes == std::vector<int>(20, 0));
      CHECK(std::isnan(to_float(row.scale)));
      CHECK(w8a8_test::value_and_bits(row.scale) == w8a8_test::value_and_bits(from_float<TestType>(nan_value)));
    }
  }
}

TEST_CASE("quantize: a bad row leaves its neighbours alone", "[quant][host]") {
  std::vector<float> x(3 * 16, 1.0f);
  x[16 + 5] = nan_value;
  std::vector<std::int8_t> codes(x.size());
  std::vector<float> scale(3);
  quantize_per_token(MatrixView<float, Host>(x.data(), {3, 16}), MatrixView<std::int8_t, Host>(codes.data(), {3, 16}),
                     VectorView<float, Host>(scale.data(), {3}));
  for (int k = 0; k < 16; ++k) {
    CHECK(codes[static_cast<std::size_t>(k)] == 127);
    CHECK(codes[static_cast<std::size_t>(16 + k)] == 0);
    CHECK(codes[static_cast<std::size_t>(32 + k)] == 127);
  }
  CHECK(scale[0] == 1.0f / 127.0f);
  CHECK(std::isnan(scale[1]));
}

TEST_CASE("quantize: an outlier takes the scale, the rest goes to zero", "[quant][host]") {
  const auto row = quantize({1e30f, 1.0f, -1.0f, 1e27f});
  CHECK(row.codes == std::vector<int>{127, 0, 0, 0});
  // A scale beyond half's range is stored as infinity: outputs are then NaN, not plausible.
  const auto over = quantize<half>({1e30f, 1.0f});
  CHECK(std::isinf(to_float(over.scale)));
  CHECK(over.codes == std::vector<int>{0, 0});
}

TEST_CASE("quantize: ragged shapes, strides and misaligned rows follow the rule", "[quant][host]") {
  Random random(11);
  for (int round = 0; round < 80; ++round) {
    const std::int64_t rows = random.integer(1, 9), columns = random.integer(1, 300);
    const int bits = static_cast<int>(random.integer(2, 8));
    Guarded<half, Host> x(rows, columns, columns + random.integer(0, 9), random.integer(0, 7));
    Guarded<std::int8_t, Host> out(rows, columns, columns + random.integer(0, 9), random.integer(0, 7));
    Guarded<bfloat16, Host> scale(1, rows, 0, random.integer(0, 3));
    const auto values = w8a8_test::normal<half>(random, rows * columns, random.chance(0.2) ? 1e-6f : 3.0f);
    x.fill(values);
    QuantizeOptions options;
    options.bits = bits;
    options.threads = static_cast<int>(random.integer(0, 3));
    quantize_per_channel(x.view(), out.view(), scale.vector(), nullptr, options);
    CAPTURE(rows, columns, bits);
    check_rows_by_rule(values, out.values(), scale.values(), rows, columns, bits);
    CHECK(out.damage() == "");
    CHECK(scale.damage() == "");
    CHECK(x.change() == "");
    CHECK(out.unwritten() == 0);
  }
}

TEST_CASE("quantize: rows spread over threads give the same bits", "[quant][host]") {
  Random random(12);
  const std::int64_t rows = 300, columns = 700;
  const auto values = w8a8_test::normal<float>(random, rows * columns);
  std::vector<std::int8_t> one(values.size()), many(values.size(), 1);
  std::vector<float> scale_one(rows), scale_many(rows, 1.0f);
  const MatrixView<const float, Host> x(values.data(), {rows, columns});
  QuantizeOptions options;
  options.threads = 1;
  quantize_per_token(x, MatrixView<std::int8_t, Host>(one.data(), {rows, columns}),
                     VectorView<float, Host>(scale_one.data(), {rows}), nullptr, options);
  options.threads = 7;
  quantize_per_token(x, MatrixView<std::int8_t, Host>(many.data(), {rows, columns}),
                     VectorView<float, Host>(scale_many.data(), {rows}), nullptr, options);
  CHECK(difference(one, many, columns) == "");
  CHECK(difference(scale_one, scale_many) == "");
}

TEST_CASE("quantize: no rows is a no-op, no columns gives the scale of zeros", "[quant][host]") {
  float scale[2] = {7, 7};
  quantize_per_token(MatrixView<float, Host>(nullptr, {0, 5}), MatrixView<std::int8_t, Host>(nullptr, {0, 5}),
                     VectorView<float, Host>(nullptr, {0}));
  quantize_per_token(MatrixView<float, Host>(nullptr, {2, 0}), MatrixView<std::int8_t, Host>(nullptr, {2, 0}),
                     VectorView<float, Host>(scale, {2}));
  CHECK(scale[0] == 1e-5f / 127.0f);
  CHECK(scale[1] == 1e-5f / 127.0f);
}

TEST_CASE("quantize_per_tensor: the given scale, clamped codes, NaN to 0", "[quant][host]") {
  const std::vector<float> x = {0.25f, 0.75f, -1000, 1000, infinity, -infinity, nan_value, 63.5f, 0};
  std::vector<std::int8_t> codes(x.size());
  quantize_per_tensor(MatrixView<const float, Host>(x.data(), {3, 3}), MatrixView<std::int8_t, Host>(codes.data(), {3, 3}), 0.5f);
  CHECK(std::vector<int>(codes.begin(), codes.end()) == std::vector<int>{0, 2, -127, 127, 127, -127, 0, 127, 0});
}

TEST_CASE("quantize: every bad argument is named before anything is written", "[quant][host]") {
  std::vector<float> x(64, 1.0f);
  std::vector<std::int8_t> codes(64, 99);
  std::vector<float> scale(4, 99.0f);
  const MatrixView<float, Host> xv(x.data(), {4, 16});
  const MatrixView<std::int8_t, Host> ov(codes.data(), {4, 16});
  const VectorView<float, Host> sv(scale.data(), {4});
  QuantizeOptions options;

  const auto text = [&](const MatrixView<float, Host>& a, const MatrixView<std::int8_t, Host>& b,
                        const VectorView<float, Host>& c) {
    return error_text([&] { quantize_per_token(a, b, c, nullptr, options); });
  };
  CHECK(text(MatrixView<float, Host>(nullptr, {4, 16}), ov, sv) ==
        "w8a8::quantize_per_token: argument 'x': expected a pointer to its elements, got nullptr");
  CHECK(contains(text(xv, MatrixView<std::int8_t, Host>(nullptr, {4, 16}), sv), "'out': expected a pointer"));
  CHECK(contains(text(xv, ov, VectorView<float, Host>(nullptr, {4})), "'scale': expected a pointer"));
  CHECK(contains(text(xv, MatrixView<std::int8_t, Host>(codes.data(), {4, 15}), sv), "'out': expected shape 4x16, got 4x15"));
  CHECK(contains(text(xv, ov, VectorView<float, Host>(scale.data(), {3})), "'scale': expected length 4, got length 3"));
  CHECK(contains(text(xv, ov, VectorView<float, Host>(scale.data(), {4}, {2})), "'scale': expected stride 1, got stride 2"));
  CHECK(contains(text(MatrixView<float, Host>(x.data(), {4, 16}, {8, 1}), ov, sv), "'x': expected a row stride of at least 16"));
  CHECK(contains(text(MatrixView<float, Host>(x.data(), {4, 16}, {1, 4}), ov, sv), "'x': expected contiguous rows"));
  CHECK(contains(text(MatrixView<float, Host>(reinterpret_cast<float*>(reinterpret_cast<char*>(x.data()) + 2), {3, 16}), ov, sv),
                 "'x': expected an address aligned to 4 bytes"));
  CHECK(contains(text(MatrixView<float, Host>(x.data(), {std::int64_t{1} << 31, 0}), ov, sv), "'x': expected at most"));
  for (const int bits : {-1, 0, 1, 9, 32}) {
    options.bits = bits;
    CHECK(contains(text(xv, ov, sv), "'options.bits': expected 2 to 8"));
  }
  options.bits = 8;
  options.threads = -1;
  CHECK(contains(text(xv, ov, sv), "'options.threads'"));
  options.threads = 0;
  for (const float bad : {0.0f, -1.0f, nan_value, infinity}) {
    CHECK(contains(error_text([&] { quantize_per_tensor(xv, ov, bad); }), "w8a8::quantize_per_tensor: argument 'scale'"));
  }
  CHECK(contains(error_text([&] {
                   quantize_per_channel(MatrixView<float, Host>(nullptr, {4, 16}), ov, sv);
                 }),
                 "w8a8::quantize_per_channel: argument 'weight'"));
  CHECK(codes == std::vector<std::int8_t>(64, 99));
  CHECK(scale == std::vector<float>(4, 99.0f));
}
