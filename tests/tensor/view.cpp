#include "w8a8/tensor/view.hpp"

#include <array>
#include <cstdint>
#include <numeric>
#include <string>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"

using namespace w8a8;

namespace {

std::vector<int> iota(int count) {
  std::vector<int> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), 0);
  return values;
}

}  // namespace

TEST_CASE("a dense view is row-major at every rank", "[tensor]") {
  std::vector<int> data = iota(24);
  const TensorView<int, 1, Host> vector(data.data(), {24});
  const TensorView<int, 2, Host> matrix(data.data(), {4, 6});
  const TensorView<int, 3, Host> cube(data.data(), {2, 3, 4});
  int wrong = 0;
  for (int i = 0; i < 24; ++i) {
    wrong += vector(i) != i;
    wrong += matrix(i / 6, i % 6) != i;
    wrong += cube(i / 12, i / 4 % 3, i % 4) != i;
  }
  CHECK(wrong == 0);
  CHECK(cube.stride(0) == 12);
  CHECK(cube.stride(1) == 4);
  CHECK(cube.stride(2) == 1);
  CHECK(cube.shape() == std::array<std::int64_t, 3>{2, 3, 4});
  CHECK(cube.size() == 24);
  CHECK(cube.is_dense());
}

TEST_CASE("a strided view steps over what lies between the rows", "[tensor]") {
  std::vector<int> data = iota(40);
  const MatrixView<int, Host> view(data.data() + 3, {4, 5}, {9, 1});
  CHECK(view(0, 0) == 3);
  CHECK(view(2, 4) == 3 + 18 + 4);
  CHECK_FALSE(view.is_dense());
  view(3, 4) = -1;
  CHECK(data[3 + 27 + 4] == -1);
  const MatrixView<int, Host> transposed(data.data(), {5, 4}, {1, 9});
  CHECK(transposed(4, 2) == data[4 + 18]);
  CHECK_FALSE(transposed.is_dense());
}

TEST_CASE("is_dense ignores strides that are never stepped", "[tensor]") {
  int data[8] = {};
  CHECK(MatrixView<int, Host>(data, {1, 8}, {100, 1}).is_dense());
  CHECK(MatrixView<int, Host>(data, {8, 1}, {1, 5}).is_dense());
  CHECK(MatrixView<int, Host>(data, {0, 8}, {3, 2}).is_dense());
  CHECK_FALSE(MatrixView<int, Host>(data, {2, 2}, {4, 1}).is_dense());
}

TEST_CASE("empty views have a shape and no elements", "[tensor]") {
  const MatrixView<float, Device> none;
  CHECK(none.data() == nullptr);
  CHECK(none.empty());
  const MatrixView<float, Host> no_rows(nullptr, {0, 7});
  CHECK(no_rows.empty());
  CHECK(no_rows.extent(1) == 7);
}

TEST_CASE("shapes whose elements cannot be counted are refused by name", "[tensor]") {
  const std::int64_t big = std::int64_t{1} << 32;
  const auto refused = [](auto&& make) {
    try {
      make();
      FAIL_CHECK("did not throw");
    } catch (const Error& error) {
      CHECK(error.argument() == "shape");
      CHECK(error.expected() == "fewer than 2^63 elements");
    }
  };
  refused([&] { MatrixView<int, Host>(nullptr, {big, big}); });
  refused([&] { MatrixView<int, Device>(nullptr, {big, big}, {0, 1}); });
  refused([&] { TensorView<int, 3, Host>(nullptr, {big, 0, big}); });
  CHECK(MatrixView<int, Host>(nullptr, {big / 2, big - 1}).size() == big / 2 * (big - 1));
}

TEST_CASE("negative sizes and strides are refused by name", "[tensor]") {
  int data[1];
  try {
    MatrixView<int, Host>(data, {4, -1});
    FAIL("did not throw");
  } catch (const Error& error) {
    CHECK(error.argument() == "shape[1]");
    CHECK(error.received() == "-1");
  }
  try {
    MatrixView<int, Host>(data, {4, 1}, {-4, 1});
    FAIL("did not throw");
  } catch (const Error& error) {
    CHECK(error.argument() == "strides[0]");
  }
}

TEST_CASE("sizes and strides are 64-bit", "[tensor]") {
  const std::int64_t rows = std::int64_t{1} << 33;
  const MatrixView<std::int8_t, Device> view(nullptr, {rows, 4096});
  CHECK(view.size() == rows * 4096);
  CHECK(view.stride(0) == 4096);
}

TEST_CASE("a view converts to one of const elements, and to no other space or rank", "[tensor]") {
  int data[6] = {0, 1, 2, 3, 4, 5};
  const MatrixView<int, Host> view(data, {2, 3});
  const MatrixView<const int, Host> constant = view;
  CHECK(constant(1, 2) == 5);
  CHECK(constant.data() == data);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<MatrixView<const int, Host>, MatrixView<int, Host>>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<MatrixView<int, Host>, MatrixView<int, Device>>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<MatrixView<int, Device>, MatrixView<int, Host>>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<MatrixView<int, Host>, VectorView<int, Host>>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<MatrixView<int, Host>, MatrixView<float, Host>>);
}

TEST_CASE("host code cannot index a device view", "[tensor]") {
  STATIC_REQUIRE(std::is_invocable_v<MatrixView<int, Host>, int, int>);
  STATIC_REQUIRE_FALSE(std::is_invocable_v<MatrixView<int, Device>, int, int>);
  STATIC_REQUIRE_FALSE(std::is_invocable_v<MatrixView<int, Host>, int>);
  STATIC_REQUIRE_FALSE(std::is_invocable_v<MatrixView<int, Host>, int, int, int>);
}

TEST_CASE("the mdspan of a host view refers to the same elements", "[tensor]") {
  int data[6] = {0, 1, 2, 3, 4, 5};
  const auto span = MatrixView<int, Host>(data, {2, 3}).mdspan();
  CHECK(span(1, 1) == 4);
  CHECK(span.extent(0) == 2);
}

TEST_CASE("shape_text", "[tensor]") {
  CHECK(shape_text(std::array<std::int64_t, 1>{5}) == "5");
  CHECK(shape_text(std::array<std::int64_t, 3>{4, 7, 0}) == "4x7x0");
}
