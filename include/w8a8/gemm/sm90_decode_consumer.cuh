// sm90_decode's consumers: the main loop on wgmma, the exchange of partial sums, the epilogue.
#pragma once

#include <cstdint>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/gemm/problem.hpp"
#include "w8a8/gemm/sm90_decode_pipeline.cuh"
#include "w8a8/gemm/store_neighbours.cuh"
#include "w8a8/layout/gate_up.hpp"
#include "w8a8/ptx/address.cuh"
#include "w8a8/ptx/barrier.cuh"
#include "w8a8/ptx/cluster_memory.cuh"
#include "w8a8/ptx/dependent_launch.cuh"
#include "w8a8/ptx/matrix.cuh"
#include "w8a8/ptx/mbarrier.cuh"
#include "w8a8/ptx/wgmma.cuh"
#include "w8a8/support/config.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8::detail {

// A consumer warpgroup's sums over this rank's range of K: 64 tokens x wgmma_n channels, or 64 channels x wgmma_n tokens. Where a
// block is multiplied before the one before it is finished, the compiler must not see other writes to the accumulators.
template <class Config, class Storage>
W8A8_DEVICE void multiply_sm90_decode(Storage& storage, int blocks, int row_group, int column_group,
                                      std::int32_t (&accumulator)[Config::wgmma_n / 2]) {
  const auto release = [&](int slot) {
    if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(ptx::shared_address(&storage.empty[slot]));
  };
  if constexpr (!Config::overlaps) {
    W8A8_UNROLL
    for (int v = 0; v < Config::wgmma_n / 2; ++v) accumulator[v] = 0;
  }
  for (int i = 0, slot = 0, parity = 0; i < blocks; ++i) {
    ptx::mbarrier_wait_parity(ptx::shared_address(&storage.full[slot]), parity);
    const auto& stage = storage.ring[slot];
    const auto* const rows = Config::token_rows ? stage.tokens : stage.weights;
    const auto* const columns = Config::token_rows ? stage.weights : stage.tokens;
    const std::uint64_t a = ptx::wgmma_descriptor(ptx::shared_address(rows[64 * row_group]));
    const std::uint64_t b = ptx::wgmma_descriptor(ptx::shared_address(columns[Config::wgmma_n * column_group]));
    ptx::wgmma_fence();
    W8A8_UNROLL
    for (int k = 0; k < Config::k_block / 32; ++k) {
      ptx::Wgmma<Config::wgmma_n>::mma(accumulator, a + 2 * k, b + 2 * k, !Config::overlaps || i > 0 || k > 0);
    }
    ptx::wgmma_commit_group();
    if constexpr (Config::overlaps) {
      ptx::wgmma_wait_group<1>();
      if (i > 0) release(slot > 0 ? slot - 1 : Config::stages - 1);
    } else {
      ptx::wgmma_wait_group<0>();
      release(slot);
    }
    if (++slot == Config::stages) slot = 0, parity ^= 1;
  }
  ptx::wgmma_wait_group<0>();
  W8A8_UNROLL
  for (int v = 0; v < Config::wgmma_n / 2; ++v) {
    ptx::wgmma_touch(accumulator[v]);
    if (Config::overlaps && blocks == 0) accumulator[v] = 0;
  }
}

// Quad q of one half of a thread's sums: its four of 8 tokens x 16 channels. Tokens as wgmma's M: the half is one of the thread's
// two rows (lane / 4, and eight below), the quad two neighbouring channels and the two eight channels on. Channels as wgmma's M:
// the half is every second eight tokens, the quad two neighbouring tokens of channel lane / 4, and those of the channel eight
// below.
template <class Config>
W8A8_DEVICE void sm90_decode_quad(const std::int32_t (&accumulator)[Config::wgmma_n / 2], int q, bool lower,
                                  std::int32_t (&quad)[4]) {
  const std::int32_t* const v = accumulator + 8 * q;
  constexpr int step = Config::token_rows ? 2 : 4, second = Config::token_rows ? 4 : 2;
  W8A8_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int at = i % 2 + i / 2 * second;
    quad[i] = lower ? v[at + step] : v[at];
  }
}

// Makes of a warp's quads with channels as wgmma's M those with tokens as it: transposes two 8x8 matrices of 32-bit values, by
// halves.
W8A8_DEVICE void transpose_sm90_decode_quad(std::int32_t (&quad)[4]) {
  W8A8_UNROLL
  for (int i = 0; i < 4; i += 2) {
    const std::uint32_t low = ptx::movmatrix_trans(__byte_perm(quad[i], quad[i + 1], 0x5410));
    const std::uint32_t high = ptx::movmatrix_trans(__byte_perm(quad[i], quad[i + 1], 0x7632));
    quad[i] = __byte_perm(low, high, 0x5410), quad[i + 1] = __byte_perm(low, high, 0x7632);
  }
}

// Sends the partial sums of the rows that the cluster's other CTA owns.
template <class Config, class Storage>
W8A8_DEVICE void send_sm90_decode(Storage& storage, int rank, const std::int32_t (&accumulator)[Config::wgmma_n / 2]) {
  const int other = rank ^ 1;
  const std::uint32_t barrier = ptx::mapa(ptx::shared_address(&storage.exchanged), other);
  const std::uint32_t to = ptx::mapa(ptx::shared_address(storage.exchange[0][threadIdx.x]), other);
  W8A8_UNROLL
  for (int q = 0; q < Config::quads; ++q) {
    std::int32_t quad[4];
    sm90_decode_quad<Config>(accumulator, q, other == 1, quad);
    ptx::st_async(to + q * Config::consumers * 16, barrier, quad[0], quad[1], quad[2], quad[3]);
  }
}

