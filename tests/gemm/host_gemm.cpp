// The CPU backend against a plain triple loop in 64-bit integers, bit for bit.
#include "w8a8/gemm/host_gemm.hpp"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "support/catch.hpp"
#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/tensor/tensor.hpp"

namespace {

using namespace w8a8;

struct Operands {
  int m, n, k;
  std::int64_t ldx, ldw, ldo;
  std::vector<std::int8_t> x, w;
  std::vector<float> input_scale, weight_scale, bias;

  Operands(std::mt19937& random, int m_, int n_, int k_)
      : m(m_), n(n_), k(k_), ldx(k_ + random() % 5), ldw(k_ + random() % 5), ldo(n_ + random() % 5) {
    const auto code = [&] { return static_cast<std::int8_t>(static_cast<int>(random() % 256) - 128); };
    x.resize(static_cast<std::size_t>(m * ldx));
    w.resize(static_cast<std::size_t>(n * ldw));
    for (auto& v : x) v = code();
    for (auto& v : w) v = code();
    std::uniform_real_distribution<float> scale(1e-4f, 2e-2f);
    for (int i = 0; i < m; ++i) input_scale.push_back(scale(random));
    for (int j = 0; j < n; ++j) weight_scale.push_back(scale(random)), bias.push_back(scale(random) * 100 - 1);
  }

  MatrixView<const std::int8_t, Host> x_view() const { return {x.data(), {m, k}, {ldx, 1}}; }
  MatrixView<const std::int8_t, Host> w_view() const { return {w.data(), {n, k}, {ldw, 1}}; }
  VectorView<const float, Host> input_scale_view() const { return {input_scale.data(), {m}}; }
  VectorView<const float, Host> weight_scale_view() const { return {weight_scale.data(), {n}}; }
  VectorView<const float, Host> bias_view() const { return {bias.data(), {n}}; }

  std::int64_t sum(int i, int j) const {
    std::int64_t s = 0;
    for (int l = 0; l < k; ++l) s += x[static_cast<std::size_t>(i * ldx + l)] * w[static_cast<std::size_t>(j * ldw + l)];
    return s;
  }
};

}  // namespace

TEST_CASE("host gemm: equals the triple loop on ragged shapes and strides", "[gemm][host]") {
  std::mt19937 random(20240117);
  for (int round = 0; round < 60; ++round) {
    const int edge[] = {1, 2, 3, 63, 64, 65, 97, 127, 128, 129, 255, 257};
    const Operands o(random, edge[random() % 12], edge[random() % 12], static_cast<int>(random() % 600));
    const std::int32_t poison = -123456789;
    std::vector<std::int32_t> out(static_cast<std::size_t>(o.m * o.ldo), poison);
    std::vector<float> dequantized(out.size(), -1e30f);
    GemmOptions options;
    options.threads = 1 + round % 3;
    gemm(o.x_view(), o.w_view(), Identity{}, MatrixView<std::int32_t, Host>(out.data(), {o.m, o.n}, {o.ldo, 1}), options);
    gemm(o.x_view(), o.w_view(), Dequantize{o.input_scale_view(), o.weight_scale_view()} | Bias{o.bias_view()},
         MatrixView<float, Host>(dequantized.data(), {o.m, o.n}, {o.ldo, 1}), options);
    int wrong = 0, overwritten = 0;
    for (int i = 0; i < o.m; ++i) {
      for (int j = 0; j < o.ldo; ++j) {
        const std::size_t at = static_cast<std::size_t>(i * o.ldo + j);
        if (j >= o.n) {
          overwritten += out[at] != poison || dequantized[at] != -1e30f;
          continue;
        }
        const std::int64_t sum = o.sum(i, j);
        const float product = static_cast<float>(sum) * o.weight_scale[static_cast<std::size_t>(j)];
        const float expected = std::fma(product, o.input_scale[static_cast<std::size_t>(i)], o.bias[static_cast<std::size_t>(j)]);
        wrong += out[at] != sum || std::memcmp(&expected, &dequantized[at], sizeof expected) != 0;
      }
    }
    CAPTURE(o.m, o.n, o.k);
    CHECK(wrong == 0);
    CHECK(overwritten == 0);
  }
}

TEST_CASE("host gemm: the extreme sum of the largest K does not overflow", "[gemm][host]") {
  const int k = static_cast<int>(maximum_k);
  const std::vector<std::int8_t> low(static_cast<std::size_t>(k), -128);
  std::int32_t out = 0;
  const MatrixView<const std::int8_t, Host> view(low.data(), {1, k});
  gemm(view, view, Identity{}, MatrixView<std::int32_t, Host>(&out, {1, 1}));
  CHECK(out == std::int32_t{131071} * 16384);
}

TEST_CASE("host gemm: K = 0 gives the bias alone", "[gemm][host]") {
  const float input_scale = 0.5f, weight_scale[] = {1, 2, 3}, bias[] = {-1, 0.25f, 7};
  float out[3] = {99, 99, 99};
  const std::int8_t none = 0;
  gemm(MatrixView<const std::int8_t, Host>(&none, {1, 0}), MatrixView<const std::int8_t, Host>(&none, {3, 0}),
       Dequantize{VectorView<const float, Host>(&input_scale, {1}), VectorView<const float, Host>(weight_scale, {3})} |
           Bias{VectorView<const float, Host>(bias, {3})},
       MatrixView<float, Host>(out, {1, 3}));
  CHECK(out[0] == -1);
  CHECK(out[1] == 0.25f);
  CHECK(out[2] == 7);
}

TEST_CASE("host gemm: a NaN input scale makes its whole row NaN and no other", "[gemm][host]") {
  std::mt19937 random(3);
  Operands o(random, 3, 5, 16);
  o.input_scale[1] = std::numeric_limits<float>::quiet_NaN();
  std::vector<half> out(static_cast<std::size_t>(3 * o.ldo));
  gemm(o.x_view(), o.w_view(), Dequantize{o.input_scale_view(), o.weight_scale_view()} | Bias{o.bias_view()},
       MatrixView<half, Host>(out.data(), {3, 5}, {o.ldo, 1}));
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 5; ++j) CHECK(std::isnan(to_float(out[static_cast<std::size_t>(i * o.ldo + j)])) == (i == 1));
  }
}
