// The CPU backend with operands in floating point, against sums in FP64.
#include "w8a8/gemm/host_floating_gemm.hpp"

#include <cmath>
#include <cstdint>
#include <vector>

#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/random.hpp"
#include "w8a8/epilogue/activation.hpp"
#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/epilogue/gated.hpp"
#include "w8a8/gemm/host_gemm.hpp"

using namespace w8a8;
using namespace w8a8_test;

namespace {

template <class Operand>
void check_near(std::uint64_t seed) {
  Random random(seed);
  for (const std::int64_t k : {0, 1, 15, 16, 17, 100, 777}) {
    const std::int64_t m = random.integer(1, 40), n = random.integer(1, 50), ldx = k + random.integer(0, 5), ldo = n + 3;
    const auto x = normal<Operand>(random, m * ldx + 1), w = normal<Operand>(random, n * k + 1);
    const auto bias = normal<float>(random, n);
    std::vector<float> out(static_cast<std::size_t>(m * ldo), -7.0f);
    GemmOptions options;
    for (options.threads = 1; options.threads < 4; options.threads += 2) {
      const std::vector<float> before = out;
      gemm(MatrixView<const Operand, Host>(x.data(), {m, k}, {ldx, 1}), MatrixView<const Operand, Host>(w.data(), {n, k}),
           Bias{VectorView<const float, Host>(bias.data(), {n})}, MatrixView<float, Host>(out.data(), {m, n}, {ldo, 1}), options);
      if (options.threads > 1) CHECK(difference(before, out, ldo) == "");
    }
    int wrong = 0;
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < ldo; ++j) {
        const auto got = static_cast<double>(out[static_cast<std::size_t>(i * ldo + j)]);
        if (j >= n) {
          wrong += got != -7;
          continue;
        }
        double sum = bias[static_cast<std::size_t>(j)], magnitude = std::fabs(sum);
        for (std::int64_t l = 0; l < k; ++l) {
          const double product = static_cast<double>(to_float(x[static_cast<std::size_t>(i * ldx + l)])) *
                                 static_cast<double>(to_float(w[static_cast<std::size_t>(j * k + l)]));
          sum += product, magnitude += std::fabs(product);
        }
        wrong += !(std::fabs(got - sum) <= static_cast<double>(k + 2) * 0x1p-24 * magnitude);
      }
    }
    CAPTURE(m, n, k);
    CHECK(wrong == 0);
  }
}

}  // namespace

TEST_CASE("host gemm: half operands", "[gemm][host]") { check_near<half>(81); }
TEST_CASE("host gemm: bfloat16 operands", "[gemm][host]") { check_near<bfloat16>(82); }
TEST_CASE("host gemm: float operands", "[gemm][host]") { check_near<float>(83); }

TEST_CASE("host gemm: a gate on float operands", "[gemm][host]") {
  Random random(84);
  const std::int64_t m = 3, n = 48, k = 20;
  std::vector<float> x(static_cast<std::size_t>(m * k)), w(static_cast<std::size_t>(n * k)),
      plain(static_cast<std::size_t>(m * n)), gated(plain.size() / 2);
  for (float& v : x) v = static_cast<float>(random.integer(-3, 3));
  for (float& v : w) v = static_cast<float>(random.integer(-3, 3));
  const MatrixView<const float, Host> x_view(x.data(), {m, k}), w_view(w.data(), {n, k});
  gemm(x_view, w_view, Identity{}, MatrixView<float, Host>(plain.data(), {m, n}));
  gemm(x_view, w_view, Identity{} | ReGlu{}, MatrixView<float, Host>(gated.data(), {m, n / 2}));
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n / 2; ++j) {
      const std::int64_t gate = layout::gate_row(j);
      const float g = plain[static_cast<std::size_t>(i * n + gate)], up = plain[static_cast<std::size_t>(i * n + gate + 8)];
      CHECK(gated[static_cast<std::size_t>(i * n / 2 + j)] == (g > 0 ? g : 0) * up);
    }
  }
}
