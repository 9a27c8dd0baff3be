// The CPU backend, and the reference that every GPU kernel equals bit for bit.
//
// Output tiles of 64 x 64 are spread over threads. Each tile walks K in blocks that it widens to int16, so that the compiler
// turns the inner product into 16-bit multiply-adds; every sum is exact, so neither order nor blocking shows in the result.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/gemm/host_floating_gemm.hpp"
#include "w8a8/gemm/host_store.hpp"
#include "w8a8/gemm/problem.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/support/parallel.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

namespace detail {

struct HostGemmTile {
  static constexpr int rows = 64, columns = 64, depth = 256;  // tokens, channels, K of a block
  static constexpr int micro_rows = 4, micro_columns = 2;     // inner products that share their loads

  alignas(64) std::int16_t x[rows][depth];
  alignas(64) std::int16_t w[columns][depth];
  alignas(64) std::int32_t sum[rows][columns];
};

/// Widens a block of `rows` x `depth` elements, and fills up to whole micro blocks with zeros.
template <std::size_t Rows>
void pack_block(std::int16_t (&block)[Rows][HostGemmTile::depth], const std::int8_t* source, std::int64_t leading, int rows,
                int depth, int micro) {
  const int padded = round_up(rows, micro);
  for (int r = 0; r < padded; ++r) {
    std::int16_t* to = block[r];
    const int filled = r < rows ? depth : 0;
    const std::int8_t* from = source + static_cast<std::int64_t>(r < rows ? r : 0) * leading;
    for (int k = 0; k < filled; ++k) to[k] = from[k];
    for (int k = filled; k < HostGemmTile::depth; ++k) to[k] = 0;
  }
}

/// sum += x w^T over one block, for micro_rows x micro_columns inner products at a time.
inline void multiply_block(HostGemmTile& tile, int rows, int columns) {
  using T = HostGemmTile;
  for (int i = 0; i < rows; i += T::micro_rows) {
    for (int j = 0; j < columns; j += T::micro_columns) {
      const std::int16_t *x0 = tile.x[i], *x1 = tile.x[i + 1], *x2 = tile.x[i + 2], *x3 = tile.x[i + 3];
      const std::int16_t *w0 = tile.w[j], *w1 = tile.w[j + 1];
      std::int32_t s00 = 0, s01 = 0, s10 = 0, s11 = 0, s20 = 0, s21 = 0, s30 = 0, s31 = 0;
      for (int k = 0; k < T::depth; ++k) {
        s00 += x0[k] * w0[k];
        s01 += x0[k] * w1[k];
        s10 += x1[k] * w0[k];
        s11 += x1[k] * w1[k];
        s20 += x2[k] * w0[k];
        s21 += x2[k] * w1[k];
        s30 += x3[k] * w0[k];
        s31 += x3[k] * w1[k];
      }
      tile.sum[i][j] += s00;
      tile.sum[i][j + 1] += s01;
      tile.sum[i + 1][j] += s10;
      tile.sum[i + 1][j + 1] += s11;
      tile.sum[i + 2][j] += s20;
      tile.sum[i + 2][j + 1] += s21;
      tile.sum[i + 3][j] += s30;
      tile.sum[i + 3][j + 1] += s31;
    }
  }
}

}  // namespace detail

