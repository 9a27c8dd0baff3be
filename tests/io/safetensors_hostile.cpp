// Broken and hostile safetensors files: each is refused with an error that names the file, the tensor and the reason.
#include <cstdint>
#include <string>
#include <vector>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"
#include "w8a8/io/safetensors.hpp"

namespace {

using namespace w8a8;
using namespace w8a8_test;

struct Case {
  std::string header;
  std::string data;
  std::string tensor;  // what FileError::tensor() says
  std::string reason;  // what FileError::reason() says
};

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

void check_refused(const std::string& path, const std::string& tensor, const std::string& reason) {
  INFO("expected reason: " << reason);
  try {
    const SafetensorsFile file(path);
    FAIL_CHECK("the file was accepted");
  } catch (const FileError& error) {
    CHECK(error.file() == path);
    CHECK(error.tensor() == tensor);
    CHECK(error.reason() == reason);
    CHECK(std::string(error.what()).find('\n') == std::string::npos);
  }
}

TEST_CASE("safetensors: hostile headers", "[io]") {
  const TemporaryDirectory directory;
  const std::string good = entry("a", "I8", "[4]", "[0,4]");
  const std::vector<Case> cases = {
      // Offsets against the file and each other.
      {"{" + entry("a", "I8", "[8]", "[0,8]") + "}", "1234", "a", "its data ends at byte 8, but the file holds 4 bytes of data"},
      {"{" + entry("a", "I8", "[4]", "[4,0]") + "}", "1234", "a", "its data_offsets 4, 0 run backwards"},
      {"{" + good + "," + entry("b", "I8", "[2]", "[2,4]") + "}", "1234", "b", "its data overlaps that of 'a'"},
      {"{" + good + "," + entry("b", "I8", "[4]", "[0,4]") + "}", "1234", "b", "its data overlaps that of 'a'"},
      {"{" + entry("a", "I8", "[2]", "[2,4]") + "}", "1234", "a", "its data begins at byte 2, after a gap of 2 bytes"},
      {"{" + entry("a", "I8", "[2]", "[0,2]") + "," + entry("b", "I8", "[1]", "[3,4]") + "}", "1234", "b",
       "its data begins at byte 3, after a gap of 1 bytes"},
      {"{" + good + "}", "123456", "", "its last 2 bytes belong to no tensor"},
      {"{}", "1", "", "its last 1 bytes belong to no tensor"},
      {"{" + entry("a", "I8", "[4]", "[18446744073709551612,18446744073709551615]") + "}", "1234", "a",
       "its data ends at byte 18446744073709551615, but the file holds 4 bytes of data"},
      // Shapes.
      {"{" + entry("a", "F16", "[3]", "[0,4]") + "}", "1234", "a", "its shape 3 of F16 takes 6 bytes, its data_offsets span 4"},
      {"{" + entry("a", "F32", "[4294967296,4294967296]", "[0,4]") + "}", "1234", "a",
       "its shape 4294967296x4294967296 overflows"},
      {"{" + entry("a", "F32", "[2305843009213693952]", "[0,0]") + "}", "", "a", "its shape 2305843009213693952 overflows"},
      {"{" + entry("a", "F32", "[0,9223372036854775807,3]", "[0,0]") + "}", "", "a",
       "its shape 0x9223372036854775807x3 overflows"},
      {"{" + entry("a", "X9", "[4294967296,4294967296]", "[0,4]") + "}", "1234", "a",
       "its shape 4294967296x4294967296 overflows"},
      {"{" + entry("a", "F32", "[9223372036854775808]", "[0,4]") + "}", "1234", "a",
       "has a size of 9223372036854775808, beyond 2^63 - 1"},
      {"{" + entry("a", "F4", "[3]", "[0,2]") + "}", "12", "a", "its shape 3 of F4 does not fill whole bytes"},
      {"{" + entry("a", "I8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,1]") + "}", "1", "a",
       "has more than 32 dimensions"},
      {"{" + entry("a", "I8", "[-4]", "[0,4]") + "}", "1234", "a", "its entry 'shape' holds the negative number -4"},
      {"{" + entry("a", "I8", "[4.0]", "[0,4]") + "}", "1234", "a",
       "its entry 'shape' holds the number '4.0', which is no integer below 2^64"},
      {"{" + entry("a", "I8", "[18446744073709551616]", "[0,4]") + "}", "1234", "a",
       "its entry 'shape' holds the number '18446744073709551616', which is no integer below 2^64"},
      // Names.
      {"{" + good + "," + good + "}", "1234", "a", "appears twice"},
      {"{" + good + ",\"\\u0061\":{}}", "1234", "a", "appears twice"},
      {R"({"__metadata__":{},"__metadata__":{}})", "", "__metadata__", "appears twice"},
      {R"({"__metadata__":{"k":"1","k":"2"}})", "", "__metadata__", "has two entries 'k'"},
      {R"({"a":{"dtype":"I8","shape":[4],"shape":[4],"data_offsets":[0,4]}})", "1234", "a", "has two entries 'shape'"},
      {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4],"x":1}})", "1234", "a",
       "has an entry 'x'; only dtype, shape and data_offsets are known"},
      // Missing and mistyped pieces.
      {R"({"a":{"shape":[4],"data_offsets":[0,4]}})", "1234", "a", "has no dtype"},
      {R"({"a":{"dtype":"I8","data_offsets":[0,4]}})", "1234", "a", "has no shape"},
      {R"({"a":{"dtype":"I8","shape":[4]}})", "1234", "a", "has no data_offsets"},
      {R"({"a":{}})", "", "a", "has no dtype"},
      {R"({"a":7})", "", "a", "its entry is a number, not an object"},
      {R"({"a":"b"})", "", "a", "its entry is a string, not an object"},
      {R"({"a":null})", "", "a", "its entry is null, not an object"},
      {R"({"a":[1]})", "", "a", "its entry is an array, not an object"},
      {R"({"a":{"dtype":8,"shape":[4],"data_offsets":[0,4]}})", "1234", "a", "its entry 'dtype' holds a number"},
      {R"({"a":{"dtype":["I8"],"shape":[4],"data_offsets":[0,4]}})", "1234", "a", "its entry 'dtype' holds an array"},
      {R"({"a":{"dtype":"I8","shape":4,"data_offsets":[0,4]}})", "1234", "a", "its entry 'shape' holds a number"},
      {R"({"a":{"dtype":"I8","shape":[[4]],"data_offsets":[0,4]}})", "1234", "a", "its entry 'shape' holds an array"},
      {R"({"a":{"dtype":"I8","shape":["4"],"data_offsets":[0,4]}})", "1234", "a", "its entry 'shape' holds a string"},
      {R"({"a":{"dtype":"I8","shape":[true],"data_offsets":[0,4]}})", "1234", "a", "its entry 'shape' holds a boolean"},
      {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0]}})", "1234", "a", "has fewer than two data_offsets"},
      {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4,4]}})", "1234", "a", "has more than two data_offsets"},
      {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":{"begin":0}}})", "1234", "a",
       "holds an object where none belongs (nested too deep)"},
      {R"({"__metadata__":{"k":{"v":"w"}}})", "", "__metadata__", "holds an object where none belongs (nested too deep)"},
      {R"({"__metadata__":{"k":7}})", "", "__metadata__", "its entry 'k' holds a number"},
      {R"({"__metadata__":{"k":["v"]}})", "", "__metadata__", "its entry 'k' holds an array"},
      {R"({"__metadata__":[]})", "", "__metadata__", "its entry is an array, not an object"},
      // What is no JSON object.
      {"", "", "", "its header does not begin with '{'"},
      {R"([{"a":1}])", "", "", "its header does not begin with '{'"},
      {" {}", "", "", "its header does not begin with '{'"},
      {"\xef\xbb\xbf{}", "", "", "its header does not begin with '{'"},
      {std::string("{}\0{}", 5), "", "", "its header holds a NUL byte"},
  };
  int number = 0;
  for (const Case& each : cases) {
    INFO("header: " << each.header);
    check_refused(write_file(directory / ("case" + std::to_string(number++)), safetensors_bytes(each.header, each.data)),
                  each.tensor, each.reason);
  }
}

