#include <set>
#include <utility>

#include "suite_work.hpp"

namespace w8a8::bench {

namespace {

/// A form of quantization of half activations; the row's name is the form's, n is 0. Everything that a launch reads and writes
/// rotates, its results, too: the limit is a copy's, which writes to DRAM.
struct QuantizeSuite : SuiteWork {
  static const QuantizeForm& form(const Shape& shape) { return *find_quantize_form(shape.name); }

  std::vector<Shape> rows(const Options& options) const override {
    std::vector<Shape> rows;
    for (const std::string& form : options.forms) {
      std::set<std::pair<int, int>> seen;
      for (const Shape& shape : options.shapes) {
        if (seen.insert({shape.m, shape.k}).second) rows.push_back({form, shape.m, 0, shape.k});
      }
    }
    return rows;
  }

  /// Where the operands of a set lie: `slice` elements a matrix, aligned.
  struct Sets {
    std::int64_t slice;
    std::int64_t rows;
    int inputs, outputs, sets;

    Sets(const Shape& s, double l2_bytes)
        : slice(static_cast<std::int64_t>(align_slice(2.0 * s.m * s.k) / 2)),
          rows(static_cast<std::int64_t>(align_slice(4.0 * s.m) / 4)),
          inputs(form(s).inputs),
          outputs(form(s).residual + form(s).values),
          sets(input_sets(form(s).bytes(s.m, s.k), l2_bytes)) {}
  };

  void include(PoolSizes& sizes, const Options&, const Shape& shape, double l2_bytes) const override {
    const Sets sets(shape, l2_bytes);
    const std::size_t matrices = static_cast<std::size_t>(sets.sets) * static_cast<std::size_t>(sets.slice);
    PoolSizes row;
    row.fp16 = 2 * matrices * static_cast<std::size_t>(sets.inputs);
    row.fp16_out = 2 * matrices * static_cast<std::size_t>(sets.outputs);
    row.codes = matrices;
    row.code_scales = 8 * static_cast<std::size_t>(sets.sets) * static_cast<std::size_t>(sets.rows);
    sizes.include(row);
  }

  double bytes(const Options&, const Shape& s) const override { return form(s).bytes(s.m, s.k); }
  double operations(const Shape&) const override { return 0; }
  std::string kernel(const Run&, const Shape& shape) const override { return form(shape).function; }
  bool is_copy() const override { return true; }
  bool takes_peer(const std::string&) const override { return false; }

  Work ours(const Run& run, const Shape& shape) const override {
    const Sets sets(shape, run.l2());
    const QuantizeForm& form = QuantizeSuite::form(shape);
    half* const written = const_cast<half*>(run.pools.fp16_out.data());
    if (form.residual) {
      // Afresh for each row: what is added launch by launch would reach infinity in the end.
      fill_random(written, static_cast<std::size_t>(run.pools.fp16_out.size()), run.options.seed + 4);
      check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    }
    return {"ours", sets.sets, [=](int set, cudaStream_t stream) {
              QuantizeArguments a;
              a.kind = form.kind;
              a.m = shape.m, a.k = shape.k;
              a.x = run.pools.fp16.data() + set * sets.inputs * sets.slice;
              a.y = form.inputs > 1 ? a.x + sets.slice : nullptr;
              half* output = written + set * sets.outputs * sets.slice;
              if (form.residual) a.residual = output, output += sets.slice;
              if (form.values) a.values = output;
              a.weight = run.pools.fp16.data();
              a.bias = run.pools.fp16.data() + round_up(shape.k, 128);
              a.codes = run.codes() + set * sets.slice;
              a.scale = run.code_scales() + 2 * set * sets.rows;
              a.zero_point = reinterpret_cast<std::int32_t*>(a.scale + sets.rows);
              call_quantize(a, run.options.dependent_launch, stream);
            }};
  }
};

}  // namespace

std::unique_ptr<SuiteWork> make_quantize_suite() { return std::make_unique<QuantizeSuite>(); }

}  // namespace w8a8::bench
