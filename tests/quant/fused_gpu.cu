// The fused kernels against the CPU: norms bit for bit, activations within one code, at every block size; poisoned outputs
// between guard bands.
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "quant/rows.hpp"
#include "support/compare.hpp"
#include "support/gpu.hpp"
#include "support/guarded.hpp"
#include "support/random.hpp"
#include "w8a8/quant/fused.cuh"
#include "w8a8/support/device.hpp"

namespace {

using namespace w8a8;
using w8a8_test::activations;
using w8a8_test::difference;
using w8a8_test::Guarded;
using w8a8_test::Random;

/// Inputs and outputs of one call in one space.
template <class T, class Space>
struct Operands {
  Guarded<T, Space> x, other, weight, bias, values;
  Guarded<std::int8_t, Space> out;
  Guarded<float, Space> scale;

  Operands(std::int64_t rows, std::int64_t columns, std::int64_t pad, std::int64_t shift)
      : x(rows, columns, columns + pad, shift),
        other(rows, columns, columns + 2 * pad, shift),
        weight(1, columns, 0, shift),
        bias(1, columns, 0, shift),
        values(rows, columns, columns + pad, shift),
        out(rows, columns, columns + pad, shift),
        scale(1, rows, 0, shift) {}

  void check_bounds() {
    CHECK(other.damage() == "");
    CHECK(values.damage() == "");
    CHECK(out.damage() == "");
    CHECK(scale.damage() == "");
    CHECK(x.change() == "");
  }
};

enum class Form { rms, rms_residual, layer, silu_mul, gelu_tanh, gelu_erf };

template <class T, Form F, class Space>
void call(Operands<T, Space>& o, bool with_values, const QuantizeOptions& options, cudaStream_t stream) {
  NormStreams<T, Space> streams;
  if (with_values) streams.normalized = o.values.view();
  const MatrixView<T, Space> values = streams.normalized;
  if constexpr (F == Form::rms_residual) streams.residual = o.other.view();
  if constexpr (F == Form::rms || F == Form::rms_residual) {
    rms_norm_quantize(o.x.view(), o.weight.vector(), 1e-5f, o.out.view(), o.scale.vector(), stream, options, streams);
  } else if constexpr (F == Form::layer) {
    layer_norm_quantize(o.x.view(), o.weight.vector(), o.bias.vector(), 1e-5f, o.out.view(), o.scale.vector(), stream, options,
                        streams);
  } else if constexpr (F == Form::silu_mul) {
    silu_mul_quantize(o.x.view(), o.other.view(), o.out.view(), o.scale.vector(), stream, options, values);
  } else {
    gelu_quantize(o.x.view(), F == Form::gelu_tanh ? GeluForm::tanh : GeluForm::erf, o.out.view(), o.scale.vector(), stream,
                  options, values);
  }
}

/// x: the input; empty: activations(). emit: whether the values may be asked for, too.
template <class T, Form F>
void check_shape(Random& random, std::int64_t rows, std::int64_t columns, bool aligned, std::vector<T> x = {}, bool emit = true) {
  if (x.empty()) x = activations<T>(random, rows, columns, 2.0f);
  const std::int64_t pad = aligned ? 8 * random.integer(0, 2) : random.integer(0, 9), shift = aligned ? 0 : random.integer(0, 7);
  Operands<T, Host> host(rows, columns, 0, 0);
  Operands<T, Device> device(rows, columns, pad, shift);
  const auto fill = [](auto& a, auto& b, const std::vector<T>& values) { a.fill(values), b.fill(values); };
  fill(host.x, device.x, x);
  fill(host.other, device.other, activations<T>(random, rows, columns, 2.0f));
  fill(host.weight, device.weight, w8a8_test::normal<T>(random, columns));
  fill(host.bias, device.bias, w8a8_test::normal<T>(random, columns));
  const bool with_values = emit && random.chance(0.5);
  QuantizeOptions options;
  options.dependent_launch = random.chance(0.5);
  w8a8_test::Stream stream;
  call<T, F>(host, with_values, options, nullptr);
  call<T, F>(device, with_values, options, stream);
  stream.synchronize();

  CAPTURE(rows, columns, aligned, with_values, pad, shift, static_cast<int>(F), sizeof(T));
  constexpr bool exact = F == Form::rms || F == Form::rms_residual || F == Form::layer;
  if constexpr (exact) {
    CHECK(difference(host.out.values(), device.out.values(), columns) == "");
    CHECK(difference(host.scale.values(), device.scale.values()) == "");
    CHECK(difference(host.other.values(), device.other.values(), columns) == "");
    if (with_values) CHECK(difference(host.values.values(), device.values.values(), columns) == "");
  } else {
    const auto codes = host.out.values(), got = device.out.values();
    const auto scales = host.scale.values(), got_scales = device.scale.values();
    int far = 0, far_scales = 0;
    for (std::size_t i = 0; i < codes.size(); ++i) far += std::abs(codes[i] - got[i]) > 1;
    for (std::size_t i = 0; i < scales.size(); ++i) {
      const bool same_nan = std::isnan(scales[i]) && std::isnan(got_scales[i]);
      far_scales += !(same_nan || std::fabs(scales[i] - got_scales[i]) <= 1e-5f * scales[i]);
    }
    CHECK(far == 0);
    CHECK(far_scales == 0);
    CHECK(device.other.change() == "");
    if (with_values) {
      const auto values = host.values.values(), now = device.values.values();
      int different = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        const float a = to_float(values[i]), b = to_float(now[i]);
        different += !((std::isnan(a) && std::isnan(b)) || a == b || std::fabs(a - b) <= 8e-3f * std::fabs(a) + 1e-7f);
      }
      CHECK(different == 0);
    }
  }
  if (!with_values) CHECK(device.values.unwritten() == rows * columns);
  device.check_bounds();
}

