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

/// cuBLASLt on the current device. `pools` must outlive it and the contenders that it makes.
class CublasPeers {
 public:
  CublasPeers(Timer& timer, const Pools& pools, double l2_bytes, Output output, bool bias);
  ~CublasPeers();

  /// The work of a peer (a name of peer_names()) on a shape, its algorithm chosen by timing what the heuristics offer; empty
  /// where cuBLASLt offers none for this card, version or shape. The choice is kept for the shape. `guess_us`: about what it
  /// takes. `x`, where given, takes the place of the pool's activations in every set.
  std::optional<Work> work(const std::string& peer, const Shape& shape, double guess_us, const void* x = nullptr);

  static std::string version();

 private:
  struct Product;
  std::shared_ptr<Product> make_product(const std::string& peer, const Shape& shape, cudaDataType_t d_type, bool bias) const;

  Timer& timer_;
  const Pools& pools_;
  double l2_bytes_;
  Output output_;
  bool bias_;
  cublasLtHandle_t handle_ = nullptr;
  Tensor<std::uint8_t, 1, Device> workspace_;
  std::map<std::tuple<std::string, int, int, int>, std::shared_ptr<Product>> chosen_;
};

}  // namespace w8a8::bench
