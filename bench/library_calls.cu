#include "gemm_call.cuh"
#include "library_calls.hpp"

namespace w8a8::bench {

void call_gemm(Output output, const GemmArguments& arguments, const GemmOptions& options, cudaStream_t stream) {
  switch (output) {
    case Output::half: return call_gemm_as<half>(arguments, options, stream);
    case Output::bfloat16: return call_gemm_as<bfloat16>(arguments, options, stream);
    case Output::float32: return call_gemm_as<float>(arguments, options, stream);
  }
}

std::string gemm_kernel(Output output, const GemmArguments& arguments, const GemmOptions& options) {
  switch (output) {
    case Output::half: return gemm_kernel_as<half>(arguments, options);
    case Output::bfloat16: return gemm_kernel_as<bfloat16>(arguments, options);
    case Output::float32: return gemm_kernel_as<float>(arguments, options);
  }
  return "";
}

std::vector<std::string> all_configurations() { return gemm_configurations(); }

}  // namespace w8a8::bench
