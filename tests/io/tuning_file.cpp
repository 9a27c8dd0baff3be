// Tuning files: written, read back, and refused with the file's name and the reason where they are broken or hostile.
#include "w8a8/io/tuning_file.hpp"

#include <string>
#include <utility>
#include <vector>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"

namespace {

using namespace w8a8;
using namespace w8a8_test;

std::string document(const std::string& entries, const std::string& rest = "") {
  return R"({"schema":"w8a8-tuning-1","device":"a card","compute_capability":90,"multiprocessors":132,"entries":[)" + entries +
         "]" + rest + "}";
}

const std::string good_entry = R"({"m":16,"n":6144,"k":4096,"configuration":"sm80_decode/x","us":8.5})";

std::string refusal(const std::string& json) {
  try {
    parse_tuning_file(json, "t.json");
  } catch (const FileError& error) {
    CHECK(error.file() == "t.json");
    CHECK(std::string(error.what()).find('\n') == std::string::npos);
    return error.reason();
  }
  return "";
}

}  // namespace

TEST_CASE("tuning file: written and read back", "[io]") {
  const TemporaryDirectory directory;
  const TuningTable table(90, 132, {{16, 6144, 4096, "sm80_decode/a", 8.5}, {256, 6144, 4096, "sm90_gemm/b", 11.25}});
  const std::string path = directory / "tuning.json";
  write_tuning_file(path, table, "a \"card\"");
  const TuningTable read = read_tuning_file(path);
  CHECK(read.compute_capability() == 90);
  CHECK(read.multiprocessors() == 132);
  REQUIRE(read.entries().size() == 2);
  CHECK(read.entries()[1].configuration == "sm90_gemm/b");
  CHECK(read.entries()[1].microseconds == 11.25);
  CHECK(read.find(10, 6144, 4096)->configuration == "sm80_decode/a");
  write_tuning_file(path, TuningTable(80, 108, {}), "empty");
  CHECK(read_tuning_file(path).entries().empty());
  CHECK(directory.files() == 1);
  CHECK_THROWS_AS(read_tuning_file(directory / "none.json"), FileError);
  CHECK_THROWS_AS(read_tuning_file(write_file(directory / "empty.json", "")), FileError);
}

TEST_CASE("tuning file: any order of members, an integer time", "[io]") {
  const TuningTable table = parse_tuning_file(
      R"( {"entries": [{"us": 3, "configuration": "c", "k": 1, "n": 2, "m": 3}], "multiprocessors": 1, "device": "",
           "compute_capability": 120, "schema": "w8a8-tuning-1"} )",
      "t.json");
  REQUIRE(table.entries().size() == 1);
  CHECK(table.entries()[0].m == 3);
  CHECK(table.entries()[0].k == 1);
  CHECK(table.entries()[0].microseconds == 3);
}

