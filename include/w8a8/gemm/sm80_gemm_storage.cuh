// What the parts of sm80_gemm share: its launch parameters and its shared memory.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/gemm/problem.hpp"
#include "w8a8/layout/gate_up.hpp"
#include "w8a8/layout/raster.hpp"
#include "w8a8/ptx/thread_index.cuh"
#include "w8a8/support/config.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8::detail {

/// Bytes from one row that a thread copies to its next, and from its last back to the first in the next k-block.
struct Sm80GemmStrides {
  std::int64_t step_x, back_x, step_w, back_w;
};

/// Tensor maps of the operands and, where TMA stores it, of the output, for code that copies with TMA.
struct Sm80GemmMaps {
  CUtensorMap x, w, out;
};

/// What the kernel is launched with.
template <class Out, class Epilogue>
struct Sm80GemmParameters {
  GemmProblem<Out> problem;  ///< n: where the columns end that the launch makes
  Epilogue epilogue;
  int first_column = 0;  ///< where they begin
  Sm80GemmStrides strides{};
  Sm80GemmMaps maps{};
  int box_bytes = 0;               ///< bytes that their boxes bring to a stage
  layout::GroupedRaster raster{};  ///< the order of the output tiles
  int tiles = 0;                   ///< their number
  bool vector_stores = false;      ///< every row of `out` starts at a multiple of 16 bytes
  bool box_stores = false;         ///< and ends at one: TMA may store it (Sm80GemmBoxes)
};

/// Where a thread stands in the CTA. Made anew wherever it is wanted, because the main loop leaves no registers to keep it in.
template <class Config>
struct Sm80GemmPlace {
  int lane, warp;
  int slice, tile;  ///< depth slice and warp tile of the warp
  int row, column;  ///< of the warp tile in the grid of warp tiles

  W8A8_DEVICE Sm80GemmPlace() {
    const int thread = static_cast<int>(ptx::thread_index());
    lane = thread % 32, warp = thread / 32;
    slice = warp % Config::warps_k, tile = warp / Config::warps_k;
    row = tile % Config::warps_m, column = tile / Config::warps_m;
  }
};

/// Rows that a warp's epilogue works on at a time.
template <class Out>
inline constexpr int sm80_gemm_staging_rows = sizeof(Out) == 2 ? 16 : 8;

/// The outputs of one warp, once the depth slices are added up.
template <class Config, class Epilogue>
struct Sm80GemmOutputs {
  static constexpr bool gated = is_gated_v<Epilogue>;
  /// Columns of accumulators. A gate needs whole ones, 16 columns: then the last slices may get fewer columns than the others.
  static constexpr int columns = gated ? round_up(Config::store_n, 2 * layout::gate_block) : Config::store_n;
  static constexpr int stored = gated ? columns / 2 : columns;  ///< columns of the output
  /// True where each warp's part of an output row begins and ends at a multiple of `vector` elements of the tile's.
  W8A8_HOST_DEVICE static constexpr bool in_vectors(int vector) {
    return stored % vector == 0 && Config::warp_n / (gated ? 2 : 1) % vector == 0;
  }
  /// Columns of accumulators that slice `slice` really has.
  W8A8_DEVICE static constexpr int owned(int slice) {
    return columns == Config::store_n ? columns : max_of(0, min_of(columns, Config::warp_n - slice * columns));
  }
};

/// How TMA stores a tile: in boxes, each 32 columns of a warp tile, that stay in shared memory until it has read them. Most lie
/// in the stage that was multiplied last, which nobody fills until then, the others in memory of their own.
template <class Config, class Out, class Epilogue>
struct Sm80GemmBoxes {
  static constexpr int columns = 32, bytes = Config::warp_m * columns * static_cast<int>(sizeof(Out));
  static constexpr int count = Config::warps * Config::warp_n / columns, in_stage = Config::stage_bytes / bytes;
  /// Whole boxes a warp, with rows of 64 bytes, as stmatrix writes them; and at least half of them in the stage.
  static constexpr bool used =
      sizeof(Out) == 2 && !is_gated_v<Epilogue> && Config::warps_k == 1 && Config::warp_n % columns == 0 && 2 * in_stage >= count;
  static constexpr int own_bytes = used ? max_of(count - in_stage, 0) * bytes : 0;
};

/// Shared memory of one CTA.
template <class Config, class Out, class Epilogue>
struct Sm80GemmStorage {
  /// What a warp needs for the epilogue of its part of a tile.
  struct Warp {
    using Outputs = Sm80GemmOutputs<Config, Epilogue>;
    /// 8 elements of padding put the eight rows that a warp writes at a time into different banks. Rows start at 16 bytes.
    static constexpr int pitch = round_up(Outputs::stored + 8, 16 / static_cast<int>(sizeof(Out)));
    static constexpr int staging_bytes = sm80_gemm_staging_rows<Out> * pitch * static_cast<int>(sizeof(Out));
    alignas(16) typename Epilogue::RowState rows[Config::warp_m];
    alignas(16) typename Epilogue::ColumnState columns[Outputs::columns];
    unsigned m0, n0;  ///< its first output; kept here because the main loop leaves no register for it
  };
  alignas(1024) unsigned char stages[Config::stages][Config::stage_bytes];
  /// Outputs on their way: a part for each warp, or what boxes the stage does not hold.
  alignas(
      1024) unsigned char staging[max_of(Config::warps * Warp::staging_bytes, Sm80GemmBoxes<Config, Out, Epilogue>::own_bytes)];
  Warp warps[Config::warps];
  alignas(8) std::uint64_t full[Config::stages], empty[Config::stages];  ///< mbarriers, where TMA fills the stages
};

}  // namespace w8a8::detail
