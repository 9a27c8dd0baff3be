// Accumulators to global memory in sm80_gemm: epilogue states, epilogue, and 16-byte pieces of rows.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/gemm/sm80_gemm_storage.cuh"
#include "w8a8/layout/mma_fragment.hpp"
#include "w8a8/layout/raster.hpp"
#include "w8a8/layout/swizzle.hpp"
#include "w8a8/ptx/address.cuh"
#include "w8a8/ptx/elect.cuh"
#include "w8a8/ptx/matrix.cuh"
#include "w8a8/ptx/tma.cuh"
#include "w8a8/support/config.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8::detail {

/// Loads the epilogue's states for this warp's outputs. Rows and columns beyond the edge repeat the last one.
template <class Config, class Out, class Epilogue, class Warp>
W8A8_DEVICE void sm80_gemm_load_states(const Sm80GemmParameters<Out, Epilogue>& p, Warp& warp, layout::Tile tile) {
  using RowState = typename Epilogue::RowState;
  using ColumnState = typename Epilogue::ColumnState;
  constexpr int rows = std::is_empty_v<RowState> ? 0 : Config::warp_m;
  constexpr int columns = std::is_empty_v<ColumnState> ? 0 : Warp::Outputs::columns;
  const Sm80GemmPlace<Config> place;
  const int lane = place.lane;
  // Unsigned: what begins beyond the edge may begin past 2^31.
  const unsigned m = static_cast<unsigned>(tile.row) * Config::block_m + place.row * Config::warp_m;
  const unsigned n = p.first_column + static_cast<unsigned>(tile.column) * Config::block_n + place.column * Config::warp_n +
                     place.slice * Warp::Outputs::columns;
  const unsigned last_m = static_cast<unsigned>(p.problem.m) - 1, last_n = static_cast<unsigned>(p.problem.n) - 1;
  RowState row_states[ceil_div(rows, 32) + 1];
  ColumnState column_states[ceil_div(columns, 32) + 1];
  W8A8_UNROLL
  for (int r = 0; r < rows; r += 32) row_states[r / 32] = p.epilogue.row(min_of<unsigned>(m + r + lane, last_m));
  W8A8_UNROLL
  for (int c = 0; c < columns; c += 32) column_states[c / 32] = p.epilogue.column(min_of<unsigned>(n + c + lane, last_n));
  __syncwarp();  // the epilogue of the last tile is over
  if (lane == 0) warp.m0 = m, warp.n0 = n;
  W8A8_UNROLL
  for (int r = 0; r < rows; r += 32) {
    if (r + 32 <= rows || r + lane < rows) warp.rows[r + lane] = row_states[r / 32];
  }
  W8A8_UNROLL
  for (int c = 0; c < columns; c += 32) {
    if (c + 32 <= columns || c + lane < columns) warp.columns[c + lane] = column_states[c / 32];
  }
  __syncwarp();
}

/// Stores Rows x Outputs::stored outputs from the warp's staging memory; the first rows_left and columns_left of them exist.
template <class Outputs, int Rows, class Out>
W8A8_DEVICE void sm80_gemm_copy_out(const Out* staging, int pitch, Out* out, std::int64_t ldo, int rows_left, int columns_left,
                                    bool vector_stores, int lane) {
  constexpr int vector = 16 / static_cast<int>(sizeof(Out)), vectors = Outputs::stored / vector;
  int scalar_from = 0;
  if constexpr (Outputs::in_vectors(vector)) {
    if (vector_stores) {
      constexpr int count = ceil_div(Rows * vectors, 32);
      uint4 values[count];
      W8A8_UNROLL
      for (int t = 0; t < count; ++t) {  // all loads, then all stores: their latencies overlap
        const int i = min_of(lane + 32 * t, Rows * vectors - 1);
        values[t] = *reinterpret_cast<const uint4*>(staging + i / vectors * pitch + i % vectors * vector);
      }
      W8A8_UNROLL
      for (int t = 0; t < count; ++t) {
        const int i = lane + 32 * t, r = i / vectors, c = i % vectors * vector;
        if (r < min_of(Rows, rows_left) && c + vector <= columns_left)
          __stcs(reinterpret_cast<uint4*>(out + r * ldo + c), values[t]);
      }
      scalar_from = columns_left / vector * vector;
    }
  }
  const int columns = min_of(columns_left, Outputs::stored) - scalar_from;
  W8A8_NO_UNROLL
  for (int i = lane; i < min_of(Rows, rows_left) * columns; i += 32) {
    const int r = i / columns, c = scalar_from + i % columns;
    out[r * ldo + c] = staging[r * pitch + c];
  }
}

