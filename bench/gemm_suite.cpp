#include "fp8_quantize_peer.hpp"
#include "suite_work.hpp"

namespace w8a8::bench {

GemmArguments gemm_arguments(const Run& run, const Shape& shape, int set) {
  const OperandSets inputs(shape, 1, run.l2());
  const Pools::ScaleSet scales = run.pools.scale_set(shape, set);
  return {run.pools.int8.data() + inputs.x(set),
          run.pools.int8.data() + inputs.w(set),
          scales.token,
          scales.channel,
          run.options.bias ? scales.bias : nullptr,
          run.out(),
          shape.m,
          shape.n,
          shape.k};
}

namespace {

struct GemmSuite : SuiteWork {
  PoolUse pools(const Options& options) const {
    PoolUse use;
    use.fp16 = wants_peer(options, {peer_fp16});
    use.fp8 = wants_peer(options, {peer_fp8, peer_fp8_rowwise});
    use.accumulators = wants_peer(options, {peer_int8});
    use.out_element = output_bytes(options);
    return use;
  }

  void include(PoolSizes& sizes, const Options& options, const Shape& shape, double l2_bytes) const override {
    sizes.include(pool_sizes(shape, pools(options), l2_bytes));
  }

  double bytes(const Options& options, const Shape& s) const override {
    return 1.0 * s.m * s.k + 1.0 * s.n * s.k + output_bytes(options) * s.m * s.n + 4.0 * s.m + 4.0 * s.n +
           (options.bias ? output_bytes(options) * s.n : 0);
  }

  std::string kernel(const Run& run, const Shape& shape) const override {
    return gemm_kernel(run.options.output, gemm_arguments(run, shape, 0), run.gemm_options());
  }

  Work ours(const Run& run, const Shape& shape) const override {
    return {"ours", OperandSets(shape, 1, run.l2()).sets, [run, shape](int set, cudaStream_t stream) {
              call_gemm(run.options.output, gemm_arguments(run, shape, set), run.gemm_options(), stream);
            }};
  }

  std::vector<PeerPart> parts() const override { return {{part_int8, peer_int8}, {part_dequantize, peer_int8}}; }
};

/// Quantization of X (half), then the GEMM on its codes; each with dependent launch, as a layer's forward() with
/// options.dependent_launch runs them, and without.
struct LinearSuite : GemmSuite {
  void include(PoolSizes& sizes, const Options& options, const Shape& shape, double l2_bytes) const override {
    PoolUse use = pools(options);
    use.fp16 = true;
    use.codes = true;
    sizes.include(pool_sizes(shape, use, l2_bytes));
  }

  double bytes(const Options& options, const Shape& s) const override { return GemmSuite::bytes(options, s) + 1.0 * s.m * s.k; }

  /// Half activations, another slice of the pool in each set.
  static const half* activations(const Run& run, const Shape& shape, int set) {
    const std::size_t x_bytes = align_slice(2.0 * shape.m * shape.k);
    const std::size_t slots = OperandSets(shape, 2, run.l2()).bytes() / x_bytes;
    return run.pools.fp16.data() + (static_cast<std::size_t>(set) % slots) * x_bytes / 2;
  }

  static void quantize(const Run& run, const Shape& shape, int set, bool dependent_launch, cudaStream_t stream) {
    QuantizeArguments a;
    a.m = shape.m, a.k = shape.k;
    a.x = activations(run, shape, set);
    a.codes = run.codes(), a.scale = run.code_scales();
    call_layer_quantize(a, dependent_launch, stream);
  }

  static GemmArguments quantized_arguments(const Run& run, const Shape& shape, int set) {
    GemmArguments a = gemm_arguments(run, shape, set);
    a.x = run.codes();
    a.token_scale = run.code_scales();
    return a;
  }

  std::string kernel(const Run& run, const Shape& shape) const override {
    return gemm_kernel(run.options.output, quantized_arguments(run, shape, 0), run.gemm_options());
  }

  static Work work(const Run& run, const Shape& shape, bool dependent_launch) {
    GemmOptions options = run.gemm_options();
    options.dependent_launch = dependent_launch;
    return {"ours", OperandSets(shape, 1, run.l2()).sets, [=](int set, cudaStream_t stream) {
              quantize(run, shape, set, dependent_launch, stream);
              call_gemm(run.options.output, quantized_arguments(run, shape, set), options, stream);
            }};
  }

  Work ours(const Run& run, const Shape& shape) const override { return work(run, shape, false); }
  std::optional<Work> ours_dependent(const Run& run, const Shape& shape) const override { return work(run, shape, true); }
  bool measures_dependent() const override { return true; }
  std::vector<PeerPart> parts() const override { return {}; }

  /// FP16 needs no quantizer; INT8 gets ours; FP8 with one scale a tensor a cast with a scale that is known before (the fastest
  /// that a layer can do); FP8 with row-wise scales a quantizer that measures each token.
  std::optional<Work> peer(const Run& run, const std::string& name, const Shape& shape, double guess_us) const override {
    if (name == peer_fp16) return run.peers.work(name, shape, guess_us);
    const bool rowwise = name == peer_fp8_rowwise;
    const std::optional<Work> gemm =
        run.peers.work(name, shape, guess_us, {run.codes(), name == peer_fp8 ? nullptr : run.code_scales()});
    if (!gemm) return gemm;
    return Work{name, gemm->sets, [=, launch = gemm->launch](int set, cudaStream_t stream) {
                  if (name == peer_int8) {
                    quantize(run, shape, set, false, stream);
                  } else if (rowwise) {
                    fp8_quantize_rows_peer(activations(run, shape, set), run.codes(), run.code_scales(), shape.m, shape.k,
                                           stream);
                  } else {
                    fp8_cast_peer(activations(run, shape, set), run.codes(), 1.0f, shape.m, shape.k, stream);
                  }
                  launch(set, stream);
                }};
  }
};

}  // namespace

std::unique_ptr<SuiteWork> make_gemm_suite() { return std::make_unique<GemmSuite>(); }
std::unique_ptr<SuiteWork> make_linear_suite() { return std::make_unique<LinearSuite>(); }

}  // namespace w8a8::bench
