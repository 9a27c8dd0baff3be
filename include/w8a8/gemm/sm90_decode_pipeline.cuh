// sm90_decode's shared memory, how a problem is cut into tiles, and the producer that fills the ring.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "w8a8/ptx/address.cuh"
#include "w8a8/ptx/cache_policy.cuh"
#include "w8a8/ptx/dependent_launch.cuh"
#include "w8a8/ptx/mbarrier.cuh"
#include "w8a8/ptx/tma.cuh"
#include "w8a8/support/config.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8::detail {

template <class Config>
struct alignas(1024) Sm90DecodeStage {
  std::int8_t weights[Config::channels][Config::k_block];  // 128-byte swizzle, as TMA writes it
  std::int8_t tokens[Config::tokens][Config::k_block];     // likewise
};

template <class Config, class Epilogue>
struct Sm90DecodeStorage {
  Sm90DecodeStage<Config> ring[Config::stages];
  // Partial sums of the rows that this CTA owns, from the other one of its cluster.
  alignas(16) std::int32_t exchange[Config::splits > 1 ? Config::quads : 1][Config::splits > 1 ? Config::consumers : 1][4];
  std::uint64_t full[Config::stages], empty[Config::stages], exchanged;
  typename Epilogue::ColumnState columns[Config::channels];
  typename Epilogue::RowState rows[Config::tokens];
};

// How a problem is cut into tiles of equal height and width, the last ones aside.
struct Sm90DecodeTiling {
  int tokens, token_tiles;
  int channels;
};

// Where a CTA's tile lies.
struct Sm90DecodeTile {
  int m0, n0;               // first token and channel
  int rows, columns;        // tokens and channels that exist and are this tile's
  int first_block, blocks;  // this rank's range of K, in blocks of 128
};

template <class Config>
W8A8_DEVICE Sm90DecodeTile sm90_decode_tile(int m, int n, int k, const Sm90DecodeTiling& tiling) {
  const int cluster = blockIdx.x / Config::splits, rank = blockIdx.x % Config::splits;
  const int stripe = tiling.token_tiles == 1 ? cluster : cluster / tiling.token_tiles;
  Sm90DecodeTile tile;
  tile.m0 = (cluster - stripe * tiling.token_tiles) * tiling.tokens;
  tile.n0 = stripe * tiling.channels;
  tile.rows = min_of(m - tile.m0, tiling.tokens);
  tile.columns = min_of(n - tile.n0, tiling.channels);
  const int blocks = ceil_div(k, Config::k_block), each = ceil_div(blocks, Config::splits);
  tile.first_block = min_of(rank * each, blocks);
  tile.blocks = min_of(blocks - tile.first_block, each);
  return tile;
}

// One thread: all loads. Tokens go first in a stage, because TMA works in order and weights come from further away. x_map's box
// has the tile's rows, w_map's the tiling's channels.
template <class Config, class Storage>
W8A8_DEVICE void produce_sm90_decode(Storage& storage, const CUtensorMap* x_map, const CUtensorMap* w_map,
                                     const Sm90DecodeTile& tile, int box_channels, bool dependent_launch) {
  const std::uint32_t bytes = (tile.rows + box_channels) * Config::k_block;
  const auto load_tokens = [&](int slot, int block) {
    ptx::tma_load_2d(ptx::shared_address(storage.ring[slot].tokens), x_map, ptx::shared_address(&storage.full[slot]),
                     (tile.first_block + block) * Config::k_block, tile.m0, ptx::evict_last);
  };
  const auto load_weights = [&](int slot, int block) {
    ptx::tma_load_2d(ptx::shared_address(storage.ring[slot].weights), w_map, ptx::shared_address(&storage.full[slot]),
                     (tile.first_block + block) * Config::k_block, tile.n0, ptx::evict_first);
  };
  const int prefill = min_of(tile.blocks, Config::stages);
  for (int s = 0; s < prefill; ++s) {
    ptx::mbarrier_arrive_expect_tx(ptx::shared_address(&storage.full[s]), bytes);
    if (!dependent_launch) load_tokens(s, s);
    load_weights(s, s);
  }
  if (dependent_launch) {
    ptx::griddepcontrol_wait();
    for (int s = 0; s < prefill; ++s) load_tokens(s, s);
  }
  for (int i = Config::stages, slot = 0, parity = 0; i < tile.blocks; ++i) {
    ptx::mbarrier_wait_parity(ptx::shared_address(&storage.empty[slot]), parity);
    ptx::mbarrier_arrive_expect_tx(ptx::shared_address(&storage.full[slot]), bytes);
    load_tokens(slot, i);
    load_weights(slot, i);
    if (++slot == Config::stages) slot = 0, parity ^= 1;
  }
  if (dependent_launch) ptx::griddepcontrol_launch_dependents();
}

}  // namespace w8a8::detail
