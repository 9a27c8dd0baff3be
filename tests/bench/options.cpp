// The command line: what it means, and one clear line for what it does not.
#include "../../bench/options.hpp"

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace {

using namespace w8a8::bench;
using w8a8::Kernel;

std::string refusal(const std::vector<std::string>& arguments) {
  try {
    parse_options(arguments);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("the defaults of a suite") {
  const Options options = parse_options({"gemm"});
  CHECK(options.suite == Suite::gemm);
  CHECK(options.default_shapes);
  CHECK(options.shapes.size() == 55);
  CHECK(options.kernel == Kernel::automatic);
  CHECK(options.output == Output::half);
  CHECK(options.bias);
  CHECK(options.peers == peer_names());
  CHECK(options.sustained == Sustained::own);
  CHECK(options.json.empty());
}

TEST_CASE("every flag is read") {
  const Options options = parse_options({"linear",
                                         "--shape",
                                         "16x6144x4096,1x8x32",
                                         "--kernel",
                                         "sm80",
                                         "--configuration",
                                         "sm80_gemm/x",
                                         "--output",
                                         "bfloat16",
                                         "--no-bias",
                                         "--dependent-launch",
                                         "--peers",
                                         "cublaslt_fp16,cublaslt_fp8",
                                         "--time-budget",
                                         "60",
                                         "--sustained",
                                         "mixed",
                                         "--seed",
                                         "7",
                                         "--json",
                                         "out.json"});
  CHECK(options.suite == Suite::linear);
  REQUIRE(options.shapes.size() == 2);
  CHECK(options.shapes[0] == Shape{"custom", 16, 6144, 4096});
  CHECK(options.shapes[1] == Shape{"custom", 1, 8, 32});
  CHECK_FALSE(options.default_shapes);
  CHECK(options.kernel == Kernel::sm80);
  CHECK(options.configuration == "sm80_gemm/x");
  CHECK(options.output == Output::bfloat16);
  CHECK_FALSE(options.bias);
  CHECK(options.dependent_launch);
  CHECK(options.peers == std::vector<std::string>{"cublaslt_fp16", "cublaslt_fp8"});
  CHECK(options.time_budget == 60);
  CHECK(options.sustained == Sustained::mixed);
  CHECK(options.seed == 7);
  CHECK(options.json == "out.json");
}

TEST_CASE("lists of M, several presets, peers by all and none") {
  CHECK(parse_options({"gemm", "--preset", "llama3-8b", "-m", "1,2,3"}).shapes.size() == 12);
  CHECK(parse_options({"gemm", "--preset", "llama3-8b", "--preset", "square"}).shapes.size() == 4 * 9 + 5);
  CHECK(parse_options({"gemm", "--preset", "square", "--m", "5"}).shapes[0] == Shape{"sq1k", 5, 1024, 1024});
  CHECK(parse_options({"gemm", "--shape", "9x8x32", "-m", "1", "2"}).shapes.size() == 2);
  CHECK(parse_options({"gemm", "--peers", "none"}).peers.empty());
  CHECK(parse_options({"gemm", "--kernel", "host"}).shapes == preset_shapes("host"));
}

TEST_CASE("help and list ask for no suite") {
  CHECK(parse_options({"--help"}).help.find("gemm") != std::string::npos);
  CHECK(parse_options({"gemm", "--help"}).help.find("--preset") != std::string::npos);
  CHECK(parse_options({"--list"}).list);
}

TEST_CASE("compare takes two files") {
  const Options options = parse_options({"compare", "a.json", "b.json"});
  CHECK(options.suite == Suite::compare);
  CHECK(options.old_file == "a.json");
  CHECK(options.new_file == "b.json");
  CHECK(refusal({"compare", "a.json"}).find("NEW") != std::string::npos);
  CHECK(refusal({"compare"}) != "");
}

TEST_CASE("what is wrong is said in one line that names the flag") {
  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong = {
      {{}, "a suite is required"},
      {{"gem"}, "gem"},
      {{"gemm", "--speed"}, "--speed"},
      {{"gemm", "--kernel", "sm75"}, "--kernel: expected one of auto, sm80, sm90, host, got 'sm75'"},
      {{"gemm", "--output", "int4"}, "--output: expected one of half, bfloat16, float, got 'int4'"},
      {{"gemm", "--peers", "magic"}, "--peers: expected one of all, none, "},
      {{"gemm", "--preset", "llama9"}, "--preset: no preset 'llama9'; there are anchors, "},
      {{"gemm", "--shape", "16x32"}, "--shape: expected MxNxK"},
      {{"gemm", "--shape", "16x32x64x1"}, "--shape: expected MxNxK"},
      {{"gemm", "--shape", "0x32x64"}, "--shape: expected a size from 1"},
      {{"gemm", "--shape", "-1x32x64"}, "--shape"},
      {{"gemm", "--shape", "1x3.5x64"}, "--shape: expected a size from 1"},
      {{"gemm", "--shape", "1xx64"}, "--shape: expected a size from 1"},
      {{"gemm", "--shape", "1x99999999999x64"}, "--shape: expected a size from 1"},
      {{"gemm", "--shape", "1x16x131072"}, "--shape: K must be at most 131071"},
      {{"gemm", "-m", "1,two"}, "--m: expected a size from 1 to 2147483647, got 'two'"},
      {{"gemm", "--time-budget", "-5"}, "--time-budget"},
      {{"gemm", "--time-budget", "soon"}, "--time-budget"},
      {{"gemm", "--sustained", "yes"}, "--sustained: expected one of own, mixed, none, got 'yes'"},
      {{"gemm", "--seed", "abc"}, "--seed"},
      {{"gemm", "--json"}, "--json"},
      {{"quantize", "--kernel", "sm80"}, "--kernel"},
      {{"gemm", "linear"}, "linear"},
  };
  for (const auto& [arguments, expected] : wrong) {
    const std::string line = refusal(arguments);
    INFO("expected: " << expected << "; got: " << line);
    CHECK(line.find(expected) != std::string::npos);
    CHECK(line.find('\n') == std::string::npos);
  }
}

TEST_CASE("the anchors preset is exactly the rows of the anchors file") {
  const std::string here = __FILE__;
  std::ifstream file(here.substr(0, here.rfind("tests/bench/")) + "bench/anchors/h200_peers.json");
  REQUIRE(file.good());
  const nlohmann::json anchors = nlohmann::json::parse(file);
  std::vector<Shape> rows;
  for (const auto& row : anchors["results"]) rows.push_back({row["name"], row["m"], row["n"], row["k"]});
  CHECK(rows == preset_shapes("anchors"));
}
