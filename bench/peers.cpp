#include "peers.hpp"

#include <cuda_fp8.h>

#include <limits>
#include <sstream>
#include <utility>
#include <vector>

#include "dequantize_peer.hpp"
#include "w8a8/support/error.hpp"

// Row-wise scales came with cuBLAS 12.9.
#define W8A8_BENCH_HAS_ROWWISE (CUBLAS_VERSION >= 120900)

namespace w8a8::bench {

namespace {

constexpr std::size_t workspace_bytes = 64 << 20;
constexpr int most_trials = 16;

void check_cublas(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) throw Error(call, "status", "CUBLAS_STATUS_SUCCESS", cublasLtGetStatusString(status));
}

template <class T>
bool set_attribute(cublasLtMatmulDesc_t description, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  return cublasLtMatmulDescSetAttribute(description, attribute, &value, sizeof value) == CUBLAS_STATUS_SUCCESS;
}

cudaDataType_t data_type(Output output) {
  switch (output) {
    case Output::half: return CUDA_R_16F;
    case Output::bfloat16: return CUDA_R_16BF;
    case Output::float32: return CUDA_R_32F;
  }
  return CUDA_R_16F;
}

}  // namespace

/// One product D^T = W X^T in cuBLAS's column-major view: A is W (K x N, transposed), B is X^T (K x M), D is N x M.
struct CublasPeers::Product {
  cublasLtMatmulDesc_t description = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, d = nullptr;
  bool integer = false, scaled = false, rowwise = false, bias = false;
  cublasLtMatmulAlgo_t algorithm{};

  Product() = default;
  Product(const Product&) = delete;
  ~Product() {
    for (cublasLtMatrixLayout_t layout : {a, b, d}) {
      if (layout) cublasLtMatrixLayoutDestroy(layout);
    }
    if (description) cublasLtMatmulDescDestroy(description);
  }

  /// Points the description at the scales and the bias of an input set.
  bool bind(const Pools::ScaleSet& scales) {
    bool good = true;
    if (scaled) {
      good = good && set_attribute(description, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, static_cast<const void*>(scales.channel));
      good = good && set_attribute(description, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, static_cast<const void*>(scales.token));
    }
    if (bias) good = good && set_attribute(description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, scales.bias);
    return good;
  }

  cublasStatus_t enqueue(cublasLtHandle_t handle, const void* w, const void* x, void* out, void* workspace,
                         cudaStream_t stream) const {
    const std::int32_t one_int = 1, zero_int = 0;
    const float one = 1, zero = 0;
    const void* alpha = integer ? static_cast<const void*>(&one_int) : &one;
    const void* beta = integer ? static_cast<const void*>(&zero_int) : &zero;
    return cublasLtMatmul(handle, description, alpha, w, a, x, b, beta, out, d, out, d, &algorithm, workspace, workspace_bytes,
                          stream);
  }
};

CublasPeers::CublasPeers(Timer& timer, const Pools& pools, double l2_bytes, Output output, bool bias)
    : timer_(timer),
      pools_(pools),
      l2_bytes_(l2_bytes),
      output_(output),
      bias_(bias),
      workspace_({static_cast<std::int64_t>(workspace_bytes)}) {
  check_cublas(cublasLtCreate(&handle_), "cublasLtCreate");
}

CublasPeers::~CublasPeers() {
  chosen_.clear();
  cublasLtDestroy(handle_);
}

std::string CublasPeers::version() {
  const std::size_t version = cublasLtGetVersion();
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." + std::to_string(version % 100);
}

