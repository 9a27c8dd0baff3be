// Decode: few tokens, any architecture from sm_80 on. The weight is read once, so the kernel is a weight stream with a little
// arithmetic beside it.
//
// The grid is as many CTAs as fill the device; each takes an equal share of the output channels and all of K. It works through
// its channels in stripes. Each warp streams its own chunks of 128 bytes of K (warp w the chunks w, w + Warps, ...) of all of a
// stripe's rows through a private ring in shared memory: cp.async, so no thread waits for a load and no warp waits for another.
// The weights are mma.sync's 16-row operand, the tokens its 8 columns. At the end of a stripe the warps' int32 partial sums meet;
// meanwhile the rings fill with the next stripe.
//
//     K ->   warp 0  warp 1  warp 2  warp 3  warp 0  warp 1 ...
//   row 0    [128 B] [128 B] [128 B] [128 B] [128 B] [128 B]      a 128-byte line is fetched by eight lanes, 16 bytes each;
//   row 1    [128 B] [128 B] [128 B] [128 B] [128 B] [128 B]      all warps together read each row contiguously
//   ...
//
// Bytes past K are zero-filled, so neither row padding nor the next row is ever read or counted.
//
// What a launch takes beyond the stream is latency, before the first byte is requested and after the last has arrived: a hundred
// instructions there cost about 0.25 us. So the weights' first lines are requested before anything that they do not need is
// computed, and a warp of its own reads the epilogue's states.
//
// Programmatic dependent launch (GemmOptions::dependent_launch): the weights that fit the ring are requested before
// griddepcontrol.wait, one chunk after the other, and the chunk behind them to L2; tokens, scales and everything else only after
// it. All at once they would stand in the memory's queues before the few reads and writes of the kernel that is waited for, which
// the whole device then waits for in turn. launch_dependents comes after the wait, never before:
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
#include "w8a8/layout/gate_up.hpp"
#include "w8a8/layout/mma_fragment.hpp"
#include "w8a8/layout/swizzle.hpp"
#include "w8a8/ptx/address.cuh"
#include "w8a8/ptx/cache_policy.cuh"
#include "w8a8/ptx/cp_async.cuh"
#include "w8a8/ptx/dependent_launch.cuh"
#include "w8a8/ptx/matrix.cuh"
#include "w8a8/ptx/mma.cuh"
#include "w8a8/ptx/opaque.cuh"
#include "w8a8/ptx/prefetch.cuh"
#include "w8a8/support/arch.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/device.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/support/launch.cuh"

namespace w8a8 {

/// Tokens (a multiple of 8, at most 96) of a CTA and Rows (output channels, a multiple of 16) of its stripes; Warps that split K;
/// Stages of 128 bytes of K in each warp's ring.
template <int Tokens, int Rows, int Warps, int Stages>
struct Sm80DecodeConfig {
  static_assert(Tokens % 8 == 0 && Tokens <= 96 && Rows % 16 == 0 && Stages >= 2,
                "Sm80DecodeConfig: tiles of 8 tokens and 16 rows, two stages");
  static constexpr int tokens = Tokens, rows = Rows, warps = Warps, stages = Stages;
  static constexpr int threads = 32 * (Warps + 1);  ///< one warp more reads the epilogue's states
  static constexpr int chunk = 128;                 ///< bytes of K a stage

  /// As a dependent: chunks are requested one after the other, the next to L2. More tokens start when the quantizer before them
  /// has waited (tuning/dependent_launch.hpp), which is too late for it: 32x4096x4096 8.65 us, all at once 7.32.
  static constexpr bool one_by_one = Tokens <= 16;

