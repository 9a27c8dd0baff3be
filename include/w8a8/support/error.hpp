// The error contract: every public call checks its arguments before anything is written and throws one of these.
#pragma once

#include <cuda_runtime_api.h>

#include <sstream>
#include <stdexcept>
#include <string>

namespace w8a8 {

/// A call refused: which function, which argument, what was expected and what came.
class Error : public std::runtime_error {
 public:
  Error(const std::string& function, const std::string& argument, const std::string& expected, const std::string& received)
      : std::runtime_error("w8a8::" + function + ": argument '" + argument + "': expected " + expected + ", got " + received),
        function_(function),
        argument_(argument),
        expected_(expected),
        received_(received) {}

  const std::string& function() const noexcept { return function_; }
  const std::string& argument() const noexcept { return argument_; }
  const std::string& expected() const noexcept { return expected_; }
  const std::string& received() const noexcept { return received_; }

 protected:
  struct Verbatim {};
  Error(Verbatim, const std::string& what, const std::string& function) : std::runtime_error(what), function_(function) {}

 private:
  std::string function_, argument_, expected_, received_;
};

/// A CUDA runtime or driver call that failed: its code and the call.
class CudaError : public Error {
 public:
  CudaError(cudaError_t code, const std::string& call)
      : Error(Verbatim{}, "w8a8: " + call + " failed: " + cudaGetErrorName(code) + " (" + cudaGetErrorString(code) + ")", call),
        code_(code) {}

  cudaError_t code() const noexcept { return code_; }
  const std::string& call() const noexcept { return function(); }

 private:
  cudaError_t code_;
};

/// Throws CudaError unless `code` is success. `call` names the call, for the message.
inline void check_cuda(cudaError_t code, const char* call) {
  if (code != cudaSuccess) {
    cudaGetLastError();  // a non-sticky error must not surface again in somebody else's check
    throw CudaError(code, call);
  }
}

/// Joins its arguments as a stream would: for the texts of errors.
template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream stream;
  (stream << ... << parts);
  return stream.str();
}

}  // namespace w8a8
