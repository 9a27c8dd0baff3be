// The fused producers of the CPU against FP64: values within 1 ulp of the output type, codes within 1; bad rows; errors.
#include "w8a8/quant/fused.hpp"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
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
using w8a8_test::ulps;

/// Checks values and codes of `rows` rows against exact(r, k).
template <class T>
void check_against(const std::function<double(std::int64_t, std::int64_t)>& exact, const std::vector<T>& values,
                   const std::vector<std::int8_t>& codes, const std::vector<float>& scales, std::int64_t rows,
                   std::int64_t columns) {
  int far_values = 0, far_codes = 0, far_scales = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    double absmax = 1e-5;
    for (std::int64_t k = 0; k < columns; ++k) absmax = std::fmax(absmax, std::fabs(exact(r, k)));
    const double scale = absmax / 127;
    far_scales += !(std::fabs(static_cast<double>(scales[static_cast<std::size_t>(r)]) / scale - 1) < 1e-5);
    for (std::int64_t k = 0; k < columns; ++k) {
      const auto at = static_cast<std::size_t>(r * columns + k);
      far_values += !(ulps(values[at], exact(r, k)) <= 1);
      far_codes += !(std::fabs(codes[at] - exact(r, k) / scale) <= 0.51);
    }
  }
  CHECK(far_scales == 0);
  CHECK(far_values == 0);
  CHECK(far_codes == 0);
}

double silu_exact(double x) { return x / (1 + std::exp(-x)); }
double gelu_tanh_exact(double x) {
  return x / (1 + std::exp(-2 * std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}
double gelu_erf_exact(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }

}  // namespace

TEMPLATE_TEST_CASE("fused norms: values within an ulp of FP64, with and without residual", "[quant][host]", half, bfloat16) {
  using T = TestType;
  Random random(31);
  for (int round = 0; round < 24; ++round) {
    const std::int64_t rows = random.integer(1, 5), columns = random.integer(1, round % 4 ? 500 : 40000);
    const bool layer = round % 2, add_residual = random.chance(0.5);
    const float epsilon = 1e-5f;
    const auto x = w8a8_test::normal<T>(random, rows * columns, 2.0f), stream = w8a8_test::normal<T>(random, rows * columns);
    const auto weight = w8a8_test::normal<T>(random, columns), bias = w8a8_test::normal<T>(random, columns);
    Guarded<T, Host> in(rows, columns, columns + random.integer(0, 5), random.integer(0, 3)), residual(rows, columns),
        normalized(rows, columns, columns + 3, 1);
    Guarded<T, Host> w(1, columns), b(1, columns);
    Guarded<std::int8_t, Host> out(rows, columns, columns + random.integer(0, 5), random.integer(0, 3));
    Guarded<float, Host> scale(1, rows);
    in.fill(x), residual.fill(stream), w.fill(weight), b.fill(bias);
    NormStreams<T, Host> streams;
    streams.normalized = normalized.view();
    if (add_residual) streams.residual = residual.view();
    if (layer) {
      layer_norm_quantize(in.view(), w.vector(), b.vector(), epsilon, out.view(), scale.vector(), nullptr, {}, streams);
    } else {
      rms_norm_quantize(in.view(), w.vector(), epsilon, out.view(), scale.vector(), nullptr, {}, streams);
    }
    // The rounded sum is what is normalised.
    std::vector<T> h = x;
    if (add_residual) {
      for (std::size_t i = 0; i < h.size(); ++i) h[i] = from_float<T>(to_float(x[i]) + to_float(stream[i]));
      CHECK(difference(h, residual.values(), columns) == "");
    } else {
      CHECK(residual.change() == "");
    }
    std::vector<double> mean(static_cast<std::size_t>(rows)), deviation(mean.size());
    const auto value = [&](std::int64_t r, std::int64_t k) {
      return static_cast<double>(to_float(h[static_cast<std::size_t>(r * columns + k)]));
    };
    for (std::int64_t r = 0; r < rows; ++r) {
      double sum = 0, squares = 0;
      for (std::int64_t k = 0; k < columns; ++k) sum += value(r, k);
      mean[static_cast<std::size_t>(r)] = layer ? sum / static_cast<double>(columns) : 0;
      for (std::int64_t k = 0; k < columns; ++k) squares += std::pow(value(r, k) - mean[static_cast<std::size_t>(r)], 2);
      deviation[static_cast<std::size_t>(r)] = std::sqrt(squares / static_cast<double>(columns) + static_cast<double>(epsilon));
    }
    CAPTURE(rows, columns, layer, add_residual);
    const auto exact = [&](std::int64_t r, std::int64_t k) {
      const auto i = static_cast<std::size_t>(r), j = static_cast<std::size_t>(k);
      return (value(r, k) - mean[i]) / deviation[i] * static_cast<double>(to_float(weight[j])) +
             (layer ? static_cast<double>(to_float(bias[j])) : 0);
    };
    if (layer) {
      // Where product and bias cancel, an ulp of the difference is below FP32's own rounding: compare against the larger term.
      int far = 0;
      const auto got = normalized.values();
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t k = 0; k < columns; ++k) {
          const auto at = static_cast<std::size_t>(r * columns + k);
          const double term = std::fabs(static_cast<double>(to_float(bias[static_cast<std::size_t>(k)])));
          far +=
              !(ulps(got[at], exact(r, k)) <= 1 || std::fabs(static_cast<double>(to_float(got[at])) - exact(r, k)) < 1e-5 * term);
        }
      }
      CHECK(far == 0);
    } else {
      check_against<T>(exact, normalized.values(), out.values(), scale.values(), rows, columns);
    }
    CHECK(normalized.damage() == "");
    CHECK(out.damage() == "");
    CHECK(out.unwritten() == 0);
    CHECK(scale.damage() == "");
    CHECK(in.change() == "");
  }
}

