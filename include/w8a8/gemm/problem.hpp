// A checked GEMM, as every kernel family takes it, and the options of a call.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/layout/gate_up.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

/// Beyond this K an int32 accumulator of codes in [-128, 127] could overflow: 131071 * 128 * 128 < 2^31.
inline constexpr std::int64_t maximum_k = 131071;

/// The largest K with operands in floating point: a row's bytes fit an int.
inline constexpr std::int64_t maximum_floating_k = std::int64_t{1} << 28;

/// Kernel families: what a caller may ask for. Each family holds one or more kernels, a file each.
enum class Kernel {
  automatic,  ///< chosen for the device and the shape
  host,       ///< CPU threads, for host views
  sm80,       ///< mma.sync: sm_80 and newer
  sm90,       ///< wgmma and TMA: sm_90a
};

inline const char* kernel_name(Kernel kernel) {
  switch (kernel) {
    case Kernel::automatic: return "auto";
    case Kernel::host: return "host";
    case Kernel::sm80: return "sm80";
    case Kernel::sm90: return "sm90";
  }
  return "unknown";
}

class TuningTable;

/// Options of one gemm() call. The default is the right choice for almost every caller.
struct GemmOptions {
  Kernel kernel = Kernel::automatic;
  /// The name of a configuration, such as "sm80_gemm/128x256x64_s5" (gemm_configurations() lists them), or of two, as
  /// gemm_configuration() tells them; empty: from the tuning table. An unknown name is refused with an Error that lists the known
  /// ones.
  std::string configuration;
  /// Measured configurations (gemm/tuning/table.hpp), asked before the built-in tables where no configuration is named. An entry
  /// that was measured on another model of card, belongs to another family than `kernel`, or cannot run the problem is passed
  /// over.
  const TuningTable* tuning = nullptr;
  /// Permission for programmatic dependent launch: the weight may be read before the previous kernel of the stream has finished,
  /// which is only right where nothing still in flight in the stream writes the weight (docs/architecture.md). Used where it was
  /// measured to be faster; ignored before sm_90.
  bool dependent_launch = false;
  /// Kernel::host: number of threads; 0 means one a core.
  int threads = 0;
};

/// D = X W^T with an epilogue: x[m, k] at x + m * ldx + k, w[n, k] at w + n * ldw + k, out[m, n] at out + m * ldo + n.
/// Leading dimensions count elements. 0 <= m, n < 2^31, 0 <= k <= maximum_k. n counts the weight's rows: a gated epilogue makes n
/// / 2 output columns of them. Operand: int8, or half, bfloat16, float, of which no sum can overflow and k has a higher limit.
template <class Out, class Operand = std::int8_t>
struct GemmProblem {
  const Operand* x;
  const Operand* w;
  Out* out;
  std::int64_t ldx, ldw, ldo;
  int m, n, k;
};

namespace detail {

template <class View>
void check_matrix(const char* argument, const View& view) {
  if (view.empty()) return;
  if (view.data() == nullptr) throw Error("gemm", argument, "a pointer to its elements", "nullptr");
  if (!is_aligned(view.data(), alignof(typename View::value_type))) {
    throw Error("gemm", argument, text("an address aligned to ", alignof(typename View::value_type), " bytes"),
                text(static_cast<const void*>(view.data())));
  }
  if (view.extent(1) > 1 && view.stride(1) != 1) {
    throw Error("gemm", argument, "contiguous rows (stride 1 in the last dimension)", text("stride ", view.stride(1)));
  }
  if (view.extent(0) > 1 && view.stride(0) < view.extent(1)) {
    throw Error("gemm", argument, text("a row stride of at least ", view.extent(1)), text("row stride ", view.stride(0)));
  }
}

}  // namespace detail

/// Checks the arguments of gemm() and gathers them. x: M x K, w: N x K, out: M x N (M x N / 2 where the epilogue is gated), all
/// row-major with contiguous rows.
/// Throws Error that names the argument.
template <class XT, class WT, class Out, class Epilogue, class Space>
GemmProblem<Out, std::remove_const_t<XT>> make_problem(const MatrixView<XT, Space>& x, const MatrixView<WT, Space>& w,
                                                       const Epilogue& epilogue, const MatrixView<Out, Space>& out) {
  using Operand = std::remove_const_t<XT>;
  static_assert(std::is_same_v<Operand, std::int8_t> || is_floating_v<Operand>,
                "gemm: x and w are matrices of int8, half, bfloat16 or (on the CPU) float");
  static_assert(std::is_same_v<Operand, std::remove_const_t<WT>>, "gemm: x and w have one element type");
  static_assert(!std::is_const_v<Out>, "gemm: out is written");
  static_assert(is_epilogue_v<Epilogue>, "gemm: the epilogue derives from EpilogueFunctor");
  static_assert(reads_only_v<Epilogue, Space>, "gemm: the epilogue's scales and biases lie in the memory space of x, w and out");
  constexpr std::int64_t limit = 0x7fffffff;
  const std::int64_t m = x.extent(0), k = x.extent(1), n = w.extent(0);
  if (m > limit) throw Error("gemm", "x", "fewer than 2^31 rows", text(m));
  if (n > limit) throw Error("gemm", "w", "fewer than 2^31 rows", text(n));
  if constexpr (is_floating_v<Operand>) {
    if (k > maximum_floating_k) throw Error("gemm", "x", text("K <= ", maximum_floating_k), text("K = ", k));
  } else {
    if (k > maximum_k)
      throw Error("gemm", "x", text("K <= ", maximum_k, ", so that int32 sums cannot overflow"), text("K = ", k));
  }
  if (w.extent(1) != k) throw Error("gemm", "w", text("K = ", k, " columns, as x has"), text(w.extent(1)));
  if (is_gated_v<Epilogue> && n % (2 * layout::gate_block) != 0) {
    throw Error("gemm", "w", text("rows in a multiple of ", 2 * layout::gate_block, ": gate and up, interleaved"), text(n));
  }
  const std::int64_t columns = is_gated_v<Epilogue> ? n / 2 : n;
  if (out.extent(0) != m || out.extent(1) != columns) {
    throw Error("gemm", "out", text("shape ", m, "x", columns), shape_text(out.shape()));
  }
  detail::check_matrix("x", x);
  detail::check_matrix("w", w);
  detail::check_matrix("out", out);
  epilogue.validate("gemm", m, n);
  // The row stride of a single row is never used; a defined one keeps the kernels' alignment tests simple.
  const auto leading = [](const auto& view) {
    return view.extent(0) > 1 ? view.stride(0) : max_of<std::int64_t>(view.extent(1), 1);
  };
  return {x.data(),           w.data(),     out.data(),          leading(x),
          leading(w),         leading(out), static_cast<int>(m), static_cast<int>(n),
          static_cast<int>(k)};
}

}  // namespace w8a8
