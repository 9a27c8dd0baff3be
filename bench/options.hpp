// What the command line of w8a8_bench asks for (parse_options.hpp reads it).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shapes.hpp"
#include "w8a8/gemm/problem.hpp"

namespace w8a8::bench {

enum class Suite { none, gemm, quantize, linear, sweep, chain, tune, limits, compare };

enum class Output { half, bfloat16, float32 };

inline const char* output_name(Output output) {
  switch (output) {
    case Output::half: return "half";
    case Output::bfloat16: return "bfloat16";
    case Output::float32: return "float";
  }
  return "unknown";
}

inline constexpr const char* peer_int8 = "cublaslt_int8_dequant";
inline constexpr const char* peer_fp16 = "cublaslt_fp16";
inline constexpr const char* peer_fp8 = "cublaslt_fp8";
inline constexpr const char* peer_fp8_rowwise = "cublaslt_fp8_rowwise";

inline const std::vector<std::string>& peer_names() {
  static const std::vector<std::string> names = {peer_int8, peer_fp16, peer_fp8, peer_fp8_rowwise};
  return names;
}

/// The load before a sustained figure: a contender's own, all contenders in turn, or no such figure.
enum class Sustained { own, mixed, none };

struct Options {
  Suite suite = Suite::none;
  std::string suite_name;
  bool list = false;
  std::string help;  ///< not empty: print this and stop

  std::vector<Shape> shapes;   ///< in the order in which they are measured
  bool default_shapes = true;  ///< neither --preset nor --shape was given
  Kernel kernel = Kernel::automatic;
  std::string configuration;
  std::string tuning_file;  ///< of `w8a8_bench tune`; gemm() then prefers what it says
  Output output = Output::half;
  bool bias = true;
  bool dependent_launch = false;
  std::vector<std::string> peers;
  std::vector<std::string> forms;  ///< quantize: names of quantize_forms()
  Sustained sustained = Sustained::own;
  double time_budget = 0;  ///< seconds; 0: none
  std::uint64_t seed = 1;
  std::string json;

  std::string old_file, new_file;  ///< compare
};

}  // namespace w8a8::bench
