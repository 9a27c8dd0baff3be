// Decode: few tokens, any architecture from sm_80 on. The weight is read once, so the kernel is a weight stream with a little
// arithmetic at its end.
//
// A CTA owns a stripe of output channels and all of K; the grid is as many stripes as fill the device. Each warp streams its own
// chunks of 128 bytes of K (warp w the chunks w, w + Warps, ...) of all of the stripe's rows through a private ring in shared
// memory: cp.async, so no thread waits for a load and no warp waits for another. The weights are mma.sync's 16-row operand, the
// tokens its 8 columns. The warps' int32 partial sums meet once, at the end.
//
//     K ->   warp 0  warp 1  warp 2  warp 3  warp 0  warp 1 ...
//   row 0    [128 B] [128 B] [128 B] [128 B] [128 B] [128 B]      a 128-byte line is fetched by eight lanes, 16 bytes each;
//   row 1    [128 B] [128 B] [128 B] [128 B] [128 B] [128 B]      all warps together read each row contiguously
//   ...
//
// Bytes past K are zero-filled, so neither row padding nor the next row is ever read or counted.
//
// Programmatic dependent launch (GemmOptions::dependent_launch): the weights that fit the ring are requested before
// griddepcontrol.wait; tokens, scales and everything else only after it. launch_dependents comes after the wait, never before:
// once the next kernel runs, everything older than this one has finished, so the only grid that may still be in flight beside it
// is this one, and this one writes no weights. A kernel that triggered before it waited would break that for its successor.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/gemm/config_list.hpp"
#include "w8a8/gemm/problem.hpp"
#include "w8a8/gemm/tuning/sm80_decode.hpp"
#include "w8a8/layout/mma_fragment.hpp"
#include "w8a8/layout/swizzle.hpp"
#include "w8a8/ptx/address.cuh"
#include "w8a8/ptx/cache_policy.cuh"
#include "w8a8/ptx/cp_async.cuh"
#include "w8a8/ptx/dependent_launch.cuh"
#include "w8a8/ptx/matrix.cuh"
#include "w8a8/ptx/mma.cuh"
#include "w8a8/support/arch.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/device.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/support/launch.cuh"

namespace w8a8 {

/// Tokens (8, 16, 32) and Rows (output channels, a multiple of 16) of a CTA's tile; Warps that split K; Stages of 128 bytes of K
/// in each warp's ring.
template <int Tokens, int Rows, int Warps, int Stages>
struct Sm80DecodeConfig {
  static_assert(Tokens % 8 == 0 && Tokens <= 32 && Rows % 16 == 0 && Stages >= 2,
                "Sm80DecodeConfig: tiles of 8 tokens and 16 rows, two stages");
  static constexpr int tokens = Tokens, rows = Rows, warps = Warps, stages = Stages;
  static constexpr int threads = 32 * (Warps + 1);  ///< one warp more reads the epilogue's states
  static constexpr int chunk = 128;                 ///< bytes of K a stage

  static std::string name() { return text("sm80_decode/", Tokens, "x", Rows, "_w", Warps, "_s", Stages); }
};

/// The shipped configurations; tuning/sm80_decode.hpp chooses among them.
using Sm80DecodeConfigs = ConfigList<Sm80DecodeConfig<8, 32, 4, 4>,    // 0
                                     Sm80DecodeConfig<8, 32, 8, 4>,    // 1
                                     Sm80DecodeConfig<8, 64, 4, 3>,    // 2
                                     Sm80DecodeConfig<16, 32, 4, 4>,   // 3
                                     Sm80DecodeConfig<16, 32, 8, 4>,   // 4
                                     Sm80DecodeConfig<32, 48, 4, 4>,   // 5
                                     Sm80DecodeConfig<32, 64, 8, 2>,   // 6
                                     Sm80DecodeConfig<32, 64, 4, 2>>;  // 7

namespace detail {

template <class Config>
struct Sm80DecodeStage {
  std::int8_t weights[Config::rows][Config::chunk];   // swizzled: see layout::swizzled_offset<128>
  std::int8_t tokens[Config::tokens][Config::chunk];  // likewise
};

// A warp's partial sums take the place of its ring, which by then is its own and drained. The pitch spreads the four tokens a
// warp writes at once over different banks.
template <class Config>
union Sm80DecodeWarpStorage {
  Sm80DecodeStage<Config> ring[Config::stages];
  std::int32_t partial[Config::tokens][Config::rows + 4];
};

template <class Config, class Epilogue>
struct Sm80DecodeStorage {
  Sm80DecodeWarpStorage<Config> warps[Config::warps];
  typename Epilogue::ColumnState columns[Config::rows];
  typename Epilogue::RowState row_states[Config::tokens];
};

// One warp's share of the tile: its stream of chunks and its accumulators.
template <class Config>
class Sm80DecodeWarp {
  static constexpr int weight_tiles = Config::rows / 16, token_tiles = Config::tokens / 8;
  static constexpr int stage_bytes = sizeof(Sm80DecodeStage<Config>), weight_bytes = Config::rows * Config::chunk;
  static constexpr int chunk_stride = Config::warps * Config::chunk;  // from one of a warp's chunks to its next

