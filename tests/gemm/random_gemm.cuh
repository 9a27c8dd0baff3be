// Random GEMM problems on the GPU against the CPU backend, bit for bit: ragged shapes, strides, misalignments, guard bands,
// poison.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "support/compare.hpp"
#include "support/gpu.hpp"
#include "support/guarded.hpp"
#include "support/random.hpp"
#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/epilogue/gated.hpp"
#include "w8a8/gemm/gemm.cuh"

namespace w8a8_test {

using w8a8::GemmOptions;

/// What makes up one problem; strides and misalignments count elements past the row and past a 256-byte address.
struct GemmCase {
  std::int64_t m, n, k;
  std::int64_t pad_x = 0, pad_w = 0, pad_out = 0;
  std::int64_t off_x = 0, off_w = 0, off_out = 0, off_scale = 0;
  bool per_tensor = false;  ///< one input scale for all tokens

  std::string name() const {
    return w8a8::text("m ", m, " n ", n, " k ", k, " pads ", pad_x, " ", pad_w, " ", pad_out, " offsets ", off_x, " ", off_w, " ",
                      off_out, " ", off_scale, per_tensor ? " per tensor" : "");
  }
};

/// The sizes at which kernels break: 1, primes, tile edges and their neighbours.
inline std::int64_t edge_size(Random& random, std::int64_t limit) {
  static const std::vector<std::int64_t> edges = {1,   2,   3,   7,   8,   9,   15,  16,  17,  31,  32,  33,  47,
                                                  63,  64,  65,  79,  80,  81,  95,  96,  97,  127, 128, 129, 131,
                                                  143, 144, 145, 191, 192, 193, 223, 224, 225, 251, 255, 256, 257,
                                                  263, 288, 383, 384, 385, 509, 512, 513, 521, 640, 641};
  for (;;) {
    const std::int64_t size = random.chance(0.6) ? random.choose(edges) : random.integer(1, limit);
    if (size <= limit) return size;
  }
}

/// A random problem of at most the given sizes. Half of them keep the alignment that the fast paths want.
inline GemmCase random_case(Random& random, std::int64_t limit_m, std::int64_t limit_n, std::int64_t limit_k) {
  GemmCase c{edge_size(random, limit_m), edge_size(random, limit_n), edge_size(random, limit_k)};
  c.per_tensor = random.chance(0.2);
  if (random.chance(0.5)) {
    c.k = w8a8::round_up<std::int64_t>(c.k, random.chance(0.7) ? 128 : 16);
    if (random.chance(0.7)) c.n = w8a8::round_up<std::int64_t>(c.n, 8);
    c.pad_x = random.chance(0.3) ? 16 * random.integer(1, 4) : 0;
    c.pad_w = random.chance(0.3) ? 16 * random.integer(1, 4) : 0;
    c.pad_out = random.chance(0.3) ? 8 * random.integer(1, 4) : 0;
    // Rows that start at multiples of 16 bytes and do not end there: what stores whole pieces would overrun them.
    if (random.chance(0.5)) c.pad_out += w8a8::round_up<std::int64_t>(c.n, 8) - c.n;
    return c;
  }
  const auto maybe = [&](std::int64_t high) { return random.chance(0.5) ? random.integer(0, high) : 0; };
  c.pad_x = maybe(40), c.pad_w = maybe(40), c.pad_out = maybe(20);
  c.off_x = maybe(15), c.off_w = maybe(15), c.off_out = maybe(7), c.off_scale = maybe(3);
  return c;
}

/// The functor chain: Dequantize, then a Bias, then a gate that is exact (so that host and GPU agree to the bit).
enum class Chain { dequantize, bias, gated };

/// Operands of one problem on the device, and the expected output.
template <class Out, Chain chain>
class GemmProblemOnDevice {
 public:
  GemmProblemOnDevice(Random& random, const GemmCase& c, Guard guard = Guard::bands)
      : case_(c),
        x_(c.m, c.k, c.k + c.pad_x, c.off_x, guard),
        w_(c.n, c.k, c.k + c.pad_w, c.off_w, guard),
        out_(c.m, columns(), columns() + c.pad_out, c.off_out, guard),
        input_scale_(1, c.per_tensor ? 1 : c.m, 0, c.off_scale, guard),
        weight_scale_(1, c.n, 0, c.off_scale, guard),
        bias_(1, c.n, 0, c.off_scale, guard) {
    const auto x = random.chance(0.5) ? bell_int8(random, c.m * c.k) : uniform_int8(random, c.m * c.k);
    const auto w = random.chance(0.5) ? bell_int8(random, c.n * c.k) : uniform_int8(random, c.n * c.k);
    const auto input_scale = scales<float>(random, c.per_tensor ? 1 : c.m, 0.002f);
    const auto weight_scale = scales<float>(random, c.n, 0.002f);
    const auto bias = normal<w8a8::half>(random, c.n);
    x_.fill(x), w_.fill(w), input_scale_.fill(input_scale), weight_scale_.fill(weight_scale), bias_.fill(bias);

    expected_.resize(static_cast<std::size_t>(c.m * columns()));
    const w8a8::MatrixView<const std::int8_t, Host> host_x(x.data(), {c.m, c.k}), host_w(w.data(), {c.n, c.k});
    const w8a8::VectorView<const float, Host> host_input(input_scale.data(), {c.per_tensor ? 1 : c.m}),
        host_weight(weight_scale.data(), {c.n});
    w8a8::gemm(host_x, host_w, epilogue(host_input, host_weight, w8a8::VectorView<const w8a8::half, Host>(bias.data(), {c.n})),
               w8a8::MatrixView<Out, Host>(expected_.data(), {c.m, columns()}));
  }

