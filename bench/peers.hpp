// The peers: what cuBLASLt takes for the same product, each the best of its heuristics.
#pragma once

#include <cublasLt.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>

#include "inputs.hpp"
#include "options.hpp"
#include "timer.hpp"

namespace w8a8::bench {

/// Activations that a quantizer wrote: they take the place of the pool's in every set. Null: the pool's.
struct Activations {
  const void* x = nullptr;
  const float* token_scale = nullptr;  ///< for row-wise scales
};

/// The parts of peer_int8: its product to int32, and the dequantization of what lies in its buffer.
inline constexpr const char* part_int8 = "cublaslt_int8_to_s32";
inline constexpr const char* part_dequantize = "dequantize";

/// cuBLASLt on the current device. `pools` must outlive it and the contenders that it makes.
class CublasPeers {
 public:
  CublasPeers(Timer& timer, const Pools& pools, double l2_bytes, Output output, bool bias);
  ~CublasPeers();

  /// The work of a peer (a name of peer_names()) on a shape, its algorithm chosen by timing what the heuristics offer; empty
  /// where cuBLASLt offers none for this card, version or shape. The choice is kept for the shape. `guess_us`: about what it
  /// takes. Also of the parts of peer_int8: part_int8, part_dequantize.
  std::optional<Work> work(const std::string& peer, const Shape& shape, double guess_us, const Activations& x = {});

  /// What cuBLASLt runs for a peer whose work() was asked for: the algorithm's number and its main settings.
  std::string kernel(const std::string& peer, const Shape& shape) const;

  /// How many of the heuristics' offers work() tries.
  void set_trials(int trials) { trials_ = trials; }

  static std::string version();

 private:
  struct Product;
  std::shared_ptr<Product> make_product(const std::string& peer, const Shape& shape, cudaDataType_t d_type, bool bias) const;

  Timer& timer_;
  const Pools& pools_;
  double l2_bytes_;
  Output output_;
  bool bias_;
  int trials_ = 8;
  cublasLtHandle_t handle_ = nullptr;
  Tensor<std::uint8_t, 1, Device> workspace_;
  std::map<std::tuple<std::string, int, int, int>, std::shared_ptr<Product>> chosen_;
};

}  // namespace w8a8::bench