TEST_CASE("safetensors: headers that are no JSON name the byte", "[io]") {
  const TemporaryDirectory directory;
  const std::vector<std::string> headers = {
      "{",
      "{}{}",
      "{} x",
      "{\"a\"",
      "{\"a\":{\"dtype\":\"I8\",}}",
      "{'a':1}",
      "{/* */}",
      "{\"\xff\xfe\":{}}",
      "{\"\xc0\xaf\":{}}",
      "{\"\\ud800\":{}}",
      "{\"a\":NaN}",
      "{\"a\nb\":1}",
  };
  for (const std::string& header : headers) {
    INFO("header: " << header);
    const std::string path = write_file(directory / "bad", safetensors_bytes(header, ""));
    try {
      const SafetensorsFile file(path);
      FAIL_CHECK("the file was accepted");
    } catch (const FileError& error) {
      CHECK(error.reason().rfind("its header is not valid JSON at byte ", 0) == 0);
      CHECK(std::string(error.what()).find('\n') == std::string::npos);
      CHECK(error.reason().size() < 400);
    }
  }
}

TEST_CASE("safetensors: nesting of any depth is refused at once", "[io]") {
  const TemporaryDirectory directory;
  std::string arrays = R"({"a":{"dtype":"I8","shape":)", objects;
  arrays += std::string(2'000'000, '[');
  for (int i = 0; i < 500'000; ++i) objects += "{\"a\":";
  check_refused(write_file(directory / "arrays", safetensors_bytes(arrays, "")), "a", "its entry 'shape' holds an array");
  check_refused(write_file(directory / "objects", safetensors_bytes(objects, "")), "a",
                "has an entry 'a'; only dtype, shape and data_offsets are known");
}

TEST_CASE("safetensors: lengths that lie", "[io]") {
  const TemporaryDirectory directory;
  check_refused(write_file(directory / "empty", ""), "", "is too short for a safetensors file: 0 bytes");
  check_refused(write_file(directory / "short", "1234567"), "", "is too short for a safetensors file: 7 bytes");
  check_refused(write_file(directory / "long", safetensors_bytes("{}", "", 3)), "",
                "its header is said to be 3 bytes long, but the file ends after 2");
  check_refused(write_file(directory / "huge", safetensors_bytes("{}", "", 100'000'001)), "",
                "its header is said to be 100000001 bytes long, more than the limit of 100000000");
  check_refused(write_file(directory / "all", safetensors_bytes("{}", "", ~std::uint64_t{0} - 1)), "",
                "its header is said to be 18446744073709551614 bytes long, more than the limit of 100000000");
}

TEST_CASE("safetensors: what is no regular file", "[io]") {
  const TemporaryDirectory directory;
  check_refused(directory / "absent", "", "cannot be opened: No such file or directory");
  check_refused(directory / ".", "", "is not a regular file");
  check_refused("/dev/zero", "", "is not a regular file");
}

TEST_CASE("safetensors: names from the file cannot break a message's line", "[io]") {
  const TemporaryDirectory directory;
  const std::string long_name(5000, 'n');
  const std::string header = "{" + entry("\\u001b[31m\\n\\u00e9", "I8", "[5]", "[0,4]") + "}";
  try {
    const SafetensorsFile file(write_file(directory / "escape", safetensors_bytes(header, "1234")));
    FAIL_CHECK("the file was accepted");
  } catch (const FileError& error) {
    CHECK(std::string(error.what()).find(R"(tensor '\x1b[31m\x0a\xc3\xa9')") != std::string::npos);
  }
  try {
    const SafetensorsFile file(
        write_file(directory / "long", safetensors_bytes("{" + entry(long_name, "I8", "[5]", "[0,4]") + "}", "1234")));
    FAIL_CHECK("the file was accepted");
  } catch (const FileError& error) {
    CHECK(error.tensor() == long_name);
    CHECK(std::string(error.what()).size() < 600);
  }
}

// Every prefix of a good file, and thousands of files with a byte or more changed: an error or a file whose views can be read.
TEST_CASE("safetensors: truncated and mutated files never do worse than throw", "[io]") {
  const TemporaryDirectory directory;
  const std::string good = safetensors_bytes(
      "{\"__metadata__\":{\"k\":\"v\"}," + entry("a", "F16", "[2,2]", "[0,8]") + "," + entry("b", "I8", "[3]", "[8,11]") + "}",
      "01234567abc");
  const std::string path = directory / "mutated";
  const auto survives = [&](const std::string& bytes) {
    write_file(path, bytes);
    try {
      const SafetensorsFile file(path);
      std::uint64_t sum = 0;
      for (const SafetensorsEntry& each : file.tensors()) {
        const TensorRef ref = file.ref(each.name);
        for (std::uint64_t i = 0; i < ref.bytes; ++i) sum += static_cast<const unsigned char*>(ref.data)[i];
      }
      return sum < ~std::uint64_t{0};
    } catch (const FileError&) {
      return true;
    }
  };
  for (std::size_t length = 0; length < good.size(); ++length) {
    write_file(path, good.substr(0, length));
    CHECK_THROWS_AS(SafetensorsFile(path), FileError);
  }
  Random random(20);
  for (int i = 0; i < 4000; ++i) {
    std::string bytes = good;
    for (std::int64_t changes = random.integer(1, 3); changes > 0; --changes) {
      bytes[static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(bytes.size()) - 1))] =
          random.chance(0.5) ? "{}[]\",:0129"[random.integer(0, 10)] : static_cast<char>(random.integer(0, 255));
    }
    if (!survives(bytes)) FAIL("unexpected exception");
  }
}

}  // namespace
