#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "measure_limits.hpp"
#include "plan.hpp"
#include "w8a8/ptx/address.cuh"
#include "w8a8/ptx/mma.cuh"
#include "w8a8/ptx/tma.cuh"
#include "w8a8/ptx/wgmma.cuh"
#include "w8a8/support/arch.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/support/launch.cuh"
#include "w8a8/tensor/tensor.hpp"

namespace w8a8::bench {

namespace {

__global__ void empty_kernel() {}

LaunchConfig grid_of(int blocks, int threads, cudaStream_t stream, std::size_t shared_bytes = 0) {
  LaunchConfig config;
  config.grid = static_cast<unsigned>(blocks);
  config.block = static_cast<unsigned>(threads);
  config.shared_bytes = shared_bytes;
  config.stream = stream;
  return config;
}

// ---- DRAM ------------------------------------------------------------------------------------------------------------------

constexpr int stream_threads = 512;

/// Reads `vectors` 16-byte vectors and keeps one word of them, which is stored if it is a value that does not occur.
template <int Unroll>
__global__ void __launch_bounds__(stream_threads) stream_read_kernel(const uint4* data, std::int64_t vectors, unsigned* never) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * stream_threads;
  unsigned seen = 0;
  std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * stream_threads + threadIdx.x;
  for (; i + (Unroll - 1) * step < vectors; i += Unroll * step) {
    uint4 value[Unroll];
    W8A8_UNROLL
    for (int u = 0; u < Unroll; ++u) value[u] = __ldcs(data + i + u * step);
    W8A8_UNROLL
    for (int u = 0; u < Unroll; ++u) seen |= value[u].x & value[u].y & value[u].z & value[u].w;
  }
  for (; i < vectors; i += step) {
    const uint4 value = __ldcs(data + i);
    seen |= value.x & value.y & value.z & value.w;
  }
  if (seen == 0x80808080u) *never = seen;  // the code -128 does not occur in the data
}

__global__ void __launch_bounds__(stream_threads) stream_copy_kernel(const uint4* from, uint4* to, std::int64_t vectors) {
  constexpr int unroll = 4;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * stream_threads;
  std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * stream_threads + threadIdx.x;
  for (; i + (unroll - 1) * step < vectors; i += unroll * step) {
    uint4 value[unroll];
    W8A8_UNROLL
    for (int u = 0; u < unroll; ++u) value[u] = __ldcs(from + i + u * step);
    W8A8_UNROLL
    for (int u = 0; u < unroll; ++u) __stcs(to + i + u * step, value[u]);
  }
  for (; i < vectors; i += step) __stcs(to + i, __ldcs(from + i));
}

// ---- Tensor cores: as fast as the instruction issues, on random operands that are already where it reads them ----------------

/// Two warpgroups of m64n256k32, operands in shared memory: the widest shape.
struct WgmmaRate {
  static constexpr int threads = 256, stages = 4;
  struct Shared {
    std::int8_t a[stages][128 * 128];  // (stage, rows of both warpgroups x 128 bytes of K)
    std::int8_t b[stages][256 * 128];
  };
  static constexpr std::size_t shared_bytes = sizeof(Shared) + 1024;                       // for the alignment of swizzled tiles
  static double operations(int iterations) { return 2.0 * 128 * 256 * 128 * iterations; }  // of a CTA
};

__global__ void __launch_bounds__(arch::launch_bound(arch::has_wgmma, WgmmaRate::threads), 1)
    wgmma_rate_kernel(const uint4* data, int iterations, int* never) {
  if constexpr (arch::has_wgmma) {
    extern __shared__ std::uint8_t raw[];
    auto& shared = *reinterpret_cast<WgmmaRate::Shared*>((reinterpret_cast<std::uintptr_t>(raw) + 1023) / 1024 * 1024);
    constexpr int vectors = sizeof(WgmmaRate::Shared) / sizeof(uint4);
    for (int i = threadIdx.x; i < vectors; i += WgmmaRate::threads) {
      reinterpret_cast<uint4*>(&shared)[i] = data[static_cast<std::int64_t>(blockIdx.x) * vectors + i];
    }
    ptx::fence_proxy_async();
    __syncthreads();

    const int warpgroup = threadIdx.x / 128;
    std::int32_t acc[128];
    W8A8_UNROLL
    for (int i = 0; i < 128; ++i) acc[i] = 0;
    const std::uint64_t a0 = ptx::wgmma_descriptor(ptx::shared_address(shared.a[0] + warpgroup * 64 * 128));
    const std::uint64_t b0 = ptx::wgmma_descriptor(ptx::shared_address(shared.b[0]));
    for (int i = 0; i < iterations; ++i) {
      const int stage = i % WgmmaRate::stages;
      const std::uint64_t a = a0 + stage * (sizeof shared.a[0] / 16), b = b0 + stage * (sizeof shared.b[0] / 16);
      ptx::wgmma_fence();
      W8A8_UNROLL
      for (int k = 0; k < 4; ++k) ptx::Wgmma<256>::mma(acc, a + 2 * k, b + 2 * k, 1);
      ptx::wgmma_commit_group();
      ptx::wgmma_wait_group<1>();
    }
    ptx::wgmma_wait_group<0>();
    std::int32_t all = -1;
    W8A8_UNROLL
    for (int i = 0; i < 128; ++i) {
      ptx::wgmma_touch(acc[i]);
      all &= acc[i];
    }
    if (all == 0x12345678 && iterations < 0) *never = all;
  }
}

/// A warp keeps 4 x 4 tiles of m16n8k32 and their operands in registers; 16 warps an SM.
struct MmaRate {
  static constexpr int threads = 256, tiles_m = 4, tiles_n = 4;
  static double operations(int iterations) { return 2.0 * 16 * 8 * 32 * tiles_m * tiles_n * (threads / 32) * iterations; }
};

__global__ void __launch_bounds__(MmaRate::threads, 2) mma_rate_kernel(const std::uint32_t* data, int iterations, int* never) {
  if constexpr (arch::has_int8_mma_sync) {
    constexpr int words = MmaRate::tiles_m * 4 + MmaRate::tiles_n * 2;
    data += (static_cast<std::int64_t>(blockIdx.x) * MmaRate::threads + threadIdx.x) * words;
    std::uint32_t a[MmaRate::tiles_m][4], b[MmaRate::tiles_n][2];
    std::int32_t c[MmaRate::tiles_m][MmaRate::tiles_n][4] = {};
    for (int i = 0; i < MmaRate::tiles_m; ++i) {
      for (int j = 0; j < 4; ++j) a[i][j] = *data++;
    }
    for (int i = 0; i < MmaRate::tiles_n; ++i) {
      for (int j = 0; j < 2; ++j) b[i][j] = *data++;
    }
    for (int i = 0; i < iterations; ++i) {
      W8A8_UNROLL
      for (int m = 0; m < MmaRate::tiles_m; ++m) {
        W8A8_UNROLL
        for (int n = 0; n < MmaRate::tiles_n; ++n) ptx::mma_m16n8k32(c[m][n], a[m], b[n][0], b[n][1]);
      }
    }
    std::int32_t all = -1;
    W8A8_UNROLL
    for (int m = 0; m < MmaRate::tiles_m; ++m) {
      W8A8_UNROLL
      for (int n = 0; n < MmaRate::tiles_n; ++n) all &= c[m][n][0] & c[m][n][1] & c[m][n][2] & c[m][n][3];
    }
    if (all == 0x12345678 && iterations < 0) *never = all;
  }
}

// ---- Measuring -------------------------------------------------------------------------------------------------------------

/// Median time of a launch of each of these, in microseconds; short idling, for they wait for memory and not for the clock.
std::vector<double> burst_us(Timer& timer, const std::vector<std::pair<Work, double>>& works) {
  std::vector<Contender> contenders;
  for (const auto& [work, guess_us] : works) contenders.push_back(timer.prepare(work, guess_us));
  timer.burst(contenders, 1, 0.02);
  std::vector<double> times;
  for (const Contender& contender : contenders) times.push_back(median(contender.burst));
  return times;
}

struct Rate {
  double burst_us, sustained_us;
};

Rate rate(Timer& timer, Work work, double guess_us) {
  std::vector<Contender> contenders;
  contenders.push_back(timer.prepare(std::move(work), guess_us));
  timer.burst(contenders, 2);
  timer.sustained(contenders, false);
  return {median(contenders[0].burst), median(contenders[0].sustained)};
}

}  // namespace

