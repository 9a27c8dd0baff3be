// The error contract of gemm(): each bad argument is refused by name before anything is written, with or without a GPU.
#include "w8a8/gemm/problem.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <string>

#include "support/catch.hpp"
#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/gemm/host_gemm.hpp"
#include "w8a8/tensor/tensor.hpp"

namespace {

using namespace w8a8;

// Device views over addresses that nobody reads: the checks must come before any access or CUDA call.
template <class T>
T* fake(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

struct Arguments {
  MatrixView<const std::int8_t, Device> x{fake<const std::int8_t>(0x1000), {4, 32}};
  MatrixView<const std::int8_t, Device> w{fake<const std::int8_t>(0x2000), {8, 32}};
  VectorView<const float, Device> input_scale{fake<const float>(0x3000), {4}};
  VectorView<const float, Device> weight_scale{fake<const float>(0x4000), {8}};
  VectorView<const half, Device> bias{fake<const half>(0x5000), {8}};
  MatrixView<half, Device> out{fake<half>(0x6000), {4, 8}};

  GemmProblem<half> check() const { return make_problem(x, w, Dequantize{input_scale, weight_scale} | Bias{bias}, out); }
};

void require_refused(const std::string& argument, const std::string& received, const std::function<void(Arguments&)>& spoil) {
  Arguments arguments;
  spoil(arguments);
  try {
    arguments.check();
    FAIL("not refused: " << argument << ", " << received);
  } catch (const Error& error) {
    INFO(error.what());
    CHECK(error.function() == "gemm");
    CHECK(error.argument() == argument);
    CHECK_FALSE(error.expected().empty());
    CHECK(error.received() == received);
  }
}

}  // namespace

TEST_CASE("gemm: good arguments become a problem", "[gemm][errors]") {
  const GemmProblem<half> problem = Arguments{}.check();
  CHECK(problem.m == 4);
  CHECK(problem.n == 8);
  CHECK(problem.k == 32);
  CHECK(problem.ldx == 32);
  CHECK(problem.ldo == 8);
}

TEST_CASE("gemm: each bad argument is refused by name", "[gemm][errors]") {
  using A = Arguments;
  require_refused("x", "nullptr", [](A& a) { a.x = {nullptr, {4, 32}}; });
  require_refused("w", "nullptr", [](A& a) { a.w = {nullptr, {8, 32}}; });
  require_refused("out", "nullptr", [](A& a) { a.out = {nullptr, {4, 8}}; });
  require_refused("w", "31", [](A& a) { a.w = {fake<const std::int8_t>(0x2000), {8, 31}}; });
  require_refused("out", "4x9", [](A& a) { a.out = {fake<half>(0x6000), {4, 9}}; });
  require_refused("out", "5x8", [](A& a) { a.out = {fake<half>(0x6000), {5, 8}}; });
  require_refused("out", "0x6001", [](A& a) { a.out = {fake<half>(0x6001), {4, 8}}; });
  require_refused("x", "stride 2", [](A& a) { a.x = {fake<const std::int8_t>(0x1000), {4, 32}, {64, 2}}; });
  require_refused("x", "row stride 31", [](A& a) { a.x = {fake<const std::int8_t>(0x1000), {4, 32}, {31, 1}}; });
  require_refused("out", "row stride 0", [](A& a) { a.out = {fake<half>(0x6000), {4, 8}, {0, 1}}; });
  require_refused("input_scale", "length 3", [](A& a) { a.input_scale = {fake<const float>(0x3000), {3}}; });
  require_refused("input_scale", "nullptr", [](A& a) { a.input_scale = {nullptr, {4}}; });
  require_refused("weight_scale", "length 7", [](A& a) { a.weight_scale = {fake<const float>(0x4000), {7}}; });
  require_refused("weight_scale", "stride 2", [](A& a) { a.weight_scale = {fake<const float>(0x4000), {8}, {2}}; });
  require_refused("bias", "length 1", [](A& a) { a.bias = {fake<const half>(0x5000), {1}}; });
  require_refused("bias", "nullptr", [](A& a) { a.bias = {nullptr, {8}}; });
}

TEST_CASE("gemm: misaligned scales and biases are refused", "[gemm][errors]") {
  require_refused("input_scale", "0x3002", [](Arguments& a) { a.input_scale = {fake<const float>(0x3002), {4}}; });
  require_refused("weight_scale", "0x4001", [](Arguments& a) { a.weight_scale = {fake<const float>(0x4001), {8}}; });
  require_refused("bias", "0x5001", [](Arguments& a) { a.bias = {fake<const half>(0x5001), {8}}; });
}

TEST_CASE("gemm: K beyond the int32 range is refused, the limit itself is not", "[gemm][errors]") {
  const auto with_k = [](std::int64_t k) {
    return [k](Arguments& a) {
      a.x = {fake<const std::int8_t>(0x1000), {4, k}};
      a.w = {fake<const std::int8_t>(0x2000), {8, k}};
    };
  };
  require_refused("x", "K = 131072", with_k(131072));
  Arguments at_limit;
  with_k(131071)(at_limit);
  CHECK(at_limit.check().k == 131071);
}

TEST_CASE("gemm: more rows than a 32-bit index holds are refused", "[gemm][errors]") {
  require_refused("x", "2147483648", [](Arguments& a) {
    a.x = {fake<const std::int8_t>(0x1000), {std::int64_t{1} << 31, 32}};
    a.out = {fake<half>(0x6000), {std::int64_t{1} << 31, 8}};
  });
}

TEST_CASE("gemm: a negative size is refused when the view is made", "[gemm][errors]") {
  using View = MatrixView<const std::int8_t, Device>;
  CHECK_THROWS_AS(View(nullptr, {-1, 4}), Error);
  CHECK_THROWS_AS(View(nullptr, {1, 4}, {-4, 1}), Error);
}

TEST_CASE("gemm: empty outputs need no pointers", "[gemm][errors]") {
  Arguments none;
  none.x = {nullptr, {0, 32}};
  none.out = {nullptr, {0, 8}};
  none.input_scale = {nullptr, {0}};
  CHECK(none.check().m == 0);
}

TEST_CASE("host gemm: refuses what is not its own", "[gemm][errors][host]") {
  Tensor<std::int8_t, 2, Host> x({2, 4}), w({3, 4});
  Tensor<std::int32_t, 2, Host> out({2, 3});
  GemmOptions options;
  options.kernel = Kernel::sm80;
  CHECK_THROWS_AS(gemm(x.view(), w.view(), Identity{}, out.view(), options), Error);
  options = {};
  options.configuration = "sm80_gemm/none";
  CHECK_THROWS_AS(gemm(x.view(), w.view(), Identity{}, out.view(), options), Error);
  options = {};
  options.threads = -1;
  CHECK_THROWS_AS(gemm(x.view(), w.view(), Identity{}, out.view(), options), Error);
}