std::shared_ptr<CublasPeers::Product> CublasPeers::make_product(const std::string& peer, const Shape& shape,
                                                                cudaDataType_t d_type, bool bias) const {
  auto product = std::make_shared<Product>();
  Product& p = *product;
  p.integer = peer == peer_int8;
  p.rowwise = peer == peer_fp8_rowwise;
  p.scaled = p.rowwise || peer == peer_fp8;
  p.bias = bias && !p.integer;
  const cudaDataType_t type = p.integer                     ? CUDA_R_8I
                              : p.scaled                    ? CUDA_R_8F_E4M3
                              : output_ == Output::bfloat16 ? CUDA_R_16BF
                                                            : CUDA_R_16F;
  check_cublas(cublasLtMatmulDescCreate(&p.description, p.integer ? CUBLAS_COMPUTE_32I : CUBLAS_COMPUTE_32F,
                                        p.integer ? CUDA_R_32I : CUDA_R_32F),
               "cublasLtMatmulDescCreate");
  bool good = set_attribute(p.description, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  if (p.scaled) good = good && set_attribute(p.description, CUBLASLT_MATMUL_DESC_FAST_ACCUM, std::int8_t{1});
  if (p.rowwise) {
#if W8A8_BENCH_HAS_ROWWISE
    const auto mode = static_cast<std::int32_t>(CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
    good = good && set_attribute(p.description, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, mode);
    good = good && set_attribute(p.description, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, mode);
#else
    good = false;
#endif
  }
  if (p.bias) {
    good = good && set_attribute(p.description, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    good = good && set_attribute(p.description, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, d_type);
  }
  good = good && p.bind(pools_.scale_set(shape, 0));
  const auto m = static_cast<std::uint64_t>(shape.m), n = static_cast<std::uint64_t>(shape.n),
             k = static_cast<std::uint64_t>(shape.k);
  check_cublas(cublasLtMatrixLayoutCreate(&p.a, type, k, n, shape.k), "cublasLtMatrixLayoutCreate");
  check_cublas(cublasLtMatrixLayoutCreate(&p.b, type, k, m, shape.k), "cublasLtMatrixLayoutCreate");
  check_cublas(cublasLtMatrixLayoutCreate(&p.d, p.integer ? CUDA_R_32I : d_type, n, m, shape.n), "cublasLtMatrixLayoutCreate");
  return good ? product : nullptr;
}

std::string CublasPeers::kernel(const std::string& peer, const Shape& shape) const {
  const auto found = chosen_.find({peer, shape.m, shape.n, shape.k});
  if (found == chosen_.end() || !found->second) return "";
  const cublasLtMatmulAlgo_t& algorithm = found->second->algorithm;
  std::ostringstream text;
  const auto add = [&](const char* label, cublasLtMatmulAlgoConfigAttributes_t attribute) {
    std::int32_t value = 0;  // unsigned, except that -1 stands for "does not apply"
    std::size_t written = 0;
    if (cublasLtMatmulAlgoConfigGetAttribute(&algorithm, attribute, &value, sizeof value, &written) == CUBLAS_STATUS_SUCCESS) {
      text << (text.tellp() > 0 ? " " : "") << label << value;
    }
  };
  add("algo", CUBLASLT_ALGO_CONFIG_ID);
  add("tile", CUBLASLT_ALGO_CONFIG_TILE_ID);
  add("stages", CUBLASLT_ALGO_CONFIG_STAGES_ID);
  add("splitk", CUBLASLT_ALGO_CONFIG_SPLITK_NUM);
  return text.str();
}

std::optional<Work> CublasPeers::work(const std::string& name, const Shape& shape, double guess_us, const Activations& x) {
  const bool alone = name == part_int8, only_dequantize = name == part_dequantize;
  const std::string peer = alone || only_dequantize ? peer_int8 : name;
  const bool integer = peer == peer_int8, half_operands = peer == peer_fp16;
  const double element = half_operands ? 2 : 1;
  const OperandSets inputs(shape, element, l2_bytes_);
  auto* const out = const_cast<std::uint8_t*>(pools_.out.data());
  auto* const sums = reinterpret_cast<std::int32_t*>(const_cast<std::uint8_t*>(pools_.accumulators.data()));
  const auto* operands = half_operands ? reinterpret_cast<const std::uint8_t*>(pools_.fp16.data())
                         : integer     ? reinterpret_cast<const std::uint8_t*>(pools_.int8.data())
                                       : reinterpret_cast<const std::uint8_t*>(pools_.fp8.data());
  const auto multiply_set = [=](Product& product, int set, cudaStream_t stream) {
    Pools::ScaleSet scales = pools_.scale_set(shape, set);
    if (x.token_scale) scales.token = x.token_scale;
    product.bind(scales);
    void* d = integer ? static_cast<void*>(sums) : out;
    return product.enqueue(handle_, operands + inputs.w(set), x.x ? x.x : operands + inputs.x(set), d,
                           const_cast<std::uint8_t*>(workspace_.data()), stream);
  };
  const auto dequantize_set = [=](int set, cudaStream_t stream) {
    const Pools::ScaleSet scales = pools_.scale_set(shape, set);
    dequantize_peer(sums, x.token_scale ? x.token_scale : scales.token, scales.channel, bias_ ? scales.bias : nullptr, out,
                    output_, shape.m, shape.n, stream);
  };
  if (only_dequantize) return Work{name, inputs.sets, dequantize_set};

  std::shared_ptr<Product>& product = chosen_[{peer, shape.m, shape.n, shape.k}];
  if (!product) {
    // Not every version takes every output type or fuses the bias into every kind of product: the nearest that it takes.
    const std::pair<cudaDataType_t, bool> attempts[] = {
        {data_type(output_), bias_}, {CUDA_R_16BF, bias_}, {data_type(output_), false}, {CUDA_R_16BF, false}};
    double best_us = std::numeric_limits<double>::max();
    for (const auto& [type, bias] : attempts) {
      const std::shared_ptr<Product> candidate = make_product(peer, shape, type, bias);
      if (!candidate) continue;
      cublasLtMatmulPreference_t preference = nullptr;
      check_cublas(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
      cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace_bytes,
                                           sizeof workspace_bytes);
      cublasLtMatmulHeuristicResult_t found[most_trials];
      int count = 0;
      const cublasStatus_t status =
          cublasLtMatmulAlgoGetHeuristic(handle_, candidate->description, candidate->a, candidate->b, candidate->d, candidate->d,
                                         preference, std::min(trials_, most_trials), found, &count);
      cublasLtMatmulPreferenceDestroy(preference);
      if (status != CUBLAS_STATUS_SUCCESS) continue;
      cublasLtMatmulAlgo_t best{};
      for (int i = 0; i < count; ++i) {
        candidate->algorithm = found[i].algo;
        const auto try_one = [&](int set, cudaStream_t stream) {
          check_cublas(multiply_set(*candidate, set, stream), "cublasLtMatmul");
        };
        try {
          // Half a millisecond of launches tells them apart well enough.
          const int launches = static_cast<int>(std::clamp(500.0 / std::max(guess_us, 1.0), 1.0, 64.0));
          const double us = timer_.estimate({peer, inputs.sets, try_one}, launches);
          if (us < best_us) {
            best_us = us;
            best = found[i].algo;
            product = candidate;
          }
        } catch (const Error&) {
          // An algorithm that the heuristics offer and the call refuses is not a candidate.
        }
      }
      if (product) {
        product->algorithm = best;
        break;
      }
    }
    if (!product) return std::nullopt;
  }

  const std::shared_ptr<Product> kept = product;
  return Work{name, inputs.sets, [=](int set, cudaStream_t stream) {
                check_cublas(multiply_set(*kept, set, stream), "cublasLtMatmul");
                if (integer && !alone) dequantize_set(set, stream);
              }};
}

}  // namespace w8a8::bench