/// Epilogue and store of the warp's outputs: some rows at a time go from the
/// accumulators to `staging_memory`, the warp's, and from there to `out`.
template <class Config, class Accumulator, class Out, class Epilogue, class Warp>
W8A8_DEVICE void sm80_gemm_store(const Sm80GemmParameters<Out, Epilogue>& p, Warp& warp, unsigned char* staging_memory,
                                 const Accumulator (&acc)[Config::warp_m / 16][Config::warp_n / 8][4], int slice, int lane) {
  struct alignas(2 * sizeof(Out)) Pair {
    Out first, second;
  };
  using Outputs = typename Warp::Outputs;
  constexpr int rows = sm80_gemm_staging_rows<Out>, tiles_n = Outputs::stored / 8,
                tiles = Outputs::gated ? 2 : 1,  // column tiles of accumulators that make one of outputs
      batch = !Outputs::gated && tiles_n % 4 == 0   ? 4
              : !Outputs::gated && tiles_n % 3 == 0 ? 3
              : tiles_n % 2 == 0                    ? 2
                                                    : 1;
  static_assert(tiles_n % batch == 0, "a batch that ran over would read another warp's memory");
  Out* const staging = reinterpret_cast<Out*>(staging_memory);
  const std::int64_t m0 = warp.m0, n0 = warp.n0;
  const std::int64_t out_n0 = n0 / tiles;
  const int rows_left = static_cast<int>(p.problem.m - m0);
  int columns_left = static_cast<int>(p.problem.n - n0);
  if constexpr (Outputs::gated) columns_left = min_of(columns_left, Outputs::owned(slice)) / tiles;
  if (columns_left <= 0) return;
  W8A8_UNROLL
  for (int first = 0; first < Config::warp_m; first += rows) {
    if (rows_left <= first) return;
    typename Epilogue::RowState row_states[rows / 8];
    W8A8_UNROLL
    for (int h = 0; h < rows / 8; ++h) row_states[h] = warp.rows[first + 8 * h + lane / 4];
    __syncwarp();  // the last rows have left the staging memory
    W8A8_UNROLL
    for (int j0 = 0; j0 < tiles_n; j0 += batch) {  // in batches: loads of states cannot move across stores by themselves
      typename Epilogue::ColumnState column_states[batch][tiles][2];
      Pair pairs[batch][rows / 8];
      W8A8_UNROLL
      for (int j = 0; j < batch * tiles * 2; ++j) {
        column_states[j / 2 / tiles][j / 2 % tiles][j % 2] = warp.columns[8 * (j0 * tiles + j / 2) + 2 * (lane % 4) + j % 2];
      }
      W8A8_UNROLL
      for (int j = 0; j < batch; ++j) {
        W8A8_UNROLL
        for (int h = 0; h < rows / 8; ++h) {
          const int r = first + 8 * h, v = r / 8 % 2 * 2;  // accumulators v and v + 1 of a 16x8 tile are neighbours in a row
          const auto value = [&](int e) {
            const layout::Coordinate at = layout::mma_c(lane, v + e);
            const std::int64_t m = m0 + r / 16 * 16 + at.row;
            const auto column = [&](int t) {
              return p.epilogue.apply(acc[r / 16][(j0 + j) * tiles + t][v + e], row_states[h], column_states[j][t][e], m,
                                      n0 + 8 * ((j0 + j) * tiles + t) + at.column);
            };
            if constexpr (Outputs::gated) {
              const auto gate = column(0), up = column(1);
              return store_value<Out>(p.epilogue.combine(gate, up, row_states[h], m, out_n0 + 8 * (j0 + j) + at.column));
            } else {
              return store_value<Out>(column(0));
            }
          };
          pairs[j][h] = Pair{value(0), value(1)};
        }
      }
      W8A8_UNROLL
      for (int j = 0; j < batch; ++j) {
        W8A8_UNROLL
        for (int h = 0; h < rows / 8; ++h) {
          *reinterpret_cast<Pair*>(staging + (8 * h + lane / 4) * Warp::pitch + 8 * (j0 + j) + 2 * (lane % 4)) = pairs[j][h];
        }
      }
    }
    __syncwarp();
    sm80_gemm_copy_out<Outputs, rows>(staging, Warp::pitch, p.problem.out + (m0 + first) * p.problem.ldo + out_n0, p.problem.ldo,
                                      rows_left - first, columns_left, p.vector_stores, lane);
  }
}