  static std::string name() { return text("sm80_decode/", Tokens, "x", Rows, "_w", Warps, "_s", Stages); }
};

/// The shipped configurations; tuning/sm80_decode.hpp chooses among them.
using Sm80DecodeConfigs = ConfigList<Sm80DecodeConfig<8, 32, 4, 4>,    // 0
                                     Sm80DecodeConfig<8, 48, 8, 3>,    // 1
                                     Sm80DecodeConfig<8, 64, 8, 2>,    // 2
                                     Sm80DecodeConfig<16, 32, 4, 4>,   // 3
                                     Sm80DecodeConfig<16, 32, 8, 4>,   // 4
                                     Sm80DecodeConfig<16, 48, 8, 3>,   // 5
                                     Sm80DecodeConfig<16, 64, 8, 2>,   // 6
                                     Sm80DecodeConfig<32, 48, 4, 4>,   // 7
                                     Sm80DecodeConfig<32, 64, 4, 4>,   // 8
                                     Sm80DecodeConfig<32, 112, 4, 3>,  // 9
                                     Sm80DecodeConfig<32, 64, 4, 2>,   // 10
                                     Sm80DecodeConfig<48, 48, 4, 3>,   // 11
                                     Sm80DecodeConfig<64, 32, 8, 2>,   // 12
                                     Sm80DecodeConfig<64, 48, 4, 3>,   // 13
                                     Sm80DecodeConfig<64, 64, 4, 3>,   // 14
                                     Sm80DecodeConfig<80, 48, 4, 3>,   // 15
                                     Sm80DecodeConfig<88, 48, 4, 3>,   // 16
                                     Sm80DecodeConfig<96, 48, 4, 3>,   // 17
                                     Sm80DecodeConfig<8, 48, 9, 2>,    // 18
                                     Sm80DecodeConfig<16, 48, 5, 3>>;  // 19

namespace detail {

template <class Config>
struct Sm80DecodeStage {
  std::int8_t weights[Config::rows][Config::chunk];   // swizzled: see layout::swizzled_offset<128>
  std::int8_t tokens[Config::tokens][Config::chunk];  // likewise
};

// At the end of a stripe a warp's partial sums take the place of the chunk it read last: 16x8 tile after tile as mma.sync leaves
// them, which is free of bank conflicts.
template <class Config>
union Sm80DecodeSlot {
  Sm80DecodeStage<Config> stage;
  int4 partial[Config::rows / 16][Config::tokens / 8][32];
};

template <class Config, class Epilogue>
struct Sm80DecodeStorage {
  Sm80DecodeSlot<Config> slots[Config::warps][Config::stages];
  typename Epilogue::ColumnState columns[Config::rows];
  typename Epilogue::RowState row_states[Config::tokens];
};

// What a CTA works on: some tokens, and some channels that it takes stripe by stripe.
struct Sm80DecodeTile {
  int m0, tokens;  // first token, and how many
  int n0, n_end;   // first channel, and the one after the last
  int rows;        // channels of a stripe
  int steps;       // chunks of K that each warp takes of a stripe; the last of some warps lie beyond K
  int first_step;  // the one that it takes first
};

// One warp's share of the work: its stream of chunks and its accumulators.
template <class Config>
class Sm80DecodeWarp {
  static constexpr int weight_tiles = Config::rows / 16, token_tiles = Config::tokens / 8;
  static constexpr int group = min_of(token_tiles, 4);  // token tiles whose fragments are loaded at a time
  static constexpr int slot_bytes = sizeof(Sm80DecodeSlot<Config>), weight_bytes = Config::rows * Config::chunk;
  static constexpr int chunk_stride = Config::warps * Config::chunk;  // from one of a warp's chunks to its next

  // Where a lane's next piece of 16 bytes comes from.
  struct Cursor {
    const std::int8_t* from;
    std::int64_t row_step, next_stripe;  // bytes to the lane's next row; to the next stripe
    int step, channels_left;             // of the stripe; from this stripe on
  };