// The outputs of a quad. Lanes swap one of their two pairs with the neighbour, so that each holds four neighbouring outputs, and
// four lanes 16 of them. With a gated epilogue the pairs are gate and up of two outputs.
template <class Config, class Out, class Epilogue, int Outputs>
W8A8_DEVICE void finish_sm90_decode_quad(const Sm90DecodeStorage<Config, Epilogue>& storage, const Epilogue& epilogue,
                                         const Sm90DecodeTile& tile, int row, int column, const std::int32_t (&sum)[4],
                                         Out (&out)[Outputs]) {
  const int m = min_of(row, tile.rows - 1);
  const auto value = [&](int v) {
    const int n = min_of(column + v % 2 + 8 * (v / 2), tile.columns - 1);
    return epilogue.apply(sum[v], storage.rows[m], storage.columns[n], tile.m0 + m, tile.n0 + n);
  };
  if constexpr (is_gated_v<Epilogue>) {
    const int to = layout::gated_column(tile.n0 + min_of(column, tile.columns - 2));
    W8A8_UNROLL
    for (int j = 0; j < 2; ++j) {
      out[j] = store_value<Out>(epilogue.combine(value(j), value(2 + j), storage.rows[m], tile.m0 + m, to + j));
    }
  } else {
    W8A8_UNROLL
    for (int v = 0; v < 4; ++v) out[v] = store_value<Out>(value(v));
    swap_with_neighbour(out);
  }
}

// A consumer thread: the states of its tile's rows and columns, its sums, their exchange with the cluster's other CTA, its
// outputs.
template <class Config, class Out, class Epilogue>
W8A8_DEVICE void consume_sm90_decode(Sm90DecodeStorage<Config, Epilogue>& storage, const GemmProblem<Out>& problem,
                                     const Epilogue& epilogue, const Sm90DecodeTile& tile, bool dependent_launch) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (dependent_launch) ptx::griddepcontrol_wait();
  W8A8_NO_UNROLL
  for (int i = threadIdx.x; i < tile.columns; i += Config::consumers) storage.columns[i] = epilogue.column(tile.n0 + i);
  W8A8_NO_UNROLL
  for (int i = threadIdx.x; i < tile.rows; i += Config::consumers) storage.rows[i] = epilogue.row(tile.m0 + i);

  const int group = warp / 4, row_group = group % Config::row_groups, column_group = group / Config::row_groups;
  std::int32_t accumulator[Config::wgmma_n / 2];
  multiply_sm90_decode<Config>(storage, tile.blocks, row_group, column_group, accumulator);

  const int rank = blockIdx.x % Config::splits;
  if constexpr (Config::splits > 1) {
    ptx::cluster_wait();
    send_sm90_decode<Config>(storage, rank, accumulator);
  }
  ptx::bar_sync(2, Config::consumers);  // the states are written
  if constexpr (Config::splits > 1) ptx::mbarrier_wait_parity_cluster(ptx::shared_address(&storage.exchanged), 0);
  constexpr int halves = Config::splits > 1 ? 1 : 2, outputs = is_gated_v<Epilogue> ? 2 : 4;
  Out out[halves][Config::quads][outputs];
  const int along_m = 64 * row_group + 16 * (warp % 4), along_n = Config::wgmma_n * column_group;  // of wgmma
  const int first_row = (Config::token_rows ? along_m : along_n) + lane / 4 + (Config::splits > 1 ? 8 * rank : 0);
  const int first_column = Config::token_rows ? along_n : along_m;
  constexpr int row_step = Config::token_rows ? 0 : 16, column_step = Config::token_rows ? 16 : 0;  // from quad to quad
  W8A8_UNROLL
  for (int q = 0; q < Config::quads; ++q) {
    W8A8_UNROLL
    for (int half = 0; half < halves; ++half) {
      std::int32_t sum[4];
      sm90_decode_quad<Config>(accumulator, q, Config::splits > 1 ? rank == 1 : half == 1, sum);
      if constexpr (Config::splits > 1) {
        const int4 part = *reinterpret_cast<const int4*>(storage.exchange[q][threadIdx.x]);
        sum[0] += part.x, sum[1] += part.y, sum[2] += part.z, sum[3] += part.w;
      }
      if constexpr (!Config::token_rows) transpose_sm90_decode_quad(sum);
      finish_sm90_decode_quad<Config>(storage, epilogue, tile, first_row + row_step * q + 8 * half,
                                      first_column + column_step * q + lane % 4 * 2, sum, out[half][q]);
    }
  }
  // Which of a quad's 16 channels (gated: eight outputs) a lane stores first.
  const int own = is_gated_v<Epilogue> ? lane % 4 * 2 : lane % 2 * 8 + lane % 4 / 2 * 4;
  W8A8_UNROLL
  for (int half = 0; half < halves; ++half) {
    W8A8_UNROLL
    for (int q = 0; q < Config::quads; ++q) {
      const int row = first_row + row_step * q + 8 * half;
      const int column = (first_column + column_step * q) / (is_gated_v<Epilogue> ? 2 : 1) + own;
      if (row >= tile.rows) continue;
      store_neighbours(problem.out + (tile.m0 + row) * problem.ldo + tile.n0 / (is_gated_v<Epilogue> ? 2 : 1) + column,
                       out[half][q], tile.columns / (is_gated_v<Epilogue> ? 2 : 1) - column);
    }
  }
}

}  // namespace w8a8::detail
