// What the parts of sm80_gemm share: its launch parameters and its shared memory.
#pragma once

#include <cstdint>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/gemm/problem.hpp"

namespace w8a8::detail {

/// Bytes from one row that a thread copies to its next, and from its last back to the first in the next k-block.
struct Sm80GemmStrides {
  std::int64_t step_x, back_x, step_w, back_w;
};

/// What the kernel is launched with.
template <class Out, class Epilogue>
struct Sm80GemmParameters {
  GemmProblem<Out> problem;
  Epilogue epilogue;
  Sm80GemmStrides strides{};
  int tiles_m = 0, tiles_n = 0;  ///< the grid of output tiles
  int raster_group = 0;          ///< tile rows a raster group
  int tiles = 0;                 ///< tiles_m * tiles_n
  bool vector_stores = false;    ///< every row of `out` starts at a multiple of 16 bytes
};

/// Rows that a warp's epilogue works on at a time.
template <class Out>
inline constexpr int sm80_gemm_staging_rows = sizeof(Out) == 2 ? 16 : 8;

/// Shared memory of one CTA.
template <class Config, class Out, class Epilogue>
struct Sm80GemmStorage {
  /// What a warp needs for the epilogue of its part of a tile.
  struct Warp {
    /// 8 elements of padding put the eight rows that a warp writes at a time into different banks.
    static constexpr int pitch = Config::store_n + 8;
    alignas(16) unsigned char staging[sm80_gemm_staging_rows<Out> * pitch * sizeof(Out)];
    alignas(16) typename Epilogue::RowState rows[Config::warp_m];
    alignas(16) typename Epilogue::ColumnState columns[Config::store_n];
    unsigned m0, n0;  ///< its first output; kept here because the main loop leaves no register for it
  };
  alignas(1024) unsigned char stages[Config::stages][Config::stage_bytes];
  Warp warps[Config::warps];
};

}  // namespace w8a8::detail
