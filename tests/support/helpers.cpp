// The test helpers themselves: a guard that sees nothing would let every test pass.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/guarded.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"
#include "w8a8/epilogue/dequantize.hpp"

using namespace w8a8;
using w8a8_test::Guard;
using w8a8_test::Guarded;

TEMPLATE_TEST_CASE("Guarded sees what was not written, and what was written beside it", "[helpers]", std::int8_t, std::int32_t,
                   float, half, bfloat16) {
  for (const std::int64_t stride : {5, 9}) {
    for (const std::int64_t misalignment : {0, 1, 3}) {
      Guarded<TestType, Host> matrix(3, 5, stride, misalignment);
      CHECK(matrix.unwritten() == 15);
      CHECK(matrix.damage() == "");
      const TestType value = static_cast<TestType>(1.0f);
      auto view = matrix.view();
      for (int r = 0; r < 3; ++r) {
        for (int c = 0; c < 5; ++c) view(r, c) = value;
      }
      CHECK(matrix.unwritten() == 0);
      CHECK(matrix.damage() == "");
      CHECK(matrix.change() != "");
      CHECK(w8a8_test::difference(std::vector<TestType>(15, value), matrix.values(), 5) == "");

      std::vector<std::int64_t> outside{-1, -100, 2 * stride + 5, 2 * stride + 200};
      if (stride > 5) outside.insert(outside.end(), {5, 8, stride + 5});
      for (const std::int64_t at : outside) {
        const TestType kept = matrix.data()[at];
        matrix.data()[at] = value;
        INFO("stray write at " << at << ", stride " << stride);
        CHECK(matrix.damage() != "");
        matrix.data()[at] = kept;
        CHECK(matrix.damage() == "");
      }
    }
  }
}

TEST_CASE("Guarded places elements at the stride and the misalignment asked for", "[helpers]") {
  Guarded<std::int8_t, Host> matrix(2, 3, 7, 5);
  matrix.fill({1, 2, 3, 4, 5, 6});
  CHECK(matrix.change() == "");
  CHECK(reinterpret_cast<std::uintptr_t>(matrix.data()) % 256 == 5);
  CHECK(matrix.data()[0] == 1);
  CHECK(matrix.data()[3] == -128);
  CHECK(matrix.data()[7] == 4);
  CHECK(matrix.view()(1, 2) == 6);
  matrix.data()[3] = 0;
  CHECK(matrix.change() != "");

  Guarded<float, Host> exact(4, 6, 8, 0, Guard::exact);
  CHECK(exact.unwritten() == 24);
  Guarded<float, Host> empty(0, 6);
  CHECK(empty.values().empty());
  CHECK(empty.damage() == "");
}

TEST_CASE("difference compares bits", "[helpers]") {
  const float nan = quiet_nan(), other_nan = float_from_bits(0xffc00000u);
  CHECK(w8a8_test::difference<float>({nan, 1.0f}, {nan, 1.0f}) == "");
  CHECK(w8a8_test::difference<float>({nan, 1.0f}, {other_nan, 1.0f}) != "");
  CHECK(w8a8_test::difference<float>({0.0f}, {-0.0f}) != "");
  CHECK(w8a8_test::difference<float>({0.0f}, {0.0f, 0.0f}) != "");
  CHECK(w8a8_test::difference<std::int32_t>({1, 2, 3, 4}, {1, 2, 3, 5}, 2).find("(1, 1)") != std::string::npos);
}

TEST_CASE("Random gives the same numbers everywhere, of the promised shapes", "[helpers]") {
  w8a8_test::Random first(7), second(7), third(8);
  const std::uint64_t bits = first.bits();
  CHECK(bits == second.bits());
  CHECK(bits != third.bits());
  CHECK(w8a8_test::Random(0).bits() == 0xe220a8397b1dcdafu);  // the generator's published first output for seed 0

  const std::vector<std::int8_t> bell = w8a8_test::bell_int8(first, 100000);
  double sum = 0, squares = 0;
  for (const int x : bell) {
    sum += x;
    squares += static_cast<double>(x) * x;
  }
  CHECK(std::abs(sum / 1e5) < 1.0);
  CHECK(std::sqrt(squares / 1e5) == Approx(35.0).margin(3.0));
  CHECK(*std::min_element(bell.begin(), bell.end()) == -127);
  CHECK(*std::max_element(bell.begin(), bell.end()) == 127);

  const std::vector<std::int8_t> flat = w8a8_test::uniform_int8(first, 20000);
  CHECK(std::set<std::int8_t>(flat.begin(), flat.end()).size() == 256);

  for (const float x : w8a8_test::scales<float>(first, 1000)) {
    if (!(x > 0.003f && x < 0.03f)) FAIL_CHECK("scale " << x);
  }
}

TEST_CASE("reference_gemm is X W^T", "[helpers]") {
  // 2 x 3 times 2 x 3, by hand.
  const std::vector<std::int8_t> x{1, -2, 3, 127, -127, 127}, w{4, 5, 6, -128, 127, -128};
  CHECK(w8a8_test::reference_gemm<std::int32_t>(x, w, 2, 2, 3, Identity{}) ==
        std::vector<std::int32_t>{12, -128 - 254 - 384, 127 * 5, -127 * (128 + 127 + 128)});
}