TEMPLATE_TEST_CASE("fused activations: values within an ulp of FP64", "[quant][host]", half, bfloat16) {
  using T = TestType;
  Random random(32);
  for (int round = 0; round < 24; ++round) {
    const std::int64_t rows = random.integer(1, 6), columns = random.integer(1, round % 4 ? 400 : 35000);
    Guarded<T, Host> gate(rows, columns, columns + random.integer(0, 5), random.integer(0, 3)), up(rows, columns),
        values(rows, columns, columns + 1, 1);
    Guarded<std::int8_t, Host> out(rows, columns);
    Guarded<float, Host> scale(1, rows);
    const auto g = w8a8_test::normal<T>(random, rows * columns, 3.0f), u = w8a8_test::normal<T>(random, rows * columns);
    gate.fill(g), up.fill(u);
    const auto in = [&](const std::vector<T>& x, std::int64_t r, std::int64_t k) {
      return static_cast<double>(to_float(x[static_cast<std::size_t>(r * columns + k)]));
    };
    CAPTURE(rows, columns);
    silu_mul_quantize(gate.view(), up.view(), out.view(), scale.vector(), nullptr, {}, values.view());
    check_against<T>([&](std::int64_t r, std::int64_t k) { return silu_exact(in(g, r, k)) * in(u, r, k); }, values.values(),
                     out.values(), scale.values(), rows, columns);
    gelu_quantize(gate.view(), GeluForm::tanh, out.view(), scale.vector(), nullptr, {}, values.view());
    check_against<T>([&](std::int64_t r, std::int64_t k) { return gelu_tanh_exact(in(g, r, k)); }, values.values(), out.values(),
                     scale.values(), rows, columns);
    gelu_quantize(gate.view(), GeluForm::erf, out.view(), scale.vector(), nullptr, {}, values.view());
    check_against<T>([&](std::int64_t r, std::int64_t k) { return gelu_erf_exact(in(g, r, k)); }, values.values(), out.values(),
                     scale.values(), rows, columns);
    CHECK(values.damage() == "");
    CHECK(out.damage() == "");
    CHECK(gate.change() == "");
  }
}

TEST_CASE("fused forms: zero, denormal, outlier and bad rows", "[quant][host]") {
  const std::int64_t columns = 64;
  const auto run = [&](float fill, float special, int form) {
    std::vector<float> x(64, fill), ones(64, 1.0f), zeros(64, 0.0f);
    x[37] = special;
    std::vector<std::int8_t> codes(64, 99);
    float scale = -1;
    const MatrixView<float, Host> xv(x.data(), {1, columns}), up(ones.data(), {1, columns});
    const MatrixView<std::int8_t, Host> out(codes.data(), {1, columns});
    const VectorView<float, Host> w(ones.data(), {columns}), b(zeros.data(), {columns}), s(&scale, {1});
    switch (form) {
      case 0: rms_norm_quantize(xv, w, 1e-6f, out, s); break;
      case 1: layer_norm_quantize(xv, w, b, 1e-6f, out, s); break;
      case 2: silu_mul_quantize(xv, up, out, s); break;
      case 3: gelu_quantize(xv, GeluForm::tanh, out, s); break;
      default: gelu_quantize(xv, GeluForm::erf, out, s); break;
    }
    return std::make_pair(codes, scale);
  };
  for (int form = 0; form < 5; ++form) {
    CAPTURE(form);
    for (const float bad : {nan_value, infinity, -infinity}) {
      const auto [codes, scale] = run(0.5f, bad, form);
      CHECK(codes == std::vector<std::int8_t>(64, 0));
      CHECK(std::isnan(scale));
    }
    for (const float tiny : {0.0f, 1e-42f}) {
      const auto [codes, scale] = run(tiny, tiny, form);
      CHECK(codes == std::vector<std::int8_t>(64, 0));
      CHECK(scale == 1e-5f / 127.0f);
    }
    const auto [codes, scale] = run(0.01f, 1000.0f, form);
    CHECK(codes[37] == 127);
    CHECK(std::isfinite(scale));
    CHECK(codes[0] <= 0);  // layer_norm: -16; the others: 0
  }
}