TEST_CASE("tuning file: what is broken is refused with its reason", "[io]") {
  const auto entry = [](const std::string& m, const std::string& name, const std::string& us) {
    return R"({"m":)" + m + R"(,"n":6144,"k":4096,"configuration":)" + name + R"(,"us":)" + us + "}";
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "is not valid JSON"},
      {"{", "is not valid JSON"},
      {document(good_entry) + "x", "is not valid JSON"},
      {"[]", "is an array, not an object"},
      {"5", "is a number, not an object"},
      {"\"text\"", "is a string, not an object"},
      {"{}", "has no schema"},
      {std::string("{}\0", 3), "holds a NUL byte"},
      {R"({"schema":"w8a8-tuning-2"})", "has schema 'w8a8-tuning-2'; known is 'w8a8-tuning-1'"},
      {R"({"schema":1})", "has a number in schema"},
      {R"({"schema":"w8a8-tuning-1","schema":"w8a8-tuning-1"})", "has two members 'schema'"},
      {R"({"a\nb":1})", "has an unknown member 'a\\x0ab'"},
      {R"({"entries":{}})", "has an object in entries"},
      {R"({"entries":5})", "has a number in entries"},
      {R"({"device":{}})", "has an object in device"},
      {R"({"device":null})", "has null in device"},
      {R"({"compute_capability":0})", "has compute_capability = 0; 1 to 2147483647 is allowed"},
      {R"({"compute_capability":9.0})", "has a number that is no integer in compute_capability"},
      {R"({"multiprocessors":4294967428})", "has multiprocessors = 4294967428; 1 to 2147483647 is allowed"},
      {R"({"multiprocessors":-1})", "has a negative number in multiprocessors"},
      {document("", R"(,"more":1)"), "has an unknown member 'more'"},
      {document("1"), "entry 0 is a number, not an object"},
      {document("[]"), "entry 0 is an array, not an object"},
      {document(good_entry + ",\"x\""), "entry 1 is a string, not an object"},
      {document("{}"), "entry 0 has no m"},
      {document(good_entry + R"(,{"m":1,"n":1,"k":1,"configuration":"c"})"), "entry 1 has no us"},
      {document(R"({"m":1,"m":1})"), "entry 0 has two members 'm'"},
      {document(R"({"m":{"m":1}})"), "entry 0 has an object in m"},
      {document(R"({"m":[1]})"), "entry 0 has an array in m"},
      {document(R"({"what":1})"), "entry 0 has an unknown member 'what'"},
      {document(entry("0", "\"c\"", "1")), "entry 0 has m = 0; 1 to 2147483647 is allowed"},
      {document(entry("4294967297", "\"c\"", "1")), "entry 0 has m = 4294967297; 1 to 2147483647 is allowed"},
      {document(entry("99999999999999999999999", "\"c\"", "1")), "entry 0 has a number that is no integer in m"},
      {document(entry("true", "\"c\"", "1")), "entry 0 has a boolean in m"},
      {document(entry("\"1\"", "\"c\"", "1")), "entry 0 has a string in m"},
      {document(R"({"k":131072})"), "entry 0 has k = 131072; 1 to 131071 is allowed"},
      {document(entry("1", "\"\"", "1")), "entry 0 has a configuration of 0 characters; 1 to 100 are allowed"},
      {document(entry("1", "\"" + std::string(101, 'c') + "\"", "1")),
       "entry 0 has a configuration of 101 characters; 1 to 100 are allowed"},
      {document(entry("1", "7", "1")), "entry 0 has a number in configuration"},
      {document(entry("1", "\"c\"", "0")), "entry 0 has us that is not a finite number above 0"},
      {document(entry("1", "\"c\"", "-1.5")), "entry 0 has us that is not a finite number above 0"},
      {document(entry("1", "\"c\"", "\"1\"")), "entry 0 has a string in us"},
      {document(entry("1", "\"c\"", "1e999")), "is not valid JSON"},
  };
  for (const auto& [json, reason] : cases) {
    INFO(json);
    CHECK(refusal(json).find(reason) == 0);
  }
  CHECK(refusal(document(good_entry)) == "");
}

TEST_CASE("tuning file: depth and size are bounded", "[io]") {
  CHECK(refusal(std::string(100000, '[')).find("is an array") == 0);
  CHECK(refusal(document(std::string(100000, '['))).find("entry 0 is an array") == 0);
  CHECK(refusal(std::string(maximum_tuning_file + 1, ' ')) == "has 16000001 bytes; at most 16000000 are allowed");
}

TEST_CASE("tuning file: a byte changed at random is refused or read, never worse", "[io]") {
  const std::string json = document(good_entry + "," + good_entry);
  Random random(7);
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = json;
    for (int j = 0; j < 3; ++j)
      damaged[static_cast<std::size_t>(random.integer(0, static_cast<int>(json.size()) - 1))] =
          static_cast<char>(random.integer(1, 255));
    refusal(damaged);
    refusal(damaged.substr(0, static_cast<std::size_t>(random.integer(0, static_cast<int>(json.size())))));
  }
}
