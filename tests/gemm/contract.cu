// What gemm() promises beyond its numbers, and the defects of the kernels it replaces.
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "gemm/random_gemm.cuh"
#include "w8a8/ptx/dependent_launch.cuh"

using namespace w8a8_test;
using w8a8::half;

namespace {

using Problem = GemmProblemOnDevice<half, Chain::bias>;

void check_case(const GemmCase& c) {
  const Stream stream;
  Random random(static_cast<std::uint64_t>(c.m * 1000003 + c.n * 1009 + c.k));
  for (const w8a8::Kernel kernel : {w8a8::Kernel::automatic, w8a8::Kernel::sm80}) {
    Problem problem(random, c);
    GemmOptions options;
    options.kernel = kernel;
    CHECK(problem.run(options, stream) == "");
  }
}

/// Lets its dependents start, dawdles for about a millisecond, then copies.
__global__ void write_late(const std::int8_t* from, std::int8_t* to, std::int64_t count) {
  w8a8::ptx::griddepcontrol_launch_dependents();
  for (int i = 0; i < 1000; ++i) __nanosleep(1000);
  for (std::int64_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += std::int64_t{gridDim.x} * blockDim.x)
    to[i] = from[i];
}

}  // namespace

TEST_CASE("defect 1: bias with few tokens is right beyond K = 320", "[gpu][gemm][defect]") {
  W8A8_REQUIRE_GPU();
  for (const std::int64_t m : {1, 17, 64, 128}) check_case({m, 256, 4096});
}

TEST_CASE("defect 2: the last columns are written when N is no multiple of a tile", "[gpu][gemm][defect]") {
  W8A8_REQUIRE_GPU();
  for (const std::int64_t n : {65, 127, 129, 200, 4304}) check_case({160, n, 256});
}

TEST_CASE("defect 3: K that is no multiple of 64 does not read into the next row", "[gpu][gemm][defect]") {
  W8A8_REQUIRE_GPU();
  for (const std::int64_t m : {1, 33, 300}) check_case({m, 1152, 4304});
  for (const std::int64_t k : {1, 15, 65, 100, 1000}) check_case({40, 72, k});
}

TEST_CASE("defect 4: a bias of exactly N elements is enough", "[gpu][gemm][defect][sanitizer]") {
  W8A8_REQUIRE_GPU();
  const Stream stream;
  Random random(4);
  for (const std::int64_t n : {1, 63, 72, 129, 200}) {
    for (const std::int64_t m : {1, 20, 60, 150}) {
      // No slack behind any operand: a memory checker sees the first byte read past an end.
      Problem problem(random, {m, n, 192}, Guard::exact);
      CHECK(problem.run({}, stream) == "");
    }
  }
}

TEST_CASE("defect 6: odd N, and output rows that are not aligned to pairs", "[gpu][gemm][defect]") {
  W8A8_REQUIRE_GPU();
  for (const std::int64_t m : {1, 16, 100, 300}) {
    check_case({m, 333, 512});
    GemmCase odd{m, 256, 512};
    odd.pad_out = 3, odd.off_out = 1;
    check_case(odd);
  }
}

TEST_CASE("gemm: rows that start at multiples of 16 bytes and end between them are not overrun", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  const Stream stream;
  Random random(23);
  for (const std::string& name : w8a8::gemm_configurations()) {
    if (name.rfind("sm90", 0) == 0 && !runs_hopper_code()) continue;
    for (const std::int64_t n : {197, 403}) {
      GemmCase c{150, n, 256};
      c.pad_out = w8a8::round_up<std::int64_t>(n, 8) - n;
      GemmOptions options;
      options.configuration = name;
      if (!refusal_of<half, Chain::bias>(name, c).empty()) continue;
      Problem problem(random, c);
      INFO(name);
      const std::string wrong = run_where_it_fits(problem, options, stream);
      CHECK((wrong == "" || wrong == too_large));
    }
  }
}