 public:
  template <class Out>
  W8A8_DEVICE Sm80DecodeWarp(Sm80DecodeSlot<Config>* slots, int warp, int lane, const GemmProblem<Out>& problem,
                             const Sm80DecodeTile& tile)
      : slots_(ptx::opaque(ptx::shared_address(slots))),
        lane_(ptx::opaque(lane)),
        row_(ptx::opaque(lane / 8)),
        rows_(tile.rows),
        steps_(tile.steps),
        first_step_(tile.first_step),
        k_left_(ptx::opaque(problem.k - warp * Config::chunk)) {
    // Eight lanes fetch a line of 128 bytes, a warp four rows; every second four are swizzled alike.
    const int row = lane / 8, piece = lane % 8;
    to_even_ = ptx::opaque(layout::swizzled_offset<128>(row, piece));
    to_odd_ = ptx::opaque(layout::swizzled_offset<128>(row + 4, piece) - 4 * Config::chunk);
    first_k_ = tile.first_step * chunk_stride + warp * Config::chunk + 16 * piece;
    w_.row_step = ptx::opaque(4 * problem.ldw);
    w_.from = problem.w + (tile.n0 + row) * problem.ldw + first_k_;
    w_.next_stripe = tile.rows * problem.ldw;
    w_.step = tile.first_step;
    w_.channels_left = tile.n_end - tile.n0;
  }

  W8A8_DEVICE void fetch_weights(int slot) {
    fetch<Config::rows, true>(slots_ + slot * slot_bytes, w_, min_of(w_.channels_left, rows_) - row_);
  }

  /// Brings the chunk of weights that is fetched next to L2: a line a lane.
  W8A8_DEVICE void prefetch_weights() const {
    if (w_.step * chunk_stride >= k_left_ || w_.channels_left <= 0) return;
    const int piece = lane_ % 8, below = min_of(w_.channels_left, rows_) - row_;
    const std::int8_t* from = w_.from - 16 * piece + piece * w_.row_step;
    W8A8_UNROLL
    for (int j = 0; j < Config::rows / 4; j += 8) {
      if (4 * (j + piece) < below) ptx::prefetch_l2(from);
      from += 8 * w_.row_step;
    }
  }

  /// Before the first fetch_tokens().
  template <class Out>
  W8A8_DEVICE void open_tokens(const GemmProblem<Out>& problem, const Sm80DecodeTile& tile) {
    x_.row_step = ptx::opaque(4 * problem.ldx);
    x_.from = problem.x + (tile.m0 + row_) * problem.ldx + first_k_;
    x_.next_stripe = 0;
    x_.step = tile.first_step;
    x_.channels_left = tile.n_end - tile.n0;
    tokens_below_ = tile.tokens - row_;
  }

  W8A8_DEVICE void fetch_tokens(int slot) {
    fetch<Config::tokens, false>(slots_ + slot * slot_bytes + weight_bytes, x_, tokens_below_);
  }

  W8A8_DEVICE void clear() {
    W8A8_UNROLL
    for (int r = 0; r < weight_tiles; ++r) {
      W8A8_UNROLL
      for (int v = 0; v < token_tiles * 4; ++v) accumulator_[r][v / 4][v % 4] = 0;
    }
  }

  W8A8_DEVICE void multiply(int slot, int step) {
    if (step * chunk_stride >= k_left_) return;
    const std::uint32_t weights = slots_ + slot * slot_bytes, tokens = weights + weight_bytes;
    const layout::Coordinate a = layout::ldmatrix_16x32(lane_), b = layout::ldmatrix_8x64(lane_);
    W8A8_UNROLL
    for (int half_chunk = 0; half_chunk < 2; ++half_chunk) {  // 64 bytes of K: two k32 steps
      // All of ldmatrix before all of mma: their latencies add up otherwise, and a slot that is being read is not being refilled.
      // Of many tokens, a group is multiplied while the next is on its way.
      std::uint32_t y[2][group][4], u[2][weight_tiles][4];
      const std::uint32_t y_at = tokens + layout::swizzled_offset<128>(b.row, 4 * half_chunk + b.column);
      const auto load_tokens = [&](int first) {
        W8A8_UNROLL
        for (int t = first; t < min_of(first + group, token_tiles); ++t) {
          ptx::ldmatrix_x4(y[first / group % 2][t - first], y_at + 8 * t * Config::chunk);
        }
      };
      load_tokens(0);
      W8A8_UNROLL
      for (int step = 0; step < 2; ++step) {
        const std::uint32_t u_at = weights + layout::swizzled_offset<128>(a.row, 4 * half_chunk + 2 * step + a.column);
        W8A8_UNROLL
        for (int r = 0; r < weight_tiles; ++r) ptx::ldmatrix_x4(u[step][r], u_at + 16 * r * Config::chunk);
      }
      W8A8_UNROLL
      for (int first = 0; first < token_tiles; first += group) {
        load_tokens(first + group);
        W8A8_UNROLL
        for (int step = 0; step < 2; ++step) {
          W8A8_UNROLL
          for (int r = 0; r < weight_tiles; ++r) {
            W8A8_UNROLL
            for (int t = first; t < min_of(first + group, token_tiles); ++t) {
              const std::uint32_t(&fragment)[4] = y[first / group % 2][t - first];
              ptx::mma_m16n8k32(accumulator_[r][t], u[step][r], fragment[2 * step], fragment[2 * step + 1]);
            }
          }
        }
      }
    }
  }

