// TMA with the 128-byte swizzle, the wgmma descriptor and the accumulator map together: one tile of each width that ptx/wgmma.cuh
// offers gives the product, bit for bit, and TMA's tile in shared memory is the one that layout/swizzle.hpp describes.
#include <cstdint>
#include <vector>

#include "support/compare.hpp"
#include "support/gpu.hpp"
#include "support/guarded.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"
#include "w8a8/layout/mma_fragment.hpp"
#include "w8a8/layout/swizzle.hpp"
#include "w8a8/ptx/address.cuh"
#include "w8a8/ptx/mbarrier.cuh"
#include "w8a8/ptx/tma.cuh"
#include "w8a8/ptx/wgmma.cuh"
#include "w8a8/support/arch.hpp"
#include "w8a8/tensor/tensor.hpp"
#include "w8a8/tensor/tensor_map.hpp"

using namespace w8a8;

namespace {

constexpr int M = 64, K = 128;

template <int N>
struct Storage {
  std::int8_t x[M * K];  // tiles at multiples of 1024 bytes
  std::int8_t w[N * K];
  std::uint64_t barrier;
};

/// Loads the box at (0, 0) of both maps and waits for it.
template <int N>
W8A8_DEVICE void load_tiles(Storage<N>& storage, const CUtensorMap& x_map, const CUtensorMap& w_map) {
  const std::uint32_t barrier = ptx::shared_address(&storage.barrier);
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(barrier, 1);
    ptx::fence_mbarrier_init();
    ptx::mbarrier_arrive_expect_tx(barrier, (M + N) * K);
    ptx::tma_load_2d(ptx::shared_address(storage.x), &x_map, barrier, 0, 0);
    ptx::tma_load_2d(ptx::shared_address(storage.w), &w_map, barrier, 0, 0);
  }
  __syncthreads();
  ptx::mbarrier_wait_parity(barrier, 0);
}

template <int N>
__global__ void __launch_bounds__(arch::launch_bound(arch::has_wgmma, 128), 1)
    multiply_tile(const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map,
                  MatrixView<std::int32_t, Device> out, VectorView<std::int8_t, Device> x_tile) {
  if constexpr (arch::has_wgmma) {
    __shared__ alignas(1024) Storage<N> storage;
    load_tiles(storage, x_map, w_map);
    for (int i = static_cast<int>(threadIdx.x); i < M * K; i += 128) x_tile(i) = storage.x[i];
    std::int32_t acc[N / 2];
    const std::uint64_t x = ptx::wgmma_descriptor(ptx::shared_address(storage.x));
    const std::uint64_t w = ptx::wgmma_descriptor(ptx::shared_address(storage.w));
    ptx::wgmma_fence();
    W8A8_UNROLL
    for (int k = 0; k < K / 32; ++k) ptx::Wgmma<N>::mma(acc, x + 2 * k, w + 2 * k, k > 0);
    ptx::wgmma_commit_group();
    ptx::wgmma_wait_group<0>();
    W8A8_UNROLL
    for (int v = 0; v < N / 2; ++v) {
      ptx::wgmma_touch(acc[v]);
      const auto at = layout::wgmma_c(static_cast<int>(threadIdx.x) / 32, static_cast<int>(threadIdx.x) % 32, v);
      out(at.row, at.column) = acc[v];
    }
  }
}

template <int N>
struct Width {
  static constexpr int value = N;
};

CUtensorMap map_of(const std::int8_t* address, int rows, int box_rows) {
  return encode_tensor_map<2>(CU_TENSOR_MAP_DATA_TYPE_UINT8, address, {K, static_cast<std::uint64_t>(rows)}, {K},
                              {K, static_cast<std::uint32_t>(box_rows)});
}

/// Runs one tile of width N on `rows` rows of X and `columns` of W that there are; TMA fills the rest of the tile with zeros.
template <int N>
void check_width(int rows, int columns) {
  w8a8_test::Random random(100 + N);
  std::vector<std::int8_t> x = w8a8_test::uniform_int8(random, rows * K), w = w8a8_test::uniform_int8(random, columns * K);
  const auto device_x = clone_to<Device>(MatrixView<const std::int8_t, Host>(x.data(), {rows, K}));
  const auto device_w = clone_to<Device>(MatrixView<const std::int8_t, Host>(w.data(), {columns, K}));
  w8a8_test::Guarded<std::int32_t, Device> out(M, N);
  Tensor<std::int8_t, 1, Device> x_tile({M * K});
  multiply_tile<N><<<1, 128>>>(map_of(device_x.data(), rows, M), map_of(device_w.data(), columns, N), out.view(), x_tile.view());
  check_cuda(cudaGetLastError(), "multiply_tile");

  x.resize(M * K, 0), w.resize(N * K, 0);
  INFO("N = " << N << ", rows " << rows << ", columns " << columns);
  CHECK(w8a8_test::difference(w8a8_test::reference_gemm<std::int32_t>(x, w, M, N, K, Identity{}), out.values(), N) == "");
  CHECK(out.damage() == "");

  const auto tile = clone_to<Host>(x_tile.view());
  int wrong = 0;
  for (int row = 0; row < M; ++row) {
    for (int k = 0; k < K; ++k) {
      wrong += tile(layout::swizzled_offset<K>(row, k / 16) + k % 16) != x[static_cast<std::size_t>(row * K + k)];
    }
  }
  CHECK(wrong == 0);
}

}  // namespace

TEMPLATE_TEST_CASE("TMA, swizzle, wgmma and its accumulator map give a product", "[ptx][gpu]", Width<8>, Width<16>, Width<24>,
                   Width<32>, Width<48>, Width<64>, Width<80>, Width<96>, Width<112>, Width<128>, Width<144>, Width<160>,
                   Width<176>, Width<192>, Width<208>, Width<224>, Width<240>, Width<256>) {
  W8A8_REQUIRE_SM90();
  check_width<TestType::value>(M, TestType::value);
}

TEST_CASE("TMA fills with zeros what lies outside the matrices", "[ptx][gpu][sanitizer]") {
  W8A8_REQUIRE_SM90();
  check_width<64>(37, 41);
  check_width<64>(1, 1);
}