 public:
  // x: the tile's first token, w: its first channel; `tokens` and `rows` of them exist.
  W8A8_DEVICE Sm80DecodeWarp(Sm80DecodeWarpStorage<Config>& storage, int warp, int lane, const std::int8_t* x, std::int64_t ldx,
                             int tokens, const std::int8_t* w, std::int64_t ldw, int rows, int k)
      : storage_(storage), ring_(ptx::shared_address(&storage)), lane_(lane), ldx_(ldx), ldw_(ldw) {
    // Eight lanes fetch a line of 128 bytes, a warp four rows; every second four are swizzled alike.
    const int row = lane / 8, piece = lane % 8, first = warp * Config::chunk;
    to_even_ = layout::swizzled_offset<128>(row, piece);
    to_odd_ = layout::swizzled_offset<128>(row + 4, piece) - 4 * Config::chunk;
    x_ = x + row * ldx + first + 16 * piece;
    w_ = w + row * ldw + first + 16 * piece;
    tokens_below_ = tokens - row;
    rows_below_ = rows - row;
    k_left_ = k - first;
    chunks_ = max_of(k_left_ + chunk_stride - 1, 0) / chunk_stride;
    weight_policy_ = ptx::createpolicy_evict_first();  // read once
    token_policy_ = ptx::createpolicy_evict_last();    // read by every CTA
  }

  W8A8_DEVICE int chunks() const { return chunks_; }

  W8A8_DEVICE void fetch_weights(int slot, int chunk) {
    fetch<Config::rows>(ring_ + slot * stage_bytes, w_, ldw_, rows_below_, chunk, weight_policy_);
  }

  W8A8_DEVICE void fetch_tokens(int slot, int chunk) {
    fetch<Config::tokens>(ring_ + slot * stage_bytes + weight_bytes, x_, ldx_, tokens_below_, chunk, token_policy_);
  }

  W8A8_DEVICE void multiply(int slot) {
    const std::uint32_t weights = ring_ + slot * stage_bytes, tokens = weights + weight_bytes;
    const layout::Coordinate a = layout::ldmatrix_16x32(lane_), b = layout::ldmatrix_8x64(lane_);
    W8A8_UNROLL
    for (int half_chunk = 0; half_chunk < 2; ++half_chunk) {  // 64 bytes of K: two k32 steps
      // All of ldmatrix before all of mma: their latencies add up otherwise, and a slot that is being read is not being refilled.
      std::uint32_t y[token_tiles][4], u[2][weight_tiles][4];
      const std::uint32_t y_at = tokens + layout::swizzled_offset<128>(b.row, 4 * half_chunk + b.column);
      W8A8_UNROLL
      for (int t = 0; t < token_tiles; ++t) ptx::ldmatrix_x4(y[t], y_at + 8 * t * Config::chunk);
      W8A8_UNROLL
      for (int step = 0; step < 2; ++step) {
        const std::uint32_t u_at = weights + layout::swizzled_offset<128>(a.row, 4 * half_chunk + 2 * step + a.column);
        W8A8_UNROLL
        for (int r = 0; r < weight_tiles; ++r) ptx::ldmatrix_x4(u[step][r], u_at + 16 * r * Config::chunk);
      }
      W8A8_UNROLL
      for (int step = 0; step < 2; ++step) {
        W8A8_UNROLL
        for (int r = 0; r < weight_tiles; ++r) {
          W8A8_UNROLL
          for (int t = 0; t < token_tiles; ++t) {
            ptx::mma_m16n8k32(accumulator_[r][t], u[step][r], y[t][2 * step], y[t][2 * step + 1]);
          }
        }
      }
    }
  }

  W8A8_DEVICE void write_partial_sums() {
    W8A8_UNROLL
    for (int r = 0; r < weight_tiles; ++r) {
      W8A8_UNROLL
      for (int t = 0; t < token_tiles; ++t) {
        W8A8_UNROLL
        for (int v = 0; v < 4; ++v) {
          const layout::Coordinate c = layout::mma_c(lane_, v);
          storage_.partial[8 * t + c.column][16 * r + c.row] = accumulator_[r][t][v];
        }
      }
    }
  }