  /// Runs gemm() on the stream and compares. Empty where all is right.
  std::string run(const GemmOptions& options, cudaStream_t stream) {
    enqueue(options, stream);
    w8a8::check_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
    return verdict();
  }

  void enqueue(const GemmOptions& options, cudaStream_t stream) {
    w8a8::gemm(x_.view(), w_.view(), epilogue(input_scale_.vector(), weight_scale_.vector(), bias_.vector()), out_.view(),
               options, stream);
  }

  std::string verdict() {
    std::string wrong = difference(expected_, out_.values(), columns());
    if (wrong.empty()) wrong = out_.damage();
    if (wrong.empty()) wrong = x_.change() + w_.change();
    return wrong.empty() ? "" : wrong + " [" + case_.name() + "]";
  }

  /// The weight, dense where the case has no padding.
  w8a8::MatrixView<std::int8_t, w8a8::Device> weight() { return w_.view(); }

  /// Poisons the output again.
  void reset() { out_ = Guarded<Out, Device>(case_.m, columns(), columns() + case_.pad_out, case_.off_out); }

  std::string configuration(const GemmOptions& options) {
    return w8a8::gemm_configuration(x_.view(), w_.view(), epilogue(input_scale_.vector(), weight_scale_.vector(), bias_.vector()),
                                    out_.view(), options);
  }

 private:
  template <class S, class B>
  static auto epilogue(S input_scale, S weight_scale, B bias) {
    if constexpr (std::is_same_v<Out, std::int32_t>) {
      return w8a8::Identity{};
    } else if constexpr (chain == Chain::dequantize) {
      return w8a8::Dequantize{input_scale, weight_scale};
    } else if constexpr (chain == Chain::bias) {
      return w8a8::Dequantize{input_scale, weight_scale} | w8a8::Bias{bias};
    } else {
      return w8a8::Dequantize{input_scale, weight_scale} | w8a8::Bias{bias} | w8a8::ReGlu{};
    }
  }

  std::int64_t columns() const { return chain == Chain::gated ? case_.n / 2 : case_.n; }

