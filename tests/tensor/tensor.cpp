#include "w8a8/tensor/tensor.hpp"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include "support/catch.hpp"
#include "w8a8/support/integer_math.hpp"

using namespace w8a8;

TEST_CASE("a host tensor owns dense, aligned storage", "[tensor]") {
  Tensor<float, 2, Host> tensor({3, 5});
  CHECK(is_aligned(tensor.data(), 256));
  CHECK(tensor.size() == 15);
  CHECK(tensor.bytes() == 60);
  CHECK(tensor.view().is_dense());
  tensor(2, 4) = 7.0f;
  CHECK(tensor.data()[14] == 7.0f);
  CHECK(std::as_const(tensor)(2, 4) == 7.0f);
  CHECK(std::as_const(tensor).view()(2, 4) == 7.0f);
}

TEST_CASE("a tensor moves and does not copy", "[tensor]") {
  using Matrix = Tensor<int, 2, Host>;
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Matrix>);
  STATIC_REQUIRE_FALSE(std::is_copy_assignable_v<Matrix>);
  Matrix first({2, 2});
  first(1, 1) = 5;
  const int* data = first.data();
  Matrix second = std::move(first);
  CHECK(second.data() == data);
  CHECK(second(1, 1) == 5);
}

TEST_CASE("a tensor without elements allocates nothing", "[tensor]") {
  CHECK(Tensor<float, 2, Host>().empty());
  Tensor<float, 2, Host> no_rows({0, 5});
  CHECK(no_rows.data() == nullptr);
  CHECK(no_rows.extent(1) == 5);
  CHECK_NOTHROW(Tensor<float, 2, Device>({0, 5}));  // not even where there is no device
}

TEST_CASE("shapes that are negative or too large are refused", "[tensor]") {
  CHECK_THROWS_AS((Tensor<float, 2, Host>({-1, 5})), Error);
  const std::int64_t big = std::int64_t{1} << 31;
  CHECK_THROWS_AS((Tensor<float, 2, Host>({big, big})), Error);
  CHECK_THROWS_AS((Tensor<float, 3, Device>({big, big, big})), Error);
  CHECK_THROWS_AS((Tensor<float, 3, Host>({0, big, big})), Error);
  CHECK_THROWS_AS((Tensor<float, 3, Host>({big, 0, big})), Error);
  CHECK_THROWS_AS((Tensor<float, 1, Host>({std::numeric_limits<std::int64_t>::max()})), Error);
}

TEST_CASE("copy between host views", "[tensor]") {
  Tensor<int, 2, Host> from({2, 3});
  for (int i = 0; i < 6; ++i) from.data()[i] = i;
  Tensor<int, 2, Host> to({2, 3});
  copy(std::as_const(from).view(), to.view());
  CHECK(to(1, 2) == 5);
  const Tensor<int, 2, Host> clone = clone_to<Host>(from.view());
  CHECK(clone(1, 1) == 4);
  CHECK(clone.data() != from.data());
}

TEST_CASE("copy refuses shapes that disagree and strided views", "[tensor]") {
  Tensor<int, 2, Host> from({2, 3}), wrong({3, 2}), wide({2, 6});
  try {
    copy(from.view(), wrong.view());
    FAIL("did not throw");
  } catch (const Error& error) {
    CHECK(error.argument() == "destination");
    CHECK(error.received() == "3x2");
  }
  const MatrixView<int, Host> strided(wide.data(), {2, 3}, {6, 1});
  CHECK_THROWS_AS(copy(strided, from.view()), Error);
  CHECK_THROWS_AS(copy(from.view(), strided), Error);
}

TEST_CASE("copy refuses null pointers", "[tensor]") {
  Tensor<int, 1, Host> there({3});
  const VectorView<int, Host> null(nullptr, {3});
  CHECK_THROWS_AS(copy(null, there.view()), Error);
  CHECK_THROWS_AS(copy(there.view(), null), Error);
  CHECK_NOTHROW(copy(VectorView<int, Host>(nullptr, {0}), VectorView<int, Host>(nullptr, {0})));
}

TEST_CASE("tensors of a type of another namespace can be cloned", "[tensor]") {
  Tensor<std::byte, 1, Host> bytes({2});
  bytes(0) = std::byte{3}, bytes(1) = std::byte{4};
  const Tensor<std::byte, 1, Host> clone = clone_to<Host>(bytes.view());
  CHECK(clone(0) == std::byte{3});
  CHECK(clone(1) == std::byte{4});
}
