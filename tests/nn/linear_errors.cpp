// What the INT8 layers refuse: the error names the argument, and nothing is written.
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "nn/layer_data.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/error_text.hpp"
#include "w8a8/nn/asymmetric_linear.hpp"
#include "w8a8/nn/gated_linear.hpp"
#include "w8a8/nn/w8a8_linear.hpp"

namespace {

using namespace w8a8;
using namespace w8a8_test;

using Layer = W8A8OF16LinearDynamicInputScale<half, Host>;

TEST_CASE("layers: shapes that disagree", "[nn]") {
  Random random(1);
  const auto layer = Layer::from_linear(random_linear<half>(random, 8, 4));
  const auto x = normal_tensor<half, 2>(random, {3, 8}), narrow = normal_tensor<half, 2>(random, {3, 7});
  auto y = poisoned<half, 2>({3, 4}), short_y = poisoned<half, 2>({2, 4});
  auto workspace = workspace_for(layer, 3);
  CHECK(error_text([&] { layer.forward(narrow.view(), y.view(), workspace.view()); }) ==
        "w8a8::forward: argument 'input': expected 8 features in the last dimension, got shape 3x7");
  CHECK(error_text([&] { layer.forward(x.view(), short_y.view(), workspace.view()); }) ==
        "w8a8::forward: argument 'output_buffer': expected shape 3x4, got shape 2x4");
  const std::vector<std::int8_t> codes(24);
  const std::vector<float> scale(3, 1.0f);
  const MatrixView<const std::int8_t, Host> x8(codes.data(), {3, 8});
  CHECK(error_text([&] { layer.forward(x8, VectorView<const float, Host>(scale.data(), {2}), y.view()); }) ==
        "w8a8::forward: argument 'input_scale': expected length 3, one scale a token, got length 2");
  CHECK(error_text([&] {
          layer.apply_weights_bias(x8, VectorView<const float, Host>(scale.data(), {3}), y.view(),
                                   VectorView<const half, Host>(layer.bias.data(), {3}));
        }) == "w8a8::gemm: argument 'bias': expected a vector of length 4, got length 3");
  const auto batches = normal_tensor<half, 3>(random, {2, 3, 8});
  auto y3 = poisoned<half, 3>({2, 2, 4});
  CHECK(error_text([&] {
          layer.forward(TensorView<const half, 3, Host>(batches.data(), {2, 2, 8}, {24, 8, 1}), y3.view(), workspace.view());
        }) == "w8a8::forward: argument 'input': expected batches that follow one another (stride 16), got stride 24");
  for (const half value : values(y)) CHECK(std::isnan(to_float(value)));
}

TEST_CASE("layers: workspace", "[nn]") {
  Random random(2);
  const auto layer = Layer::from_linear(random_linear<half>(random, 100, 4));
  CHECK(layer.forward_workspace_bytes(3) == 512 + 256);
  CHECK(layer.forward_workspace_bytes(0) == 0);
  CHECK(error_text([&] { layer.forward_workspace_bytes(-1); }) ==
        "w8a8::forward_workspace_bytes: argument 'tokens': expected a count >= 0, got -1");
  const auto x = normal_tensor<half, 2>(random, {3, 100});
  auto y = poisoned<half, 2>({3, 4});
  Tensor<std::byte, 1, Host> memory({1024});
  const auto refused = [&](std::byte* data, std::int64_t bytes) {
    return error_text([&] { layer.forward(x.view(), y.view(), VectorView<std::byte, Host>(data, {bytes})); });
  };
  CHECK(refused(memory.data(), 767) ==
        "w8a8::forward: argument 'workspace': expected 768 bytes (forward_workspace_bytes(3)), got 767 bytes");
  CHECK(refused(nullptr, 768) == "w8a8::forward: argument 'workspace': expected a pointer to its bytes, got nullptr");
  CHECK(contains(refused(memory.data() + 8, 768), "argument 'workspace': expected an address aligned to 16 bytes"));
  CHECK(refused(memory.data() + 16, 768) == "no exception");
}

TEST_CASE("layers: null and misaligned matrices, wrong options", "[nn]") {
  Random random(3);
  const auto layer = Layer::from_linear(random_linear<half>(random, 8, 4));
  const auto x = normal_tensor<half, 2>(random, {3, 8});
  auto y = poisoned<half, 2>({3, 4});
  auto workspace = workspace_for(layer, 3);
  CHECK(contains(error_text([&] {
                   layer.forward(MatrixView<const half, Host>(nullptr, {3, 8}), y.view(), workspace.view());
                 }),
                 "nullptr"));
  CHECK(error_text([&] {
          layer.forward(x.view(), MatrixView<half, Host>(nullptr, {3, 4}), workspace.view());
        }) == "w8a8::gemm: argument 'out': expected a pointer to its elements, got nullptr");
  GemmOptions options;
  options.kernel = Kernel::sm80;
  CHECK(contains(error_text([&] { layer.forward(x.view(), y.view(), workspace.view(), options); }), "argument 'options.kernel'"));
}

TEST_CASE("layers: what the multiplication refuses is thrown before the input is quantized", "[nn]") {
  Random random(8);
  const auto linear = random_linear<half>(random, 16, 8);
  const auto dynamic = Layer::from_linear(linear), fc1 = Layer::from_linear(linear, false, {}, true);
  const auto fixed = W8A8OF16LinearStaticScale<half, Host>::from_linear(linear);
  const auto gated = W8A8OF16GatedLinear<half, Host>::from_gate_up(linear, linear);
  const auto asymmetric = W8A8OF16LinearAsymmetricInput<half, Host>::from_linear(linear);
  const auto check = [&](const GemmOptions& options, const std::string& expected) {
    CHECK(refusal_of_forward(dynamic, 3, options) == expected);
    CHECK(refusal_of_forward(fc1, 3, options) == expected);
    CHECK(refusal_of_forward(fixed, 3, options) == expected);
    CHECK(refusal_of_forward(gated, 3, options) == expected);
    CHECK(refusal_of_forward(asymmetric, 3, options) == expected);
  };
  GemmOptions options;
  options.configuration = "sm80_gemm/none";
  check(options, "w8a8::gemm: argument 'options.configuration': expected none for host views, got sm80_gemm/none");
  options = {};
  options.kernel = Kernel::sm90;
  check(options, "w8a8::gemm: argument 'options.kernel': expected auto or host for host views, got sm90");
  options = {};
  options.threads = -1;
  check(options, "w8a8::gemm: argument 'options.threads': expected a count >= 0, got -1");

  auto short_bias = Layer::from_linear(linear);
  short_bias.bias = Tensor<half, 1, Host>({7});
  CHECK(refusal_of_forward(short_bias, 3, {}) == "w8a8::gemm: argument 'bias': expected a vector of length 8, got length 7");
}

TEST_CASE("layers: a bias that is no pointer is not taken for none", "[nn]") {
  Random random(6);
  const auto linear = random_linear<half>(random, 8, 4);
  const std::vector<std::int8_t> codes(16);
  const std::vector<float> scale = {1.0f, 1.0f};
  const MatrixView<const std::int8_t, Host> x(codes.data(), {2, 8});
  const VectorView<const half, Host> null(nullptr, {4});
  auto y = poisoned<half, 2>({2, 4});
  const auto before = values(y);
  CHECK(error_text([&] {
          Layer::from_linear(linear).apply_weights_bias(x, VectorView<const float, Host>(scale.data(), {2}), y.view(), null);
        }) == "w8a8::apply_weights_bias: argument 'added': expected a pointer to its elements, got nullptr");
  CHECK(error_text([&] { W8A8OF16LinearStaticScale<half, Host>::from_linear(linear).apply_weights_bias(x, y.view(), null); }) ==
        "w8a8::apply_weights_bias: argument 'added': expected a pointer to its elements, got nullptr");
  CHECK(difference(before, values(y)) == "");
}

TEST_CASE("layers: more tokens than a call takes", "[nn]") {
  Random random(7);
  const auto layer = Layer::from_linear(random_linear<half>(random, 8, 4));
  CHECK(layer.forward_workspace_bytes(0x7fffffff) > std::size_t{0x7fffffff} * 8);
  CHECK(error_text([&] { layer.forward_workspace_bytes(std::int64_t{1} << 62); }) ==
        "w8a8::forward_workspace_bytes: argument 'tokens': expected at most 2147483647, got 4611686018427387904");
}

TEST_CASE("layers: K beyond what int32 can sum is refused before anything runs", "[nn]") {
  Random random(4);
  const auto layer = Layer::from_linear(random_linear<half>(random, maximum_k + 1, 1, false));
  const auto x = normal_tensor<half, 2>(random, {1, maximum_k + 1});
  auto y = poisoned<half, 2>({1, 1});
  auto workspace = workspace_for(layer, 1);
  CHECK(contains(error_text([&] { layer.forward(x.view(), y.view(), workspace.view()); }),
                 "so that int32 sums cannot overflow, got K = 131072"));
}

TEST_CASE("layers: what cannot be quantized", "[nn]") {
  Random random(5);
  const auto a = random_linear<half>(random, 8, 4), b = random_linear<half>(random, 9, 4);
  CHECK(error_text([&] { Layer::from_qkv(a, a, b); }) ==
        "w8a8::from_qkv: argument 'linear': expected in_features 8, as the first one has, got 9");
  const std::vector<float> scales = {1.0f, 0.0f, 1.0f, 1.0f, 1e-9f, INFINITY, NAN, -1.0f};
  CHECK(error_text([&] { Layer::from_linear(a, false, VectorView<const float, Host>(scales.data(), {3})); }) ==
        "w8a8::from_linear: argument 's1_scale': expected length 4 or 1, got length 3");
  CHECK(error_text([&] { Layer::from_linear(a, false, VectorView<const float, Host>(scales.data(), {4})); }) ==
        "w8a8::from_linear: argument 's1_scale': expected scales that are positive and finite as stored, got 0 for channel 1");
  using HalfScale = W8A8OF16LinearDynamicInputScale<half, Host, half>;
  CHECK(contains(error_text([&] { HalfScale::from_linear(a, false, VectorView<const float, Host>(scales.data() + 4, {1})); }),
                 "got 1e-09"));
  for (int i = 5; i < 8; ++i) {
    CHECK(contains(error_text([&] { Layer::from_linear(a, false, VectorView<const float, Host>(scales.data() + i, {1})); }),
                   "'s1_scale'"));
  }
  const std::vector<float> ones(4, 1.0f);
  const VectorView<const float, Host> given(ones.data(), {4});
  nn::LinearView<half, Host> transposed = nn::linear_view(a);
  transposed.weight = MatrixView<const half, Host>(a.weight.data(), {4, 8}, {1, 4});
  nn::LinearView<half, Host> null = nn::linear_view(a);
  null.weight = MatrixView<const half, Host>(nullptr, {4, 8});
  for (const auto& scale : {VectorView<const float, Host>(), given}) {
    CHECK(contains(error_text([&] { Layer::from_linear(transposed, false, scale); }), "expected contiguous rows"));
    CHECK(contains(error_text([&] { Layer::from_linear(null, false, scale); }), "expected a pointer to its elements"));
  }
  nn::LinearView<half, Host> wrong = nn::linear_view(a);
  wrong.bias = VectorView<const half, Host>(a.bias.data(), {3});
  CHECK(error_text([&] { Layer::from_linear(wrong); }) ==
        "w8a8::from_linear: argument 'linear': expected a bias of length 4, got length 3");
}

TEST_CASE("static layer: scales that are none", "[nn]") {
  W8A8OF16LinearStaticScale<half, Host> layer(8, 4);
  for (const float scale : {0.0f, -1.0f, INFINITY, NAN}) {
    CHECK(contains(error_text([&] { layer.set_input_scale(scale); }), "argument 'scale': expected a positive, finite number"));
  }
  CHECK(layer.input_scale() == 1.0f);
  W8A8OF16LinearStaticScale<half, Host> bare;
  bare.create_weights(8, 4);
  const std::vector<std::int8_t> codes(8);
  auto y = poisoned<half, 2>({1, 4});
  CHECK(contains(error_text([&] {
                   bare.forward(MatrixView<const std::int8_t, Host>(codes.data(), {1, 8}), y.view());
                 }),
                 "set_input_scale() to be called first"));
}

}  // namespace