 private:
  // Few instructions matter here: until the ring is full nothing else runs. Only the last chunk of K can hold a lane's piece that
  // is cut by K or lies beyond it; those bytes become zeros. `below`: how many rows exist from this lane's first one on.
  template <int Rows>
  W8A8_DEVICE void fetch(std::uint32_t to, const std::int8_t* from, std::int64_t stride, int below, int chunk,
                         std::uint64_t policy) const {
    const int left = k_left_ - chunk * chunk_stride;
    if (left <= 0) return;
    from += chunk * chunk_stride;
    if (left >= Config::chunk) {
      W8A8_UNROLL
      for (int j = 0; j < Rows / 4; ++j) {
        const std::uint32_t line = to + (j % 2 == 0 ? to_even_ : to_odd_) + 4 * j * Config::chunk;
        if (4 * j < below) ptx::cp_async_16(line, from, policy);
        from += 4 * stride;
      }
    } else {
      const int valid = min_of(max_of(left - lane_ % 8 * 16, 0), 16);
      W8A8_NO_UNROLL
      for (int j = 0; j < Rows / 4; ++j) {
        const std::uint32_t line = to + (j % 2 == 0 ? to_even_ : to_odd_) + 4 * j * Config::chunk;
        if (4 * j < below) ptx::cp_async<16>(line, from, valid);
        from += 4 * stride;
      }
    }
  }

