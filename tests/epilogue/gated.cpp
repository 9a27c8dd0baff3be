// Gated epilogues: the interleaving, what combine() computes behind a whole chain, what follows a gate, and what is refused.
#include "w8a8/epilogue/gated.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/random.hpp"
#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/epilogue/requantize.hpp"
#include "w8a8/epilogue/residual.hpp"
#include "w8a8/gemm/host_gemm.hpp"

namespace {

using namespace w8a8;
using namespace w8a8_test;

template <class F>
std::string refused_argument(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.argument();
  }
  return "";
}

/// A gated layer: its projections one after another, and interleaved.
struct Layer {
  std::int64_t m, i, k;
  std::vector<std::int8_t> x, gate, up, both;
  std::vector<float> input_scale, gate_scale, up_scale, scale, gate_bias, up_bias, bias;

  Layer(Random& random, std::int64_t rows, std::int64_t inner, std::int64_t depth) : m(rows), i(inner), k(depth) {
    const auto size = [](std::int64_t count) { return static_cast<std::size_t>(count); };
    x = uniform_int8(random, m * k), gate = uniform_int8(random, i * k), up = uniform_int8(random, i * k);
    input_scale = scales<float>(random, m, 0.01f);
    gate_scale = scales<float>(random, i, 0.01f), up_scale = scales<float>(random, i, 0.01f);
    gate_bias = normal<float>(random, i), up_bias = normal<float>(random, i);
    both.resize(size(2 * i * k)), scale.resize(size(2 * i)), bias.resize(size(2 * i));
    interleave_gate_up(matrix(gate, i), matrix(up, i), matrix(both, 2 * i));
    interleave_gate_up(vector(gate_scale), vector(up_scale), vector(scale));
    interleave_gate_up(vector(gate_bias), vector(up_bias), vector(bias));
  }

  MatrixView<std::int8_t, Host> matrix(std::vector<std::int8_t>& values, std::int64_t rows) const {
    return {values.data(), {rows, k}};
  }
  template <class T>
  VectorView<T, Host> vector(std::vector<T>& values) const {
    return {values.data(), {static_cast<std::int64_t>(values.size())}};
  }

  /// The projection by itself, in FP32.
  std::vector<float> projection(std::vector<std::int8_t>& weight, std::vector<float>& weight_scale, std::vector<float>& b) {
    std::vector<float> out(static_cast<std::size_t>(m * i));
    gemm(matrix(x, m), matrix(weight, i), Dequantize{vector(input_scale), vector(weight_scale)} | Bias{vector(b)},
         MatrixView<float, Host>(out.data(), {m, i}));
    return out;
  }
  auto chain() { return Dequantize{vector(input_scale), vector(scale)} | Bias{vector(bias)}; }
};

}  // namespace

TEST_CASE("gate_up: the index maps agree", "[layout][host]") {
  for (int i = 0; i < 100; ++i) {
    const int row = layout::gate_row(i);
    CHECK(layout::is_gate_row(row));
    CHECK_FALSE(layout::is_gate_row(row + layout::gate_block));
    CHECK(layout::gated_column(row) == i);
    CHECK(layout::gated_column(row + layout::gate_block) == i);
  }
  CHECK(layout::gate_row(7) == 7);
  CHECK(layout::gate_row(8) == 16);
}

TEST_CASE("a gated GEMM equals its two projections, combined", "[epilogue][host]") {
  Random random(1);
  for (const auto& shape : {std::vector<std::int64_t>{1, 8, 3}, {5, 72, 100}, {70, 136, 33}, {3, 40, 0}}) {
    Layer layer(random, shape[0], shape[1], shape[2]);
    const std::vector<float> gate = layer.projection(layer.gate, layer.gate_scale, layer.gate_bias);
    const std::vector<float> up = layer.projection(layer.up, layer.up_scale, layer.up_bias);
    const auto check = [&](auto functor) {
      std::vector<half> out(gate.size());
      gemm(layer.matrix(layer.x, layer.m), layer.matrix(layer.both, 2 * layer.i), layer.chain() | functor,
           MatrixView<half, Host>(out.data(), {layer.m, layer.i}));
      for (std::size_t at = 0; at < out.size(); ++at) {
        REQUIRE(to_float(out[at]) == to_float(from_float<half>(functor.combine(gate[at], up[at], Empty{}, 0, 0))));
      }
    };
    check(SwiGlu{}), check(GeGlu{}), check(ReGlu{});
  }
}

TEST_CASE("functors behind a gate work on the output's columns", "[epilogue][host]") {
  Random random(2);
  Layer layer(random, 6, 24, 50);
  std::vector<float> added = normal<float>(random, layer.m * layer.i);
  const MatrixView<float, Host> residual(added.data(), {layer.m, layer.i});
  const std::vector<float> gate = layer.projection(layer.gate, layer.gate_scale, layer.gate_bias);
  const std::vector<float> up = layer.projection(layer.up, layer.up_scale, layer.up_bias);
  const Requantize codes(0.25f);
  std::vector<std::int8_t> out(gate.size());
  gemm(layer.matrix(layer.x, layer.m), layer.matrix(layer.both, 2 * layer.i),
       layer.chain() | ReGlu{} | Residual{residual} | codes, MatrixView<std::int8_t, Host>(out.data(), {layer.m, layer.i}));
  for (std::size_t at = 0; at < out.size(); ++at) {
    const float value = (gate[at] > 0 ? gate[at] : 0) * up[at] + added[at];
    REQUIRE(out[at] == codes.apply(value, Empty{}, Empty{}, 0, 0));
  }
  CHECK(refused_argument([&] {
          gemm(layer.matrix(layer.x, layer.m), layer.matrix(layer.both, 2 * layer.i),
               layer.chain() | ReGlu{} | Residual{MatrixView<float, Host>(added.data(), {layer.m, layer.i - 1})} | codes,
               MatrixView<std::int8_t, Host>(out.data(), {layer.m, layer.i}));
        }) == "residual");
}

TEST_CASE("gated epilogues: what is refused", "[epilogue][host]") {
  Random random(3);
  Layer layer(random, 2, 16, 4);
  std::vector<half> out(64);
  const auto run = [&](std::int64_t weight_rows, std::int64_t columns) {
    return refused_argument([&] {
      gemm(layer.matrix(layer.x, 2), layer.matrix(layer.both, weight_rows), Identity{} | SwiGlu{},
           MatrixView<half, Host>(out.data(), {2, columns}));
    });
  };
  CHECK(run(24, 12) == "w");
  CHECK(run(32, 32) == "out");
  CHECK(run(32, 16) == "");
  const auto interleave = [&](std::int64_t gate, std::int64_t up, std::int64_t both, std::int64_t stride = 4) {
    return refused_argument([&] {
      interleave_gate_up(MatrixView<std::int8_t, Host>(layer.gate.data(), {gate, 4}, {stride, 1}), layer.matrix(layer.up, up),
                         layer.matrix(layer.both, both));
    });
  };
  CHECK(interleave(12, 12, 24) == "gate");
  CHECK(interleave(8, 16, 16) == "up");
  CHECK(interleave(8, 8, 8) == "out");
  CHECK(interleave(8, 8, 16, 5) == "gate");
  CHECK(interleave(16, 16, 32) == "");
}
