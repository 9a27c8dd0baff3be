// GEMM of half and bfloat16 operands on the GPU: bit for bit where every sum is exact, else within the bound that K gives.
#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "gemm/random_gemm.cuh"
#include "w8a8/epilogue/activation.hpp"

using namespace w8a8_test;
using w8a8::bfloat16;
using w8a8::half;

namespace {

/// Operands of one problem on host and device.
template <class Operand, class Out>
struct Operands {
  GemmCase c;
  std::vector<Operand> x, w;
  std::vector<float> bias;
  Guarded<Operand, Device> device_x, device_w;
  Guarded<float, Device> device_bias;
  Guarded<Out, Device> out;

  /// integers: operands of -4 ... 4, whose sums FP32 holds exactly up to K = 2^20.
  Operands(Random& random, const GemmCase& problem, bool integers)
      : c(problem),
        x(values(random, c.m * c.k, integers)),
        w(values(random, c.n * c.k, integers)),
        bias(normal<float>(random, c.n)),
        device_x(c.m, c.k, c.k + c.pad_x, c.off_x),
        device_w(c.n, c.k, c.k + c.pad_w, c.off_w),
        device_bias(1, c.n),
        out(c.m, c.n, c.n + c.pad_out, c.off_out) {
    device_x.fill(x), device_w.fill(w), device_bias.fill(bias);
  }

  static std::vector<Operand> values(Random& random, std::int64_t count, bool integers) {
    if (!integers) return normal<Operand>(random, count);
    std::vector<Operand> v(static_cast<std::size_t>(count));
    for (Operand& e : v) e = w8a8::from_float<Operand>(static_cast<float>(random.integer(-4, 4)));
    return v;
  }

  template <class Space>
  static auto epilogue(const w8a8::VectorView<const float, Space>& b) {
    return w8a8::Bias{b} | w8a8::Relu{};
  }

  void run(const GemmOptions& options, cudaStream_t stream) {
    w8a8::gemm(device_x.view(), device_w.view(), epilogue<Device>(device_bias.vector()), out.view(), options, stream);
    w8a8::check_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  }

  /// What the CPU backend gives.
  std::vector<Out> expected() const {
    std::vector<Out> e(static_cast<std::size_t>(c.m * c.n));
    w8a8::gemm(w8a8::MatrixView<const Operand, Host>(x.data(), {c.m, c.k}),
               w8a8::MatrixView<const Operand, Host>(w.data(), {c.n, c.k}),
               epilogue<Host>(w8a8::VectorView<const float, Host>(bias.data(), {c.n})),
               w8a8::MatrixView<Out, Host>(e.data(), {c.m, c.n}));
    return e;
  }

  /// Empty where every output is near the sum in FP64: the sums round K times at most, the output once.
  std::string far() {
    const std::vector<Out> got = out.values();
    const double rounding = std::is_same_v<Out, half> ? 0x1p-11 : std::is_same_v<Out, bfloat16> ? 0x1p-8 : 0x1p-23;
    for (std::int64_t m = 0; m < c.m; ++m) {
      for (std::int64_t n = 0; n < c.n; ++n) {
        double sum = bias[static_cast<std::size_t>(n)], magnitude = std::fabs(sum);
        for (std::int64_t k = 0; k < c.k; ++k) {
          const double product = static_cast<double>(w8a8::to_float(x[static_cast<std::size_t>(m * c.k + k)])) *
                                 static_cast<double>(w8a8::to_float(w[static_cast<std::size_t>(n * c.k + k)]));
          sum += product, magnitude += std::fabs(product);
        }
        const double value = static_cast<double>(w8a8::to_float(got[static_cast<std::size_t>(m * c.n + n)]));
        const double expect = sum > 0 ? sum : 0, bound = static_cast<double>(c.k + 2) * 0x1p-23 * magnitude + rounding * expect;
        if (!(std::fabs(value - expect) <= bound + 0x1p-24)) {
          return w8a8::text("(", m, ", ", n, "): ", value, " instead of ", expect, ", bound ", bound, " [", c.name(), "]");
        }
      }
    }
    return "";
  }
};

template <class Operand, class Out>
void check_problems(std::uint64_t seed, int count) {
  const Stream stream;
  Random random(seed);
  std::vector<std::string> names = w8a8::FloatingGemmConfigs::names();
  names.emplace_back("");
  for (const std::string& name : names) {
    for (int i = 0; i < count; ++i) {
      GemmCase c = random_case(random, 300, 300, 700);
      if (i % 5 == 0) c.k = 0;
      GemmOptions options;
      options.configuration = name;
      INFO(name);
      Operands<Operand, Out> exact(random, c, true);
      exact.run(options, stream);
      const std::string wrong = difference(exact.expected(), exact.out.values(), c.n) + exact.out.damage();
      REQUIRE((wrong.empty() ? "" : wrong + " [" + c.name() + "]") == "");
      if (i % 2 == 0) continue;
      c.m = 1 + c.m % 70;
      Operands<Operand, Out> rounded(random, c, false);
      rounded.run(options, stream);
      REQUIRE(rounded.far() + rounded.out.damage() == "");
    }
  }
}

}  // namespace

TEST_CASE("gemm: half operands", "[gpu][gemm][sanitizer]") {
  W8A8_REQUIRE_GPU();
  check_problems<half, half>(71, 24);
}

TEST_CASE("gemm: bfloat16 operands, FP32 output", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  check_problems<bfloat16, float>(72, 24);
}

TEST_CASE("gemm: half operands refuse what only int8 has", "[gpu][gemm][errors]") {
  W8A8_REQUIRE_GPU();
  Random random(73);
  Operands<half, half> o(random, {3, 8, 16}, true);
  GemmOptions options;
  options.kernel = w8a8::Kernel::sm90;
  CHECK_THROWS_AS(o.run(options, nullptr), w8a8::Error);
  options = {};
  options.configuration = "sm80_decode/none";
  CHECK_THROWS_AS(o.run(options, nullptr), w8a8::Error);
}

TEST_CASE("gemm: half operands of equal inputs give equal bits each time", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  const Stream stream;
  Random random(74);
  Operands<half, half> o(random, {200, 264, 2048}, false);
  o.run({}, stream);
  const std::vector<half> first = o.out.values();
  for (int i = 0; i < 5; ++i) {
    o.run({}, stream);
    CHECK(difference(first, o.out.values(), o.c.n) == "");
  }
}
