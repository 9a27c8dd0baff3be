// Well-formed safetensors files: what can be read, and how.
#include <cstring>
#include <string>
#include <vector>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "w8a8/io/safetensors.hpp"

namespace {

using namespace w8a8;
using namespace w8a8_test;

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

TEST_CASE("safetensors: views and copies of every readable dtype", "[io]") {
  const TemporaryDirectory directory;
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"f":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
      R"("h":{"dtype":"F16","shape":[3],"data_offsets":[16,22]},"b":{"dtype":"BF16","shape":[1,1,2],"data_offsets":[22,26]},)"
      R"("c":{"dtype":"I8","shape":[2,1],"data_offsets":[26,28]}})";
  const std::string padded = header + std::string(8 - header.size() % 8, ' ');
  const std::string data = bytes_of<float>({1.5f, -2.0f, 3.0f, 1e-30f}) +
                           bytes_of<half>({__float2half_rn(1.0f), __float2half_rn(-0.5f), __float2half_rn(65504.0f)}) +
                           bytes_of<bfloat16>({__float2bfloat16_rn(2.0f), __float2bfloat16_rn(-1e30f)}) +
                           bytes_of<std::int8_t>({-127, 5});
  const SafetensorsFile file(write_file(directory / "a.safetensors", safetensors_bytes(padded, data)));

  CHECK(file.metadata().at("format") == "pt");
  REQUIRE(file.tensors().size() == 4);
  CHECK(file.tensors()[0].name == "f");
  CHECK(file.tensors()[3].name == "c");
  CHECK(file.contains("h"));
  CHECK_FALSE(file.contains("__metadata__"));

  const auto f = file.view<float, 2>("f");
  CHECK(f(0, 1) == -2.0f);
  CHECK(f(1, 1) == 1e-30f);
  CHECK(to_float(file.view<half, 1>("h")(2)) == 65504.0f);
  CHECK(to_float(file.view<bfloat16, 3>("b")(0, 0, 0)) == 2.0f);
  CHECK(file.view<std::int8_t, 2>("c")(0, 0) == -127);
  CHECK(file.load<half, 1>("h").size() == 3);
  CHECK(file.load_as<float, 1>("h")(1) == -0.5f);
  CHECK(to_float(file.load_as<half, 2>("f")(0, 0)) == 1.5f);
  CHECK(to_float(file.load_as<bfloat16, 3>("b")(0, 0, 1)) == to_float(__float2bfloat16_rn(-1e30f)));
  CHECK(file.ref("c").bytes == 2);
}

TEST_CASE("safetensors: data at an address that its type cannot be read from is copied", "[io]") {
  const TemporaryDirectory directory;
  std::string header = R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  while (header.size() % 8 != 1) header += ' ';
  const SafetensorsFile file(
      write_file(directory / "odd.safetensors", safetensors_bytes(header, bytes_of<float>({7.0f, -8.0f}))));
  CHECK(contains(error_text([&] { file.view<float, 1>("x"); }), "tensor 'x': its data is not aligned to 4 bytes"));
  const auto x = file.load<float, 1>("x");
  CHECK(x(0) == 7.0f);
  CHECK(x(1) == -8.0f);
  CHECK(to_float(file.load_as<half, 1>("x")(1)) == -8.0f);
}

TEST_CASE("safetensors: other dtypes are listed, and refused on access", "[io]") {
  const TemporaryDirectory directory;
  const std::string header =
      R"({"ids":{"dtype":"I64","shape":[1,2],"data_offsets":[0,16]},"new":{"dtype":"X3","shape":[5],"data_offsets":[16,17]},)"
      R"("nibbles":{"dtype":"F4","shape":[4],"data_offsets":[17,19]}})";
  const SafetensorsFile file(write_file(directory / "other.safetensors", safetensors_bytes(header, std::string(19, 'x'))));
  CHECK(file.tensors().size() == 3);
  CHECK(file.ref("ids").dtype == "I64");
  CHECK(file.ref("new").bytes == 1);
  CHECK(contains(error_text([&] { (file.view<float, 2>("ids")); }),
                 "tensor 'ids': its dtype is 'I64', expected F32 (F32, F16, BF16 and I8 can be read)"));
  CHECK(contains(error_text([&] { file.load<half, 1>("new"); }), "tensor 'new': its dtype is 'X3', expected F16"));
  CHECK(contains(error_text([&] { file.load_as<half, 2>("ids"); }), "expected F32, F16 or BF16"));
}

TEST_CASE("safetensors: a wrong name, dtype or rank is named", "[io]") {
  const TemporaryDirectory directory;
  const SafetensorsFile file(write_file(
      directory / "a.safetensors", safetensors_bytes(R"({"w":{"dtype":"F16","shape":[2,1],"data_offsets":[0,4]}})", "abcd")));
  CHECK(
      contains(error_text([&] { file.view<half, 2>("v"); }), "a.safetensors', tensor 'v': is not in the file, which holds 'w'"));
  CHECK(ends_with(error_text([&] { file.view<float, 2>("w"); }), "tensor 'w': its dtype is 'F16', expected F32"));
  CHECK(ends_with(error_text([&] { file.view<half, 1>("w"); }), "tensor 'w': its shape is 2x1, expected 1 dimension"));
  try {
    file.load<half, 3>("w");
    FAIL("no error");
  } catch (const FileError& error) {
    CHECK(error.file() == file.path());
    CHECK(error.tensor() == "w");
    CHECK(error.reason() == "its shape is 2x1, expected 3 dimensions");
  }
}

TEST_CASE("safetensors: empty tensors, scalars and empty files", "[io]") {
  const TemporaryDirectory directory;
  const std::string header =
      R"({"e":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]},"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
      R"("e2":{"dtype":"F32","shape":[3,0],"data_offsets":[4,4]}})";
  const SafetensorsFile file(write_file(directory / "a.safetensors", safetensors_bytes(header, "abcd")));
  CHECK(file.view<float, 2>("e").empty());
  CHECK(file.load<float, 2>("e2").shape() == std::array<std::int64_t, 2>{3, 0});
  CHECK(file.ref("s").shape.empty());
  CHECK(contains(error_text([&] { file.load<float, 1>("s"); }), "its shape is scalar"));
  CHECK(SafetensorsFile(write_file(directory / "b.safetensors", safetensors_bytes("{}  ", ""))).tensors().empty());
}

TEST_CASE("safetensors: a moved file keeps its views", "[io]") {
  const TemporaryDirectory directory;
  SafetensorsFile file(write_file(directory / "a.safetensors",
                                  safetensors_bytes(R"({"w":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}})", "abcd")));
  const auto before = file.view<std::int8_t, 1>("w");
  const SafetensorsFile moved = std::move(file);
  CHECK(moved.view<std::int8_t, 1>("w").data() == before.data());
  CHECK(before(3) == 'd');
}

}  // namespace