TEST_CASE("fused norms: statistics survive a large common offset", "[quant][host]") {
  const std::int64_t columns = 4096;
  Random random(33);
  std::vector<float> x(static_cast<std::size_t>(columns)), one(x.size(), 1.0f), zero(x.size(), 0.0f), values(x.size());
  for (float& v : x) v = 10000.0f + static_cast<float>(random.integer(-1, 1));
  std::vector<std::int8_t> codes(x.size());
  float scale = 0;
  NormStreams<float, Host> streams;
  streams.normalized = MatrixView<float, Host>(values.data(), {1, columns});
  layer_norm_quantize(MatrixView<float, Host>(x.data(), {1, columns}), VectorView<float, Host>(one.data(), {columns}),
                      VectorView<float, Host>(zero.data(), {columns}), 0.0f,
                      MatrixView<std::int8_t, Host>(codes.data(), {1, columns}), VectorView<float, Host>(&scale, {1}), nullptr,
                      {}, streams);
  double sum = 0, squares = 0;
  for (const float v : x) sum += static_cast<double>(v) - 10000;
  for (const float v : x) squares += std::pow(static_cast<double>(v) - 10000 - sum / 4096, 2);
  for (int k = 0; k < 100; ++k) {
    const auto i = static_cast<std::size_t>(k);
    CHECK(static_cast<double>(values[i]) ==
          Approx((static_cast<double>(x[i]) - 10000 - sum / 4096) / std::sqrt(squares / 4096)).margin(2e-3));
  }
}

TEST_CASE("fused forms: every bad argument is named", "[quant][host]") {
  std::vector<float> x(32, 1.0f), w(16, 1.0f), scales(2);
  std::vector<std::int8_t> codes(32, 99);
  const MatrixView<float, Host> xv(x.data(), {2, 16}), narrow(x.data(), {2, 15}), null(nullptr, {2, 16});
  const MatrixView<std::int8_t, Host> out(codes.data(), {2, 16});
  const VectorView<float, Host> wv(w.data(), {16}), shorter(w.data(), {15}), s(scales.data(), {2});
  NormStreams<float, Host> streams;
  CHECK(contains(error_text([&] { rms_norm_quantize(null, wv, 1e-5f, out, s); }), "w8a8::rms_norm_quantize: argument 'x'"));
  CHECK(contains(error_text([&] { rms_norm_quantize(xv, shorter, 1e-5f, out, s); }),
                 "'weight': expected length 16, got length 15"));
  CHECK(contains(error_text([&] { rms_norm_quantize(xv, wv, -1.0f, out, s); }), "'epsilon'"));
  CHECK(contains(error_text([&] { rms_norm_quantize(xv, wv, nan_value, out, s); }), "'epsilon'"));
  CHECK(contains(error_text([&] { layer_norm_quantize(xv, wv, shorter, 1e-5f, out, s); }),
                 "w8a8::layer_norm_quantize: argument 'bias'"));
  streams.residual = narrow;
  CHECK(contains(error_text([&] { rms_norm_quantize(xv, wv, 1e-5f, out, s, nullptr, {}, streams); }),
                 "'streams.residual': expected shape 2x16"));
  streams.residual = {};
  streams.normalized = null;
  CHECK(contains(error_text([&] { rms_norm_quantize(xv, wv, 1e-5f, out, s, nullptr, {}, streams); }),
                 "'streams.normalized': expected a pointer"));
  CHECK(contains(error_text([&] { silu_mul_quantize(xv, narrow, out, s); }), "w8a8::silu_mul_quantize: argument 'up'"));
  CHECK(contains(error_text([&] { silu_mul_quantize(null, xv, out, s); }), "'gate': expected a pointer"));
  CHECK(contains(error_text([&] { gelu_quantize(xv, GeluForm::erf, out, s, nullptr, {}, narrow); }),
                 "w8a8::gelu_quantize: argument 'values'"));
  CHECK(codes == std::vector<std::int8_t>(32, 99));
}
