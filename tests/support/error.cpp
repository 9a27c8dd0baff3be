#include "w8a8/support/error.hpp"

#include <string>
#include <type_traits>

#include "support/catch.hpp"

using namespace w8a8;

TEST_CASE("Error names function, argument, what was expected and what came", "[support]") {
  const Error error("gemm", "w", "K = 64 columns, as x has", "63");
  CHECK(error.function() == "gemm");
  CHECK(error.argument() == "w");
  CHECK(error.expected() == "K = 64 columns, as x has");
  CHECK(error.received() == "63");
  CHECK(std::string(error.what()) == "w8a8::gemm: argument 'w': expected K = 64 columns, as x has, got 63");
  CHECK(std::is_base_of_v<std::runtime_error, Error>);
}

TEST_CASE("CudaError carries the code and the call, and is an Error", "[support]") {
  try {
    check_cuda(cudaErrorInvalidValue, "cudaMemcpyAsync");
    FAIL("did not throw");
  } catch (const Error& error) {
    const auto* cuda = dynamic_cast<const CudaError*>(&error);
    REQUIRE(cuda != nullptr);
    CHECK(cuda->code() == cudaErrorInvalidValue);
    CHECK(cuda->call() == "cudaMemcpyAsync");
    CHECK(std::string(cuda->what()).find("cudaMemcpyAsync failed: cudaErrorInvalidValue") != std::string::npos);
  }
}

TEST_CASE("check_cuda lets success pass", "[support]") { CHECK_NOTHROW(check_cuda(cudaSuccess, "cudaFree")); }

TEST_CASE("text joins its arguments", "[support]") { CHECK(text("row ", 3, " of ", 4L, ", ", 0.5) == "row 3 of 4, 0.5"); }