template <class T, Form F>
void check_form(std::uint64_t seed) {
  Random random(seed);
  // Every block size and both sides of its edges; many rows and few choose differently.
  for (const std::int64_t columns :
       {1, 8, 9, 1280, 1288, 4096, 4104, 8192, 8200, 16384, 16392, 28672, 28680, 32768, 32776, 40001}) {
    check_shape<T, F>(random, columns > 5000 ? 2 : random.integer(1, 9), columns, columns % 8 == 0);
  }
  check_shape<T, F>(random, 140, 1000, true);
  check_shape<T, F>(random, 131, 1279, false);
  check_shape<T, F>(random, 129, 2056, true);
  for (const std::int64_t columns : {4096, 5000, 8192, 12000, 14336, 17000}) check_shape<T, F>(random, 129, columns, true);
  // Each kind of row where a single element could get lost: in every block, aligned and not, and in rows read once a pass.
  for (const std::int64_t columns : {1, 64, 77, 1152, 1300, 4096, 4097, 8192, 14336, 33000}) {
    check_shape<T, F>(random, 9, columns, columns % 8 == 0, w8a8_test::one_of_each<T>(random, columns));
  }
  // Rows of which two share a warp, an odd last one too.
  for (const std::int64_t rows : {1, 8, 29}) check_shape<T, F>(random, rows, 1152, true, {}, false);
  if constexpr (F == Form::layer || F == Form::gelu_erf || F == Form::rms) {
    // More rows than the GPU holds CTAs: these walk, rms_norm where rows are long.
    const std::int64_t multiprocessors = current_device().multiprocessors;
    for (const auto& [ctas, columns] :
         {std::pair{8, 4096}, {8, 1296}, {4, 8192}, {4, 4104}, {6, 5120}, {2, 14336}, {2, 8200}, {1, 16392}, {1, 28672}}) {
      check_shape<T, F>(random, ctas * multiprocessors + random.integer(1, 50), columns, true, {}, false);
    }
  }
  for (int round = 0; round < 10; ++round) check_shape<T, F>(random, random.integer(1, 20), random.integer(1, 5000), false);
}

}  // namespace

TEST_CASE("rms_norm_quantize on the GPU equals the CPU", "[quant][gpu]") {
  W8A8_REQUIRE_GPU();
  check_form<half, Form::rms>(41);
}

TEMPLATE_TEST_CASE("rms_norm_quantize with residual on the GPU equals the CPU", "[quant][gpu]", bfloat16, float) {
  W8A8_REQUIRE_GPU();
  check_form<TestType, Form::rms_residual>(42);
}

TEST_CASE("layer_norm_quantize on the GPU equals the CPU", "[quant][gpu]") {
  W8A8_REQUIRE_GPU();
  check_form<half, Form::layer>(43);
}

TEST_CASE("silu_mul_quantize on the GPU is within a code of the CPU", "[quant][gpu]") {
  W8A8_REQUIRE_GPU();
  check_form<bfloat16, Form::silu_mul>(44);
}

TEST_CASE("gelu_quantize on the GPU is within a code of the CPU", "[quant][gpu]") {
  W8A8_REQUIRE_GPU();
  check_form<half, Form::gelu_tanh>(45);
  check_form<half, Form::gelu_erf>(46);
}

TEST_CASE("rms_norm_quantize in place: the residual stream is the input", "[quant][gpu][sanitizer]") {
  W8A8_REQUIRE_GPU();
  Random random(47);
  for (const std::int64_t columns : {4096, 33000}) {
    const auto x = w8a8_test::normal<half>(random, 3 * columns);
    Guarded<half, Host> host(3, columns);
    Guarded<half, Device> device(3, columns);
    Guarded<half, Host> host_weight(1, columns);
    Guarded<half, Device> weight(1, columns);
    Guarded<std::int8_t, Host> host_out(3, columns);
    Guarded<std::int8_t, Device> out(3, columns);
    Guarded<float, Host> host_scale(1, 3);
    Guarded<float, Device> scale(1, 3);
    host.fill(x), device.fill(x);
    const auto w = w8a8_test::normal<half>(random, columns);
    host_weight.fill(w), weight.fill(w);
    rms_norm_quantize(host.view(), host_weight.vector(), 1e-6f, host_out.view(), host_scale.vector(), nullptr, {},
                      {host.view(), {}});
    rms_norm_quantize(device.view(), weight.vector(), 1e-6f, out.view(), scale.vector(), nullptr, {}, {device.view(), {}});
    CHECK(difference(host.values(), device.values(), columns) == "");
    CHECK(difference(host_out.values(), out.values(), columns) == "");
    CHECK(difference(host_scale.values(), scale.values()) == "");
  }
}