/// Runs a checked problem on `options.threads` CPU threads.
template <class Out, class Epilogue>
void host_gemm(const GemmProblem<Out>& problem, const Epilogue& epilogue, const GemmOptions& options = {}) {
  using Tile = detail::HostGemmTile;
  const GemmProblem<Out>& p = problem;
  if (p.m == 0 || p.n == 0) return;
  const std::int64_t tile_rows = ceil_div(p.m, Tile::rows), tile_columns = ceil_div(p.n, Tile::columns);
  std::vector<typename Epilogue::ColumnState> column_states;
  column_states.reserve(static_cast<std::size_t>(p.n));
  for (int n = 0; n < p.n; ++n) column_states.push_back(epilogue.column(n));

  parallel_for(tile_rows * tile_columns, options.threads, [&](std::int64_t t) {
    static thread_local std::unique_ptr<Tile> scratch = std::make_unique<Tile>();
    Tile& tile = *scratch;
    const int m0 = static_cast<int>(t % tile_rows) * Tile::rows, n0 = static_cast<int>(t / tile_rows) * Tile::columns;
    const int rows = min_of(Tile::rows, p.m - m0), columns = min_of(Tile::columns, p.n - n0);
    std::memset(tile.sum, 0, sizeof tile.sum);
    for (int k0 = 0; k0 < p.k; k0 += Tile::depth) {
      const int depth = min_of(Tile::depth, p.k - k0);
      detail::pack_block(tile.x, p.x + m0 * p.ldx + k0, p.ldx, rows, depth, Tile::micro_rows);
      detail::pack_block(tile.w, p.w + n0 * p.ldw + k0, p.ldw, columns, depth, Tile::micro_columns);
      detail::multiply_block(tile, rows, columns);
    }
    for (int i = 0; i < rows; ++i) {
      const std::int64_t m = m0 + i;
      const auto row_state = epilogue.row(m);
      const auto value = [&](int j) {
        return epilogue.apply(tile.sum[i][j], row_state, column_states[static_cast<std::size_t>(n0 + j)], m, n0 + j);
      };
      detail::store_host_row(p, epilogue, row_state, m, n0, columns, value);
    }
  });
}

namespace detail {

/// A checked gemm() on the CPU.
template <class Out, class Operand, class Epilogue>
struct PlannedHostGemm {
  GemmProblem<Out, Operand> problem;
  Epilogue epilogue;
  GemmOptions options;

  /// Done on return; `stream` is there so that host and device calls read alike.
  void enqueue(cudaStream_t stream = nullptr) const {
    static_cast<void>(stream);
    if constexpr (is_floating_v<Operand>) {
      host_floating_gemm(problem, epilogue, options);
    } else {
      host_gemm(problem, epilogue, options);
    }
  }
};

}  // namespace detail

/// gemm() in two steps, for callers who write something before it and want all that is wrong to be thrown first: checks the
/// arguments as gemm() does; enqueue() of what comes back runs it.
template <class XT, class WT, class Out, class Epilogue>
auto plan_gemm(const TensorView<XT, 2, Host>& x, const TensorView<WT, 2, Host>& w, const Epilogue& epilogue,
               const TensorView<Out, 2, Host>& out, const GemmOptions& options = {}) {
  detail::PlannedHostGemm<Out, std::remove_const_t<XT>, Epilogue> planned{make_problem(x, w, epilogue, out), epilogue, options};
  if (options.kernel != Kernel::automatic && options.kernel != Kernel::host) {
    throw Error("gemm", "options.kernel", "auto or host for host views", kernel_name(options.kernel));
  }
  if (!options.configuration.empty()) throw Error("gemm", "options.configuration", "none for host views", options.configuration);
  if (options.threads < 0) throw Error("gemm", "options.threads", "a count >= 0", text(options.threads));
  return planned;
}

/// out[m, n] = epilogue(sum_k x[m, k] * w[n, k]) on the CPU.
/// x: M x K int8, w: N x K int8, out: M x N (M x N / 2 with a gated epilogue) half, bfloat16, float or int32; rows contiguous,
/// row strides free; K <= maximum_k. Done on return; `stream` is there so that host and device calls read alike. M = 0 or N = 0
/// is a no-op; K = 0 gives the epilogue of 0. Throws Error that names the argument before anything is written.
/// x and w may also be half, bfloat16 or float, both alike: the epilogue then gets FP32 sums of FP32 products, always of the same
/// bits on one machine, and K may be up to maximum_floating_k.
template <class XT, class WT, class Out, class Epilogue>
void gemm(const TensorView<XT, 2, Host>& x, const TensorView<WT, 2, Host>& w, const Epilogue& epilogue,
          const TensorView<Out, 2, Host>& out, const GemmOptions& options = {}, cudaStream_t stream = nullptr) {
  plan_gemm(x, w, epilogue, out, options).enqueue(stream);
}

}  // namespace w8a8