  Sm80DecodeWarpStorage<Config>& storage_;
  std::uint32_t ring_;
  int lane_, to_even_, to_odd_, tokens_below_, rows_below_, k_left_, chunks_;
  std::int64_t ldx_, ldw_;
  const std::int8_t *x_, *w_;
  std::uint64_t weight_policy_, token_policy_;
  std::int32_t accumulator_[weight_tiles][token_tiles][4] = {};
};

// Four neighbouring outputs: one store where the address allows it and all four exist.
template <class Out>
W8A8_DEVICE void store_four(Out* to, const Out (&values)[4], int existing) {
  struct alignas(4 * sizeof(Out)) Four {
    Out value[4];
  };
  if (existing >= 4 && reinterpret_cast<std::uintptr_t>(to) % sizeof(Four) == 0) {
    *reinterpret_cast<Four*>(to) = Four{{values[0], values[1], values[2], values[3]}};
  } else {
    W8A8_UNROLL
    for (int j = 0; j < 4; ++j) {
      if (j < existing) to[j] = values[j];
    }
  }
}

// The sum over the warps, the epilogue and the store: four channels of a token at a time.
template <class Config, class Out, class Epilogue>
W8A8_DEVICE void write_sm80_decode_tile(const Sm80DecodeStorage<Config, Epilogue>& storage, const GemmProblem<Out>& problem,
                                        const Epilogue& epilogue, int m0, int tokens, int n0, int rows) {
  constexpr int quads = Config::rows / 4;
  W8A8_NO_UNROLL
  for (int i = threadIdx.x; i < tokens * quads; i += Config::threads) {
    const int m = i / quads, n = i % quads * 4;
    if (n >= rows) continue;
    std::int32_t sum[4] = {};
    W8A8_UNROLL
    for (int w = 0; w < Config::warps; ++w) {
      const int4 part = *reinterpret_cast<const int4*>(&storage.warps[w].partial[m][n]);
      sum[0] += part.x, sum[1] += part.y, sum[2] += part.z, sum[3] += part.w;
    }
    Out values[4];
    W8A8_UNROLL
    for (int j = 0; j < 4; ++j) {
      const int column = min_of(n + j, rows - 1);
      values[j] = store_value<Out>(epilogue.apply(sum[j], storage.row_states[m], storage.columns[column], m0 + m, n0 + column));
    }
    store_four(problem.out + (m0 + m) * problem.ldo + n0 + n, values, rows - n);
  }
}

// The bound of one CTA an SM is not an occupancy but a licence to use registers: without it the compiler, counting on other warps
// to hide latency, puts every ldmatrix right before its mma.
template <class Config, class Out, class Epilogue>
__global__ void __launch_bounds__(Config::threads, 1)
    sm80_decode_kernel(const __grid_constant__ GemmProblem<Out> problem, const __grid_constant__ Epilogue epilogue,
                       int rows_per_cta, int token_tiles, bool dependent_launch) {
  if constexpr (arch::has_int8_mma_sync) {
    using Storage = Sm80DecodeStorage<Config, Epilogue>;
    extern __shared__ __align__(1024) std::uint8_t shared_bytes[];
    Storage& storage = *reinterpret_cast<Storage*>(shared_bytes);
    const int stripe = token_tiles == 1 ? blockIdx.x : blockIdx.x / token_tiles;
    const int m0 = (blockIdx.x - stripe * token_tiles) * Config::tokens, tokens = min_of(problem.m - m0, Config::tokens);
    const int n0 = stripe * rows_per_cta, rows = min_of(problem.n - n0, rows_per_cta);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

    if (warp == Config::warps) {  // a warp of its own reads the epilogue's states, so that no stream waits for a scale
      if (dependent_launch) ptx::griddepcontrol_wait();
      W8A8_NO_UNROLL
      for (int i = lane; i < rows; i += 32) storage.columns[i] = epilogue.column(n0 + i);
      if (lane < tokens) storage.row_states[lane] = epilogue.row(m0 + lane);
    } else {
      Sm80DecodeWarp<Config> stream(storage.warps[warp], warp, lane, problem.x + m0 * problem.ldx, problem.ldx, tokens,
                                    problem.w + n0 * problem.ldw, problem.ldw, rows, problem.k);
      if (dependent_launch) {
        W8A8_NO_UNROLL
        for (int s = 0; s < Config::stages; ++s) stream.fetch_weights(s, s);
        ptx::griddepcontrol_wait();
      }
      W8A8_NO_UNROLL
      for (int i = -Config::stages, slot = 0; i < stream.chunks(); ++i) {  // below 0: the ring fills
        if (i >= 0) {
          ptx::cp_async_wait_group<Config::stages - 1>();
          __syncwarp();  // every lane's copies of this chunk have landed
          stream.multiply(slot);
          __syncwarp();  // every lane has read the slot
        }
        stream.fetch_tokens(slot, i + Config::stages);
        if (i >= 0 || !dependent_launch) stream.fetch_weights(slot, i + Config::stages);
        ptx::cp_async_commit_group();
        if (++slot == Config::stages) slot = 0;
      }
      if (dependent_launch) ptx::griddepcontrol_launch_dependents();
      ptx::cp_async_wait_group<0>();
      __syncwarp();
      stream.write_partial_sums();
    }
    __syncthreads();
    write_sm80_decode_tile<Config>(storage, problem, epilogue, m0, tokens, n0, rows);
  }
}

}  // namespace detail

/// Why sm80_decode cannot run the problem on the device; "" where it can.
template <class Out>
std::string sm80_decode_refusal(const GemmProblem<Out>& problem, const DeviceProperties& device) {
  if (device.compute_capability < 80) return "a device of compute capability 8.0 or newer";
  if (!is_aligned(problem.x, 16) || !is_aligned(problem.w, 16)) return "x and w aligned to 16 bytes";
  if ((problem.m > 1 && problem.ldx % 16 != 0) || (problem.n > 1 && problem.ldw % 16 != 0)) {
    return "row strides of x and w that are multiples of 16";
  }
  return "";
}

/// Enqueues the problem with configuration `config_index` of Sm80DecodeConfigs. m, n >= 1. Throws Error where the device's shared
/// memory is too small for the configuration, CudaError where the launch is refused.
template <class Configs = Sm80DecodeConfigs, class Out, class Epilogue>
void launch_sm80_decode(const GemmProblem<Out>& problem, const Epilogue& epilogue, int config_index, const GemmOptions& options,
                        const DeviceProperties& device, cudaStream_t stream) {
  Configs::visit(config_index, [&](auto config) {
    using Config = decltype(config);
    constexpr std::size_t shared_bytes = sizeof(detail::Sm80DecodeStorage<Config, Epilogue>);
    if (shared_bytes > static_cast<std::size_t>(device.shared_memory_per_block)) {
      throw Error("gemm", "options.configuration", text("at most ", device.shared_memory_per_block, " bytes of shared memory"),
                  text(Config::name(), " with ", shared_bytes));
    }
    const auto kernel = detail::sm80_decode_kernel<Config, Out, Epilogue>;
    const int token_tiles = ceil_div(problem.m, Config::tokens);
    const int rows = sm80_decode_rows_per_cta(problem.n, Config::rows, static_cast<int>(shared_bytes), token_tiles, device);
    LaunchConfig launch_config;
    launch_config.grid = static_cast<unsigned>(ceil_div(problem.n, rows)) * static_cast<unsigned>(token_tiles);
    launch_config.block = Config::threads;
    launch_config.shared_bytes = shared_bytes;
    launch_config.dependent_launch = options.dependent_launch && waits_for_dependencies(kernel);
    launch_config.stream = stream;
    launch("sm80_decode", kernel, launch_config, problem, epilogue, rows, token_tiles, launch_config.dependent_launch);
  });
}

}  // namespace w8a8