  W8A8_DEVICE void write_partial_sums(Sm80DecodeSlot<Config>& slot) const {
    W8A8_UNROLL
    for (int r = 0; r < weight_tiles; ++r) {
      W8A8_UNROLL
      for (int t = 0; t < token_tiles; ++t) {
        const std::int32_t(&c)[4] = accumulator_[r][t];
        slot.partial[r][t][lane_] = make_int4(c[0], c[1], c[2], c[3]);
      }
    }
  }

 private:
  // Few instructions matter here: until the ring is full nothing else runs. opaque() keeps the addresses running sums; the
  // compiler would rather multiply. Only the last chunk of K can hold a lane's piece that is cut by K or lies beyond it; those
  // bytes become zeros. `below`: how many rows exist from this lane's first one on.
  template <int Rows, bool ReadOnce>
  W8A8_DEVICE void fetch(std::uint32_t to, Cursor& cursor, int below) const {
    const int left = k_left_ - cursor.step * chunk_stride;
    const std::int8_t* from = cursor.from;
    if (left >= Config::chunk && cursor.channels_left > 0) {
      const std::uint32_t even = ptx::opaque(to + to_even_), odd = ptx::opaque(to + to_odd_);
      W8A8_UNROLL
      for (int j = 0; j < Rows / 4; ++j) {
        const std::uint32_t line = (j % 2 == 0 ? even : odd) + 4 * j * Config::chunk;
        if (4 * j < below) {
          if constexpr (ReadOnce) {
            ptx::cp_async_16(line, from, ptx::evict_first);
          } else {
            ptx::cp_async<16>(line, from, 16);
          }
        }
        from = ptx::opaque(from + cursor.row_step);
      }
    } else if (left > 0 && cursor.channels_left > 0) {
      const int valid = min_of(max_of(left - lane_ % 8 * 16, 0), 16);
      W8A8_NO_UNROLL
      for (int j = 0; j < Rows / 4; ++j) {
        const std::uint32_t line = to + (j % 2 == 0 ? to_even_ : to_odd_) + 4 * j * Config::chunk;
        if (4 * j < below) ptx::cp_async<16>(line, from, valid);
        from += cursor.row_step;
      }
    }
    cursor.from += chunk_stride;
    if (++cursor.step == steps_) {
      cursor.from -= steps_ * chunk_stride;
      cursor.step = 0;
    }
    if (cursor.step == first_step_) {
      cursor.from += cursor.next_stripe;
      cursor.channels_left -= rows_;
    }
  }

