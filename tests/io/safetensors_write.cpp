// Writing safetensors files: what is written can be read, and nothing appears before it is whole.
#include <sys/stat.h>

#include <string>
#include <vector>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "w8a8/io/safetensors.hpp"
#include "w8a8/io/safetensors_writer.hpp"

namespace {

using namespace w8a8;
using namespace w8a8_test;

Tensor<float, 2, Host> ramp(std::int64_t rows, std::int64_t columns) {
  Tensor<float, 2, Host> out({rows, columns});
  for (std::int64_t i = 0; i < out.size(); ++i) out.data()[i] = static_cast<float>(i) * 0.5f - 1.0f;
  return out;
}

TEST_CASE("safetensors: what is written can be read", "[io]") {
  const TemporaryDirectory directory;
  const auto wide = ramp(3, 5);
  Tensor<std::int8_t, 1, Host> codes({7});
  for (std::int64_t i = 0; i < 7; ++i) codes(i) = static_cast<std::int8_t>(-i);
  Tensor<half, 1, Host> halves({1});
  halves(0) = __float2half_rn(0.25f);
  const Tensor<bfloat16, 3, Host> nothing({2, 0, 4});
  const std::string path = directory / "w.safetensors";
  write_safetensors(path,
                    {{"codes", tensor_ref(codes.view())},
                     {"layer \"0\".\xc3\xa9", tensor_ref(halves.view())},
                     {"wide", tensor_ref(wide.view())},
                     {"nothing", tensor_ref(nothing.view())}},
                    {{"format", "pt"}});

  const SafetensorsFile file(path);
  CHECK(file.metadata().at("format") == "pt");
  CHECK(file.tensors().size() == 4);
  // Wide elements come first, so each can be viewed in place whatever the order it was given in.
  const auto view = file.view<float, 2>("wide");
  for (std::int64_t i = 0; i < 15; ++i) CHECK(view.data()[i] == wide.data()[i]);
  CHECK(to_float(file.view<half, 1>("layer \"0\".\xc3\xa9")(0)) == 0.25f);
  CHECK(file.view<std::int8_t, 1>("codes")(6) == -6);
  CHECK(file.view<bfloat16, 3>("nothing").shape() == std::array<std::int64_t, 3>{2, 0, 4});
  CHECK(directory.files() == 1);
  CHECK(read_file(path).size() % 8 == (60 + 2 + 7) % 8);  // the header and its length fill whole 8 bytes
}

TEST_CASE("safetensors: without a commit the old file stays", "[io]") {
  const TemporaryDirectory directory;
  const std::string path = write_file(directory / "old", "as it was");
  const auto x = ramp(2, 2);
  {
    SafetensorsWriter writer(path, {{"x", "F32", {2, 2}}});
    writer.write("x", tensor_ref(x.view()));
    CHECK(directory.files() == 2);
  }
  CHECK(read_file(path) == "as it was");
  CHECK(directory.files() == 1);
  {
    SafetensorsWriter writer(path, {{"x", "F32", {2, 2}}, {"y", "I8", {1}}});
    writer.write("x", tensor_ref(x.view()));
    CHECK(ends_with(error_text([&] { writer.commit(); }), "tensor 'y': was announced and not written"));
  }
  CHECK(read_file(path) == "as it was");
  write_safetensors(path, {{"x", tensor_ref(x.view())}});
  CHECK(SafetensorsFile(path).view<float, 2>("x")(1, 1) == 0.5f);
  CHECK(directory.files() == 1);
}

TEST_CASE("safetensors: what cannot be written is named", "[io]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "w";
  const auto x = ramp(2, 2);
  CHECK(ends_with(error_text([&] {
                    SafetensorsWriter(path, {{"x", "F32", {1}}, {"x", "I8", {1}}});
                  }),
                  "tensor 'x': is given twice"));
  CHECK(ends_with(error_text([&] { SafetensorsWriter(path, {{"", "F32", {1}}}); }), "tensor '': is no name for a tensor"));
  CHECK(ends_with(error_text([&] { SafetensorsWriter(path, {{"__metadata__", "F32", {1}}}); }), "is no name for a tensor"));
  CHECK(ends_with(error_text([&] { SafetensorsWriter(path, {{"x", "F33", {1}}}); }), "tensor 'x': has the unknown dtype 'F33'"));
  CHECK(ends_with(error_text([&] { SafetensorsWriter(path, {{"x", "F32", {-1}}}); }), "tensor 'x': has the impossible shape -1"));
  CHECK(ends_with(error_text([&] {
                    SafetensorsWriter(path, {{"x", "F32", {std::int64_t{1} << 40, std::int64_t{1} << 40}}});
                  }),
                  "has the impossible shape 1099511627776x1099511627776"));
  // What the reader would refuse is not written, either.
  const std::int64_t huge = std::int64_t{1} << 57;
  CHECK(contains(error_text([&] { SafetensorsWriter(path, {{"x", "F32", {0, huge, 16}}}); }), "has the impossible shape 0x"));
  CHECK(ends_with(error_text([&] {
                    SafetensorsWriter(path, {{"x", "F32", std::vector<std::int64_t>(33, 1)}});
                  }),
                  "tensor 'x': has more than 32 dimensions"));
  CHECK(ends_with(error_text([&] {
                    std::vector<TensorSpec> many;
                    for (const char* name : {"a", "b", "c", "d", "e", "f", "g", "h", "i"}) many.push_back({name, "F32", {huge}});
                    SafetensorsWriter(path, many);
                  }),
                  "tensor 'i': is too much: the file would pass 2^62 bytes"));
  CHECK(ends_with(error_text([&] {
                    SafetensorsWriter(path, {{"\xff", "F32", {1}}});
                  }),
                  "a name or the metadata is not valid UTF-8"));
  CHECK(ends_with(error_text([&] { SafetensorsWriter(directory / "no/such/place", {}); }),
                  "cannot be created: No such file or directory"));
  {
    SafetensorsWriter writer(path, {{"x", "F32", {2, 3}}});
    CHECK(ends_with(error_text([&] { writer.write("x", tensor_ref(x.view())); }),
                    "tensor 'x': was announced with 24 bytes and has 16"));
    CHECK(ends_with(error_text([&] { writer.write("y", tensor_ref(x.view())); }), "tensor 'y': was not announced"));
  }
  CHECK(directory.files() == 0);
}

TEST_CASE("safetensors: a full disk is an error", "[io]") {
  if (::access("/dev/full", W_OK) != 0) return;
  // AtomicFile writes beside its path, so the disk is simulated by a directory that cannot take files.
  CHECK(ends_with(error_text([&] { SafetensorsWriter("/dev/full/x", {}); }), "cannot be created: Not a directory"));
}

TEST_CASE("safetensors: the file's permissions follow the umask", "[io]") {
  const TemporaryDirectory directory;
  const ::mode_t old = ::umask(027);
  write_safetensors(directory / "m", {});
  ::umask(old);
  struct stat status {};
  REQUIRE(::stat((directory / "m").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0640);
}

}  // namespace