  GemmCase case_;
  Guarded<std::int8_t, Device> x_, w_;
  Guarded<Out, Device> out_;
  Guarded<float, Device> input_scale_, weight_scale_;
  Guarded<w8a8::half, Device> bias_;
  std::vector<Out> expected_;
};

/// Why the configuration of that name does not take the case; empty where it does. Shapes and alignments decide, so no operands.
template <class Out, Chain chain>
std::string refusal_of(const std::string& name, const GemmCase& c) {
  const auto address = [](std::int64_t offset, std::size_t size) {
    return std::uintptr_t{0x10000} + static_cast<std::uintptr_t>(offset) * size;
  };
  const w8a8::GemmProblem<Out> problem{reinterpret_cast<const std::int8_t*>(address(c.off_x, 1)),
                                       reinterpret_cast<const std::int8_t*>(address(c.off_w, 1)),
                                       reinterpret_cast<Out*>(address(c.off_out, sizeof(Out))),
                                       c.k + c.pad_x,
                                       c.k + c.pad_w,
                                       (chain == Chain::gated ? c.n / 2 : c.n) + c.pad_out,
                                       static_cast<int>(c.m),
                                       static_cast<int>(c.n),
                                       static_cast<int>(c.k)};
  std::string reason = "no such configuration";
  for (const w8a8::GpuKernel kernel : w8a8::detail::gpu_kernels) {
    w8a8::detail::visit_kernel(kernel, [&](auto entry) {
      const int index = decltype(entry)::Configs::find(name);
      if (index >= 0) reason = decltype(entry)::refusal(problem, w8a8::current_device());
    });
  }
  return reason;
}

/// `count` random problems through the dispatch, a fifth of them with dependent launch.
template <class Out, Chain chain>
void check_random_problems(std::uint64_t seed, int count, std::int64_t limit_m, std::int64_t limit_n, std::int64_t limit_k) {
  const Stream stream;
  Random random(seed);
  for (int i = 0; i < count; ++i) {
    GemmCase c = random_case(random, limit_m, limit_n, limit_k);
    if (chain == Chain::gated) c.n = w8a8::round_up<std::int64_t>(c.n, 16);
    GemmOptions options;
    options.kernel = i % 3 == 0 ? w8a8::Kernel::sm80 : w8a8::Kernel::automatic;
    options.dependent_launch = random.chance(0.2);
    GemmProblemOnDevice<Out, chain> problem(random, c);
    const std::string wrong = problem.run(options, stream);
    if (!wrong.empty()) INFO(problem.configuration(options));
    REQUIRE(wrong == "");
  }
}

inline constexpr const char* too_large = "more shared memory than this card has";

/// What problem.run() finds wrong, or too_large: cards of less than 227 KB a block do not take every configuration.
template <class Problem>
std::string run_where_it_fits(Problem& problem, const GemmOptions& options, const Stream& stream) {
  try {
    return problem.run(options, stream);
  } catch (const w8a8::Error& error) {
    if (error.expected().find("bytes of shared memory a block") == std::string::npos) throw;
    return too_large;
  }
}

/// Every shipped configuration on `count` random problems of its own that it does not refuse.
template <class Out, Chain chain>
void check_every_configuration(std::uint64_t seed, int count) {
  const Stream stream;
  for (const std::string& name : w8a8::gemm_configurations()) {
    if (name.rfind("sm90", 0) == 0 && !runs_hopper_code()) continue;
    Random random(seed);
    GemmOptions options;
    options.configuration = name;
    int ran = 0;
    std::string wrong, refused;
    for (int tries = 0; ran < count && tries < 40 * count; ++tries) {
      GemmCase c = random_case(random, 520, 700, 1200);
      if (tries % 2 == 0) c.m = 1 + c.m % 128;
      if (tries % 4 == 0) c.m = 1 + c.m % 16;
      if (tries % 3 == 0) c = GemmCase{c.m, w8a8::round_up<std::int64_t>(c.n, 8), w8a8::round_up<std::int64_t>(c.k, 128)};
      if (chain == Chain::gated) c.n = w8a8::round_up<std::int64_t>(c.n, 16);
      refused = refusal_of<Out, chain>(name, c);
      if (!refused.empty()) continue;
      ++ran;
      GemmProblemOnDevice<Out, chain> problem(random, c);
      INFO(name);
      wrong = run_where_it_fits(problem, options, stream);
      if (wrong == too_large) break;
      REQUIRE(wrong == "");
    }
    INFO(name << ": " << refused);
    CHECK((wrong == too_large || ran == count));
  }
}

/// `count` random problems a kernel in two parts, of configurations and with a boundary drawn at random.
template <class Out, Chain chain>
void check_random_parts(std::uint64_t seed, int count) {
  const Stream stream;
  Random random(seed);
  for (const w8a8::GpuKernel kernel : {w8a8::GpuKernel::sm80_gemm, w8a8::GpuKernel::sm90_gemm}) {
    if (kernel == w8a8::GpuKernel::sm90_gemm && !runs_hopper_code()) continue;
    int ran = 0;
    for (int tries = 0; ran < count && tries < 40 * count; ++tries) {
      GemmCase c = random_case(random, 300, 1500, 600);
      if (chain == Chain::gated) c.n = w8a8::round_up<std::int64_t>(c.n, 16);
      const int n = static_cast<int>(c.n);
      std::string name, refused;
      w8a8::detail::visit_kernel(kernel, [&](auto entry) {
        using Entry = decltype(entry);
        const auto any = [&] { return static_cast<int>(random.integer(0, Entry::Configs::size - 1)); };
        const int first = any(), rest = any();
        int columns = 0;
        Entry::Configs::visit(first, [&](auto config) { columns = Entry::template part_columns<decltype(config)>; });
        if (n <= columns) return;
        const int boundary = columns * static_cast<int>(random.integer(1, (n - 1) / columns));
        name = w8a8::detail::parts_name(entry, {first, boundary, rest, n});
        refused = refusal_of<Out, chain>(Entry::Configs::names()[static_cast<std::size_t>(first)], c);
      });
      if (name.empty() || !refused.empty()) continue;
      GemmOptions options;
      options.configuration = name;
      options.dependent_launch = random.chance(0.5);
      GemmProblemOnDevice<Out, chain> problem(random, c);
      INFO(name);
      const std::string wrong = run_where_it_fits(problem, options, stream);
      if (wrong == too_large) continue;
      ++ran;
      REQUIRE(wrong == "");
      CHECK(problem.configuration(options) == name);
    }
    CHECK(ran == count);
  }
}

}  // namespace w8a8_test