  std::uint32_t slots_;
  int lane_, row_, rows_, steps_, first_step_, k_left_, to_even_, to_odd_, first_k_, tokens_below_;
  Cursor w_, x_;
  std::int32_t accumulator_[weight_tiles][token_tiles][4];
};

// The sum over the warps, the epilogue and the store of a stripe: a lane's four values of a 16x8 tile at a time. A gated epilogue
// makes two of them: the up projection's channels lie eight below the gate's.
template <class Config, class Out, class Epilogue>
W8A8_DEVICE void write_sm80_decode_stripe(const Sm80DecodeStorage<Config, Epilogue>& storage, int slot,
                                          const GemmProblem<Out>& problem, const Epilogue& epilogue, int m0, int tokens, int n0,
                                          int rows) {
  constexpr int token_tiles = Config::tokens / 8, tiles = Config::rows / 16 * token_tiles;
  constexpr bool gated = is_gated_v<Epilogue>;
  constexpr int values = gated ? 2 : 4;
  const int lane = threadIdx.x % 32;
  W8A8_NO_UNROLL
  for (int i = threadIdx.x / 32; i < tiles; i += Config::threads / 32) {
    std::int32_t sum[4] = {};
    W8A8_UNROLL
    for (int w = 0; w < Config::warps; ++w) {
      const int4 part = storage.slots[w][slot].partial[i / token_tiles][i % token_tiles][lane];
      sum[0] += part.x, sum[1] += part.y, sum[2] += part.z, sum[3] += part.w;
    }
    const layout::Coordinate c = layout::mma_c(lane, 0);  // value v: v % 2 tokens and 8 (v / 2) channels on
    const int m = i % token_tiles * 8 + c.column, n = i / token_tiles * 16 + c.row;
    const auto value = [&](int v) {
      const int row = min_of(m + v % 2, tokens - 1), column = min_of(n + v / 2 * 8, rows - 1);
      return epilogue.apply(sum[v], storage.row_states[row], storage.columns[column], m0 + row, n0 + column);
    };
    Out out[values];
    Out* const to = problem.out + (m0 + m) * problem.ldo + (gated ? layout::gated_column(n0 + n) : n0 + n);
    W8A8_UNROLL
    for (int v = 0; v < values; ++v) {
      if constexpr (gated) {
        const int row = min_of(m + v, tokens - 1);
        out[v] = store_value<Out>(epilogue.combine(value(v), value(v + 2), storage.row_states[row], m0 + row,
                                                   layout::gated_column(n0 + min_of(n, rows - 1))));
      } else {
        out[v] = store_value<Out>(value(v));
      }
    }
    W8A8_UNROLL
    for (int v = 0; v < values; ++v) {
      if (m + v % 2 < tokens && n + v / 2 * 8 < rows) to[v % 2 * problem.ldo + v / 2 * 8] = out[v];
    }
  }
}

// The bound of one CTA an SM is not an occupancy but a licence to use registers: without it the compiler, counting on other warps
// to hide latency, puts every ldmatrix right before its mma.
template <class Config, class Out, class Epilogue>
__global__ void __launch_bounds__(Config::threads, 1)
    sm80_decode_kernel(const __grid_constant__ GemmProblem<Out> problem, const __grid_constant__ Sm80DecodeShare share,
                       bool dependent_launch, const __grid_constant__ Epilogue epilogue) {
  if constexpr (arch::has_int8_mma_sync) {
    using Storage = Sm80DecodeStorage<Config, Epilogue>;
    extern __shared__ __align__(1024) std::uint8_t shared_bytes[];
    Storage& storage = *reinterpret_cast<Storage*>(shared_bytes);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const bool streams = warp < Config::warps;
    Sm80DecodeTile tile;
    tile.n0 = blockIdx.y * share.rows_per_cta;
    tile.n_end = tile.n0 + min_of(problem.n - tile.n0, share.rows_per_cta);
    tile.rows = share.rows_per_stripe;
    tile.steps = ceil_div(problem.k, Config::warps * Config::chunk);
    tile.first_step = sm80_decode_first_step(blockIdx.y, tile.steps, share.spread);
    tile.m0 = blockIdx.x * Config::tokens;
    tile.tokens = min_of(problem.m - tile.m0, Config::tokens);

    Sm80DecodeWarp<Config> stream(storage.slots[warp % Config::warps], warp, lane, problem, tile);
    if (streams) {
      if (dependent_launch) {
        W8A8_NO_UNROLL
        for (int s = 0; s < Config::stages - 1; ++s) {
          stream.fetch_weights(s);
          if constexpr (Config::one_by_one) {
            ptx::cp_async_commit_group();
            ptx::cp_async_wait_group<0>();
          }
        }
        if constexpr (Config::one_by_one) stream.prefetch_weights();
        ptx::griddepcontrol_wait();
      }
      W8A8_UNROLL
      for (int s = 0; s < Config::stages - 1; ++s) {
        if (!dependent_launch) stream.fetch_weights(s);
        if (s == 0) stream.open_tokens(problem, tile);
        stream.fetch_tokens(s);
        ptx::cp_async_commit_group();
      }
    } else {
      if (dependent_launch) ptx::griddepcontrol_wait();
      W8A8_UNROLL
      for (int i = 0; i < Config::tokens; i += 32) {
        if (i + lane < tile.tokens) storage.row_states[i + lane] = epilogue.row(tile.m0 + i + lane);
      }
    }

    int slot = 0, free_slot = Config::stages - 1;  // the one to read next, and the one before it
    W8A8_NO_UNROLL
    for (int n = tile.n0;; n += tile.rows) {
      const int rows = min_of(tile.n_end - n, tile.rows);
      if (streams) {
        stream.clear();
        W8A8_NO_UNROLL
        for (int i = 0, step = tile.first_step; i < tile.steps; ++i) {
          stream.fetch_weights(free_slot);
          stream.fetch_tokens(free_slot);
          ptx::cp_async_commit_group();
          ptx::cp_async_wait_group<Config::stages - 1>();
          __syncwarp();  // every lane's copies of this chunk have landed
          stream.multiply(slot, step);
          if (++step == tile.steps) step = 0;
          __syncwarp();  // every lane has read the slot
          free_slot = slot;
          if (++slot == Config::stages) slot = 0;
        }
        stream.write_partial_sums(storage.slots[warp][free_slot]);
      } else {
        W8A8_NO_UNROLL
        for (int i = lane; i < rows; i += 32) storage.columns[i] = epilogue.column(n + i);
        free_slot = (free_slot + tile.steps) % Config::stages;
      }
      const bool last = n + rows == tile.n_end;
      if (dependent_launch && last) ptx::griddepcontrol_launch_dependents();
      __syncthreads();
      write_sm80_decode_stripe<Config>(storage, free_slot, problem, epilogue, tile.m0, tile.tokens, n, rows);
      if (last) break;
      __syncthreads();  // the slot may be filled again
    }
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

/// Enqueues the problem with configuration `config_index` of Sm80DecodeConfigs, which fits the device's shared memory. m, n >= 1.
/// Throws CudaError where the launch is refused.
template <class Configs = Sm80DecodeConfigs, class Out, class Epilogue>
void launch_sm80_decode(const GemmProblem<Out>& problem, const Epilogue& epilogue, int config_index, const GemmOptions& options,
                        const DeviceProperties& device, cudaStream_t stream) {
  Configs::visit(config_index, [&](auto config) {
    using Config = decltype(config);
    constexpr std::size_t shared_bytes = sizeof(detail::Sm80DecodeStorage<Config, Epilogue>);
    const auto kernel = detail::sm80_decode_kernel<Config, Out, Epilogue>;
    const int token_tiles = ceil_div(problem.m, Config::tokens);
    const Sm80DecodeShare share = sm80_decode_share(problem.n, problem.ldw, Config::rows, static_cast<int>(shared_bytes),
                                                    token_tiles, is_gated_v<Epilogue> ? 2 * layout::gate_block : 4, device);
    LaunchConfig launch_config;
    launch_config.grid = static_cast<unsigned>(token_tiles);
    launch_config.grid_y = static_cast<unsigned>(ceil_div(problem.n, share.rows_per_cta));
    launch_config.block = Config::threads;
    launch_config.shared_bytes = shared_bytes;
    launch_config.dependent_launch = options.dependent_launch && waits_for_dependencies(kernel);
    launch_config.stream = stream;
    launch("sm80_decode", kernel, launch_config, problem, share, launch_config.dependent_launch, epilogue);
  });
}

}  // namespace w8a8