TEST_CASE("defect 7: work goes to the caller's stream and can be captured in a graph", "[gpu][gemm][defect]") {
  W8A8_REQUIRE_GPU();
  const Stream stream;
  Random random(7);
  for (const std::int64_t m : {1, 48, 200, 600}) {
    for (const bool dependent : {false, true}) {
      GemmOptions options;
      options.dependent_launch = dependent;
      Problem problem(random, {m, 1024, 1024});
      REQUIRE(problem.run(options, stream) == "");
      problem.reset();
      cudaGraph_t graph = nullptr;
      cudaGraphExec_t executable = nullptr;
      w8a8::check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "cudaStreamBeginCapture");
      problem.enqueue(options, stream);
      problem.enqueue(options, stream);
      w8a8::check_cuda(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
      w8a8::check_cuda(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
      for (int i = 0; i < 3; ++i) w8a8::check_cuda(cudaGraphLaunch(executable, stream), "cudaGraphLaunch");
      stream.synchronize();
      CHECK(problem.verdict() == "");
      cudaGraphExecDestroy(executable);
      cudaGraphDestroy(graph);
    }
  }
}

// The second gemm() may start as soon as the first says so, and fetches its weight at once: the first may say so only when it has
// waited for the kernel before itself, which here writes that weight.
TEST_CASE("gemm: with dependent launch, a weight that the kernel before the previous one writes is complete", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  const Stream stream;
  Random random(31);
  GemmOptions options;
  options.dependent_launch = true;
  for (const w8a8::Kernel kernel : {w8a8::Kernel::automatic, w8a8::Kernel::sm80}) {
    for (const std::int64_t m : {4, 24, 64, 128, 200, 300}) {
      options.kernel = kernel;
      Problem first(random, {m, 512, 1024}), second(random, {m, 512, 1024});  // few CTAs, so that both fit the card at a time
      INFO(first.configuration(options) << ", then " << second.configuration(options));
      const auto weight = second.weight();
      const auto written = w8a8::clone_to<w8a8::Device>(weight);
      for (int round = 0; round < 3; ++round) {
        w8a8::check_cuda(cudaMemset(weight.data(), round, static_cast<std::size_t>(weight.size())), "cudaMemset");
        w8a8::check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
        write_late<<<4, 256, 0, stream>>>(written.data(), weight.data(), weight.size());
        first.enqueue(options, stream);
        second.enqueue(options, stream);
        stream.synchronize();
        CHECK(first.verdict() == "");
        CHECK(second.verdict() == "");
        first.reset();
        second.reset();
      }
    }
  }
}

TEST_CASE("gemm: several threads, each on its own stream", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  std::vector<std::string> verdicts(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < verdicts.size(); ++t) {
    threads.emplace_back([t, &verdicts] {
      try {
        const Stream stream;
        Random random(100 + t);
        for (int i = 0; i < 20 && verdicts[t].empty(); ++i) {
          Problem problem(random, random_case(random, 300, 300, 600));
          verdicts[t] = problem.run({}, stream);
        }
      } catch (const std::exception& error) {
        verdicts[t] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& verdict : verdicts) CHECK(verdict == "");
}

TEST_CASE("gemm: runs are repeatable to the bit at a shape that splits K", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  const Stream stream;
  Random random(5);
  for (const std::int64_t m : {16, 64, 256}) {
    Problem problem(random, {m, 512, 14336});
    for (int i = 0; i < 10; ++i) {
      REQUIRE(problem.run({}, stream) == "");
      problem.reset();
    }
  }
}

TEST_CASE("gemm: empty outputs are no-ops and K = 0 gives the bias", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  for (const std::int64_t m : {1, 20, 100, 300}) check_case({m, 264, 0});
  const Stream stream;
  Random random(9);
  CHECK(Problem(random, {0, 8, 16}).run({}, stream) == "");
  CHECK(Problem(random, {8, 0, 16}).run({}, stream) == "");
}

TEST_CASE("gemm: a tuning table is followed where it fits, and passed over where it does not", "[gpu][gemm]") {
  W8A8_REQUIRE_GPU();
  const Stream stream;
  Random random(21);
  Problem problem(random, {24, 96, 256});
  const w8a8::DeviceProperties device = w8a8::current_device();
  const std::string own = problem.configuration({});
  GemmOptions options;
  options.kernel = w8a8::Kernel::sm80;
  for (const std::string& name : w8a8::Sm80GemmConfigs::names()) {
    if (name == own) continue;
    const auto table_for = [&](int multiprocessors, int n, const std::string& configuration) {
      return w8a8::TuningTable(device.compute_capability, multiprocessors, {{32, n, 256, configuration, 1.0}});
    };
    const w8a8::TuningTable table = table_for(device.multiprocessors, 96, name);
    options.tuning = &table;
    const std::string chosen = problem.configuration(options);
    CHECK((chosen == name || chosen == own));  // not every configuration fits every card
    CHECK(problem.run(options, stream) == "");

    // Another card, another shape, an unknown name, another family: as if there were no table.
    options.tuning = nullptr;
    const std::string without = problem.configuration(options);
    for (const w8a8::TuningTable& other :
         {table_for(device.multiprocessors + 1, 96, name), table_for(device.multiprocessors, 97, name),
          table_for(device.multiprocessors, 96, "sm80_gemm/nonesuch"),
          table_for(device.multiprocessors, 96, "sm90_gemm/128x256")}) {
      options.tuning = &other;
      CHECK(problem.configuration(options) == without);
    }
  }
  // A configuration that the caller names goes before the table's.
  const w8a8::TuningTable table(device.compute_capability, device.multiprocessors, {{32, 96, 256, own, 1.0}});
  options.tuning = &table;
  options.configuration = w8a8::Sm80GemmConfigs::names().back();
  CHECK(problem.configuration(options) == options.configuration);
}

TEST_CASE("gemm: two configurations meet at a whole tile inside of N, and are of one kernel", "[gpu][gemm][errors]") {
  W8A8_REQUIRE_GPU();
  Random random(22);
  Problem problem(random, {24, 200, 256});
  const std::string first = "sm80_gemm/64x96x128_s8_k4", rest = "64x64x128_s5_k4";
  GemmOptions options;
  options.configuration = first + "@192+" + rest;
  CHECK(problem.configuration(options) == options.configuration);
  for (const std::string& name :
       {first + "@0+" + rest, first + "@100+" + rest, first + "@288+" + rest, first + "@0192+" + rest, first + "@192 +" + rest,
        first + "@192", first + "+" + rest, first + "@192+", first + "@192+sm80_gemm/" + rest, first + "@192+128x96",
        first + "@-96+" + rest, first + "@4294967488+" + rest, first + "@96+" + rest + "@192+" + rest,
        w8a8::Sm80DecodeConfigs::names()[0] + "@96+" + w8a8::Sm80DecodeConfigs::names()[0].substr(12)}) {
    options.configuration = name;
    INFO(name);
    CHECK_THROWS_AS(problem.configuration(options), w8a8::Error);
  }
}

TEST_CASE("gemm: an unknown configuration is refused with the list of known ones", "[gpu][gemm][errors]") {
  W8A8_REQUIRE_GPU();
  const Stream stream;
  Random random(10);
  Problem problem(random, {8, 8, 16});
  GemmOptions options;
  options.configuration = "sm80_gemm/nonesuch";
  try {
    problem.enqueue(options, stream);
    FAIL("not refused");
  } catch (const w8a8::Error& error) {
    CHECK(error.argument() == "options.configuration");
    CHECK(error.received() == "sm80_gemm/nonesuch");
    CHECK(error.expected().find("sm80_gemm/") != std::string::npos);
  }
  options = {};
  options.kernel = w8a8::Kernel::host;
  CHECK_THROWS_AS(problem.enqueue(options, stream), w8a8::Error);
}
