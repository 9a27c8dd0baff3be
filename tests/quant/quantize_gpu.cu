// The quantization kernels against the CPU, bit for bit: every block size of the row kernel and its edges, every type, strides,
// alignments, rows that are not finite; poisoned outputs between guard bands.
#include <cstdint>
#include <vector>

#include "quant/rows.hpp"
#include "support/compare.hpp"
#include "support/gpu.hpp"
#include "support/guarded.hpp"
#include "support/random.hpp"
#include "w8a8/quant/quantize.cuh"

namespace {

using namespace w8a8;
using w8a8_test::activations;
using w8a8_test::difference;
using w8a8_test::Guarded;
using w8a8_test::Random;

/// given: the input; empty: activations().
template <class In, class Scale>
void check_shape(Random& random, std::int64_t rows, std::int64_t columns, bool aligned, const std::vector<In>& given = {}) {
  const auto stride = [&](std::int64_t unit) { return columns + (aligned ? unit * random.integer(0, 2) : random.integer(0, 9)); };
  const std::int64_t shift = aligned ? 0 : random.integer(0, 7);
  QuantizeOptions options;
  options.bits = random.chance(0.7) ? 8 : static_cast<int>(random.integer(2, 7));
  options.dependent_launch = random.chance(0.5);

  Guarded<In, Device> x(rows, columns, stride(8), shift);
  Guarded<std::int8_t, Device> out(rows, columns, stride(8), shift);
  Guarded<Scale, Device> scale(1, rows, 0, shift);
  const std::vector<In> values = given.empty() ? activations<In>(random, rows, columns) : given;
  x.fill(values);
  w8a8_test::Stream stream;
  quantize_per_token(x.view(), out.view(), scale.vector(), stream, options);
  stream.synchronize();

  std::vector<std::int8_t> codes(values.size());
  std::vector<Scale> scales(static_cast<std::size_t>(rows));
  quantize_per_token(MatrixView<const In, Host>(values.data(), {rows, columns}),
                     MatrixView<std::int8_t, Host>(codes.data(), {rows, columns}), VectorView<Scale, Host>(scales.data(), {rows}),
                     nullptr, options);
  CAPTURE(rows, columns, aligned, options.bits, sizeof(In), sizeof(Scale), x.stride(), out.stride(), shift);
  CHECK(difference(codes, out.values(), columns) == "");
  CHECK(difference(scales, scale.values()) == "");
  CHECK(out.damage() == "");
  CHECK(scale.damage() == "");
  CHECK(x.change() == "");

  Guarded<std::int8_t, Device> fixed(rows, columns, stride(8), shift);
  quantize_per_tensor(x.view(), fixed.view(), 0.03f, stream, options);
  stream.synchronize();
  quantize_per_tensor(MatrixView<const In, Host>(values.data(), {rows, columns}),
                      MatrixView<std::int8_t, Host>(codes.data(), {rows, columns}), 0.03f, nullptr, options);
  CHECK(difference(codes, fixed.values(), columns) == "");
  CHECK(fixed.damage() == "");
}

// Around the capacity of each block size, and the two-pass rows beyond.
const std::vector<std::int64_t> edges = {1,    7,     8,     9,     255,   256,   257,   1016, 1023, 1024,
                                         1025, 1032,  1152,  2047,  2048,  4096,  4097,  4104, 8191, 8192,
                                         8200, 14336, 16384, 16385, 16392, 28672, 32768, 32769};

}  // namespace

TEMPLATE_TEST_CASE("quantize on the GPU equals the CPU at every block size", "[quant][gpu]", float, half, bfloat16) {
  W8A8_REQUIRE_GPU();
  Random random(21);
  for (const std::int64_t columns : edges) {
    const std::int64_t rows = columns > 10000 ? random.integer(1, 5) : random.integer(1, 40);
    check_shape<TestType, float>(random, rows, columns, true);
    check_shape<TestType, float>(random, rows, columns, false);
  }
  for (const std::int64_t columns : {4096, 5000, 8192, 12000, 14336, 17000}) {
    check_shape<TestType, float>(random, 129, columns, true);
  }
  for (const std::int64_t columns : {1, 64, 77, 1152, 1300, 4096, 4097, 8192, 14336, 33000}) {
    check_shape<TestType, float>(random, 9, columns, columns % 8 == 0, w8a8_test::one_of_each<TestType>(random, columns));
  }
  check_shape<TestType, float>(random, 2, 70008, true);
  check_shape<TestType, float>(random, 2, 70001, false);
}

TEMPLATE_TEST_CASE("quantize on the GPU equals the CPU on random shapes, half scales", "[quant][gpu]", float, half, bfloat16) {
  W8A8_REQUIRE_GPU();
  Random random(22);
  for (int round = 0; round < 60; ++round) {
    check_shape<TestType, half>(random, random.integer(1, 50), random.integer(1, round % 4 ? 1500 : 9000), round % 2);
  }
}

TEMPLATE_TEST_CASE("quantize on the GPU equals the CPU on random shapes, bfloat16 scales", "[quant][gpu][sanitizer]", half,
                   bfloat16) {
  W8A8_REQUIRE_GPU();
  Random random(23);
  for (int round = 0; round < 60; ++round) {
    check_shape<TestType, bfloat16>(random, random.integer(1, 50), random.integer(1, round % 4 ? 1500 : 9000), round % 2);
  }
}

TEST_CASE("quantize on the GPU: no rows is a no-op, no columns gives the scale of zeros", "[quant][gpu]") {
  W8A8_REQUIRE_GPU();
  Guarded<float, Device> scale(1, 3);
  quantize_per_channel(MatrixView<half, Device>(nullptr, {0, 5}), MatrixView<std::int8_t, Device>(nullptr, {0, 5}),
                       VectorView<float, Device>(nullptr, {0}), nullptr);
  quantize_per_channel(MatrixView<half, Device>(nullptr, {3, 0}), MatrixView<std::int8_t, Device>(nullptr, {3, 0}),
                       scale.vector(), nullptr);
  CHECK(difference(std::vector<float>(3, 1e-5f / 127.0f), scale.values()) == "");
  CHECK(scale.damage() == "");
}

TEST_CASE("quantize on the GPU refuses bad arguments without a launch", "[quant][gpu]") {
  W8A8_REQUIRE_GPU();
  Guarded<half, Device> x(4, 16);
  Guarded<std::int8_t, Device> out(4, 16);
  Guarded<float, Device> scale(1, 4);
  CHECK_THROWS_AS(quantize_per_token(x.view(), MatrixView<std::int8_t, Device>(out.data(), {4, 15}), scale.vector(), nullptr),
                  Error);
  CHECK_THROWS_AS(quantize_per_token(MatrixView<half, Device>(nullptr, {4, 16}), out.view(), scale.vector(), nullptr), Error);
  CHECK_THROWS_AS(quantize_per_tensor(x.view(), out.view(), -1.0f, nullptr), Error);
  CHECK(out.unwritten() == 64);
  CHECK(scale.unwritten() == 4);
}