/// Epilogue of the warp's outputs, stored by TMA in boxes that begin in the stage at `last_stage`; nothing waits for them here.
/// Elements beyond the edge TMA leaves out. Every row of `out` starts and ends at a multiple of 16 bytes.
template <class Config, class Storage, class Accumulator, class Out, class Epilogue>
W8A8_DEVICE void sm80_gemm_store_boxes(const Sm80GemmParameters<Out, Epilogue>& p, Storage& storage,
                                       const Accumulator (&acc)[Config::warp_m / 16][Config::warp_n / 8][4],
                                       std::uint32_t last_stage, const Sm80GemmPlace<Config>& place) {
  struct alignas(4) Pair {
    Out first, second;
  };
  using Boxes = Sm80GemmBoxes<Config, Out, Epilogue>;
  constexpr int row_bytes = Boxes::columns * static_cast<int>(sizeof(Out));
  const auto& warp = storage.warps[place.warp];
  const int lane = place.lane, m0 = static_cast<int>(warp.m0), n0 = static_cast<int>(warp.n0);
  const layout::Coordinate matrices = layout::ldmatrix_16x32(lane);
  const std::uint32_t offset = layout::swizzled_offset<row_bytes>(matrices.row, matrices.column);
  typename Epilogue::RowState row_states[Config::warp_m / 8];
  W8A8_UNROLL
  for (int h = 0; h < Config::warp_m / 8; ++h) row_states[h] = warp.rows[8 * h + lane / 4];
  W8A8_UNROLL
  for (int c = 0; c < Config::warp_n; c += Boxes::columns) {
    const int index = c / Boxes::columns * Config::warps + place.warp;
    const std::uint32_t box = index < Boxes::in_stage
                                  ? last_stage + index * Boxes::bytes
                                  : ptx::shared_address(storage.staging) + (index - Boxes::in_stage) * Boxes::bytes;
    typename Epilogue::ColumnState column_states[Boxes::columns / 8][2];
    W8A8_UNROLL
    for (int j = 0; j < Boxes::columns / 4; ++j)
      column_states[j / 2][j % 2] = warp.columns[c + 8 * (j / 2) + 2 * (lane % 4) + j % 2];
    W8A8_UNROLL
    for (int i = 0; i < Config::warp_m; i += 16) {
      W8A8_UNROLL
      for (int j0 = 0; j0 < Boxes::columns; j0 += 16) {
        std::uint32_t pairs[4];  // 8x8 matrices: rows i and i + 8 of columns j0, then those of j0 + 8
        W8A8_UNROLL
        for (int r = 0; r < 4; ++r) {
          const int h = r % 2, j = j0 / 8 + r / 2;
          const auto value = [&](int e) {
            const layout::Coordinate at = layout::mma_c(lane, 2 * h + e);
            return store_value<Out>(p.epilogue.apply(acc[i / 16][c / 8 + j][2 * h + e], row_states[i / 8 + h],
                                                     column_states[j][e], std::int64_t{m0} + i + at.row,
                                                     std::int64_t{n0} + c + 8 * j + at.column));
          };
          const Pair pair{value(0), value(1)};
          std::memcpy(&pairs[r], &pair, sizeof pair);
        }
        // Columns differ in an address bit that the swizzle only permutes.
        const std::uint32_t address = (box + i * row_bytes + offset) ^ static_cast<std::uint32_t>(2 * j0);
        ptx::stmatrix_x4(address, pairs[0], pairs[1], pairs[2], pairs[3]);
      }
    }
    ptx::fence_proxy_async();
    __syncwarp();
    if (ptx::elect_one()) {
      ptx::tma_store_2d(&p.maps.out, box, n0 + c, m0);
      ptx::bulk_commit_group();
    }
    __syncwarp();
  }
}

}  // namespace w8a8::detail