std::size_t limits_pool_bytes() {
  std::size_t free = 0, total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return std::min<std::size_t>(std::size_t{1} << 30, free / 4 / 4096 * 4096);
}

void stream_read(int way, const void* data, std::size_t bytes, int multiprocessors, unsigned* never, cudaStream_t stream) {
  const auto run = [&](auto kernel, int blocks_per_sm) {
    launch("stream_read_kernel", kernel, grid_of(blocks_per_sm * multiprocessors, stream_threads, stream),
           static_cast<const uint4*>(data), static_cast<std::int64_t>(bytes / 16), never);
  };
  switch (way) {
    case 0: return run(stream_read_kernel<1>, 4);
    case 1: return run(stream_read_kernel<2>, 4);
    case 2: return run(stream_read_kernel<4>, 2);
    default: return run(stream_read_kernel<8>, 2);
  }
}

Limits measure_limits(Timer& timer, const DeviceProperties& device, std::int8_t* pool, std::size_t bytes, bool only_memory) {
  Limits limits;
  Tensor<std::int32_t, 1, Device> never({4});
  const int sms = device.multiprocessors;

  // An empty kernel.
  limits.empty_kernel_us = burst_us(
      timer,
      {{{"empty", 1, [](int, cudaStream_t stream) { launch("empty_kernel", empty_kernel, grid_of(1, 32, stream)); }}, 1.0}})[0];

  // Streaming reads: for each size the best of a few ways to read; rotating sets, as everywhere.
  const auto read_work = [&](int way, double size) {
    const std::size_t set_bytes = round_up<std::size_t>(static_cast<std::size_t>(size), 4096);
    const int sets = std::max(1, std::min(input_sets(size, device.l2_bytes), static_cast<int>(bytes / set_bytes)));
    return Work{"read", sets, [=, &never](int set, cudaStream_t stream) {
                  stream_read(way, pool + set * set_bytes, static_cast<std::size_t>(size), sms,
                              reinterpret_cast<unsigned*>(never.data()), stream);
                }};
  };
  for (const double size : {1e6, 2.5e6, 5e6, 10e6, 25e6, 45e6, 67e6, 117e6, 235e6, 470e6, 1e9}) {
    if (size > static_cast<double>(bytes)) break;
    const double guess = 2 + size / 3e6;
    std::vector<std::pair<Work, double>> works;
    for (int way = 0; way < stream_read_ways; ++way) works.emplace_back(read_work(way, size), guess);
    const std::vector<double> times = burst_us(timer, works);
    const double best = *std::min_element(times.begin(), times.end());
    limits.stream_read.push_back({size, best});
    limits.dram_read_gbps = std::max(limits.dram_read_gbps, size >= reuse_bytes ? size / best * 1e-3 : 0.0);
  }

  // A copy of one half to the other.
  const std::size_t half_bytes = bytes / 2 / 4096 * 4096;
  const double copy_us =
      burst_us(timer, {{{"copy", 1,
                         [=](int, cudaStream_t stream) {
                           launch("stream_copy_kernel", stream_copy_kernel, grid_of(4 * sms, stream_threads, stream),
                                  reinterpret_cast<const uint4*>(pool), reinterpret_cast<uint4*>(pool + half_bytes),
                                  static_cast<std::int64_t>(half_bytes / 16));
                         }},
                        static_cast<double>(half_bytes) / 1e6}})[0];
  limits.dram_copy_gbps = 2.0 * static_cast<double>(half_bytes) / copy_us * 1e-3;

  if (only_memory) return limits;

  // Tensor cores. A launch lasts two to three milliseconds, so that filling shared memory does not count.
  constexpr int iterations = 4000, mma_iterations = 15000;
  if (is_compiled_for_device(wgmma_rate_kernel, WgmmaRate::threads) && bytes >= sms * sizeof(WgmmaRate::Shared)) {
    const Rate time =
        rate(timer,
             {"wgmma", 1,
              [=, &never](int, cudaStream_t stream) {
                launch("wgmma_rate_kernel", wgmma_rate_kernel, grid_of(sms, WgmmaRate::threads, stream, WgmmaRate::shared_bytes),
                       reinterpret_cast<const uint4*>(pool), iterations, never.data());
              }},
             1000);
    limits.wgmma_s8_tops = sms * WgmmaRate::operations(iterations) / time.burst_us * 1e-6;
    limits.wgmma_s8_tops_sustained = sms * WgmmaRate::operations(iterations) / time.sustained_us * 1e-6;
  }
  if (device.compute_capability >= 80) {
    const Rate time = rate(timer,
                           {"mma.sync", 1,
                            [=, &never](int, cudaStream_t stream) {
                              launch("mma_rate_kernel", mma_rate_kernel, grid_of(2 * sms, MmaRate::threads, stream),
                                     reinterpret_cast<const std::uint32_t*>(pool), mma_iterations, never.data());
                            }},
                           1000);
    limits.mma_sync_s8_tops = 2 * sms * MmaRate::operations(mma_iterations) / time.burst_us * 1e-6;
    limits.mma_sync_s8_tops_sustained = 2 * sms * MmaRate::operations(mma_iterations) / time.sustained_us * 1e-6;
  }
  return limits;
}

}  // namespace w8a8::bench
