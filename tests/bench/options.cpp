// The command line: what it means, and one clear line for what it does not.
#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "../../bench/parse_options.hpp"
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
  const Options options = parse_options({"gemm",
                                         "--shape",
                                         "16x6144x4096,1x8x32",
                                         "--kernel",
                                         "sm80",
                                         "--configuration",
                                         "sm80_gemm/x",
                                         "--tuning",
                                         "tuning.json",
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
  CHECK(options.suite == Suite::gemm);
  REQUIRE(options.shapes.size() == 2);
  CHECK(options.shapes[0] == Shape{"custom", 16, 6144, 4096});
  CHECK(options.shapes[1] == Shape{"custom", 1, 8, 32});
  CHECK_FALSE(options.default_shapes);
  CHECK(options.kernel == Kernel::sm80);
  CHECK(options.configuration == "sm80_gemm/x");
  CHECK(options.tuning_file == "tuning.json");
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

TEST_CASE("the suite linear covers every Llama 3 layer of the anchors, and siglip_fc1") {
  const Options options = parse_options({"linear"});
  CHECK(options.peers == peer_names());
  for (const Shape& anchor : preset_shapes("anchors")) {
    if (anchor.name == "sq16k" || anchor.m == 128 || anchor.m == 512) continue;
    CHECK(std::find(options.shapes.begin(), options.shapes.end(), anchor) != options.shapes.end());
  }
  CHECK(refusal({"linear", "--dependent-launch"}).find("--dependent-launch") != std::string::npos);  // it measures both
}

TEST_CASE("the suite quantize: all forms, at a few tokens and at 32 Mi elements and more") {
  const Options options = parse_options({"quantize"});
  CHECK(options.forms.size() == quantize_forms().size());
  CHECK(options.forms.front() == "per_token");
  REQUIRE(options.shapes.size() == 5);
  CHECK(options.shapes[0] == Shape{"few", 16, 0, 4096});
  CHECK(options.shapes[0].text() == "16x4096");
  for (std::size_t i = 1; i < options.shapes.size(); ++i) {
    CHECK(std::int64_t{options.shapes[i].m} * options.shapes[i].k >= std::int64_t{32} << 20);
  }
  CHECK(parse_options({"quantize", "--forms", "rms_norm,silu_mul"}).forms == std::vector<std::string>{"rms_norm", "silu_mul"});
  CHECK(parse_options({"quantize", "--preset", "llama3-8b", "--dependent-launch"}).dependent_launch);
  for (const QuantizeForm& form : quantize_forms()) CHECK(find_quantize_form(form.name) == &form);
  CHECK(find_quantize_form("nonesuch") == nullptr);
}

TEST_CASE("bytes of the forms of quantization") {
  CHECK(find_quantize_form("per_tensor")->bytes(10, 100) == 3000);
  CHECK(find_quantize_form("per_token")->bytes(10, 100) == 3040);
  CHECK(find_quantize_form("asymmetric")->bytes(10, 100) == 3080);
  CHECK(find_quantize_form("rms_norm")->bytes(10, 100) == 3040 + 200);
  CHECK(find_quantize_form("rms_residual_out")->bytes(10, 100) == 9040 + 200);
  CHECK(find_quantize_form("layer_norm_out")->bytes(10, 100) == 5040 + 400);
  CHECK(find_quantize_form("silu_mul")->bytes(10, 100) == 5040);
  CHECK(find_quantize_form("silu_mul_out")->bytes(10, 100) == 7040);
}

TEST_CASE("the suite sweep: every M of two layers, or of those given, beside cuBLASLt FP16") {
  const Options options = parse_options({"sweep"});
  REQUIRE(options.shapes.size() == 600);
  CHECK(options.shapes[0] == Shape{"6144x4096", 1, 6144, 4096});
  CHECK(options.shapes[299] == Shape{"6144x4096", 300, 6144, 4096});
  CHECK(options.shapes[300] == Shape{"4096x14336", 1, 4096, 14336});
  CHECK(options.peers == std::vector<std::string>{peer_fp16});
  CHECK(options.sustained == Sustained::none);
  const Options some = parse_options({"sweep", "--shape", "64x128", "-m", "1-3,8", "--kernel", "sm80", "--peers", "none"});
  REQUIRE(some.shapes.size() == 4);
  CHECK(some.shapes[3] == Shape{"64x128", 8, 64, 128});
  CHECK(some.kernel == Kernel::sm80);
  CHECK(some.peers.empty());
  CHECK(refusal({"sweep", "--shape", "1x64x128"}).find("--shape: expected NxK") == 0);
}

TEST_CASE("the suite chain: a few M") {
  const Options options = parse_options({"chain"});
  REQUIRE(options.shapes.size() == 3);
  CHECK(options.shapes[1].m == 8);
  CHECK(options.peers.empty());
  CHECK(parse_options({"chain", "-m", "4"}).shapes.size() == 1);
}

TEST_CASE("the suite tune: shapes as gemm takes them") {
  CHECK(parse_options({"tune"}).shapes == preset_shapes("anchors"));
  const Options options = parse_options({"tune", "--shape", "16x64x128", "-m", "1-2", "--kernel", "sm80", "--json", "t.json"});
  CHECK(options.suite == Suite::tune);
  CHECK(options.shapes.size() == 2);
  CHECK(options.json == "t.json");
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
      {{"gemm", "-m", "1-x"}, "--m: expected a size from 1 to 2147483647, got 'x'"},
      {{"gemm", "-m", "8-4"}, "--m: expected a range such as 1-300, got '8-4'"},
      {{"gemm", "-m", "1-2147483647"}, "--m: expected a range such as 1-300"},
      {{"gemm", "--preset", "quantize"}, "is no GEMM: it has no N"},
      {{"gemm", "--forms", "all"}, "--forms"},
      {{"quantize", "--forms", "magic"}, "--forms: expected one of all, per_token, "},
      {{"chain", "--shape", "1x2x3"}, "--shape"},
      {{"tune", "--peers", "all"}, "--peers"},
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
