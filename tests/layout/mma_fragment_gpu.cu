// The maps of layout/ against the hardware: one swizzled tile, ldmatrix and mma.sync give the product of two small matrices.
#include <cstdint>
#include <vector>

#include "support/compare.hpp"
#include "support/gpu.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"
#include "w8a8/layout/mma_fragment.hpp"
#include "w8a8/layout/swizzle.hpp"
#include "w8a8/ptx/address.cuh"
#include "w8a8/ptx/matrix.cuh"
#include "w8a8/ptx/mma.cuh"
#include "w8a8/support/arch.hpp"
#include "w8a8/tensor/tensor.hpp"

using namespace w8a8;

namespace {

constexpr int M = 16, N = 16, K = 128;

// One warp: D (16 x 16) = X (16 x 128) W^T (16 x 128), both operands in swizzled rows of 128 bytes.
__global__ void one_warp(MatrixView<const std::int8_t, Device> x, MatrixView<const std::int8_t, Device> w,
                         MatrixView<std::int32_t, Device> out) {
  if constexpr (arch::has_int8_mma_sync) {
    __shared__ alignas(1024) std::int8_t tile[2][M * K];
    const int lane = static_cast<int>(threadIdx.x);
    for (int i = lane; i < M * K; i += 32) {
      const int row = i / K, at = layout::swizzled_offset<K>(row, i % K / 16) + i % 16;
      tile[0][at] = x(row, i % K);
      tile[1][at] = w(row, i % K);
    }
    __syncwarp();
    std::int32_t c[2][4] = {};
    const layout::Coordinate from = layout::ldmatrix_16x32(lane);
    for (int piece = 0; piece < K / 16; piece += 2) {
      const int at = layout::swizzled_offset<K>(from.row, piece + from.column);
      std::uint32_t a[4], b[4];
      ptx::ldmatrix_x4(a, ptx::shared_address(tile[0] + at));
      ptx::ldmatrix_x4(b, ptx::shared_address(tile[1] + at));
      ptx::mma_m16n8k32(c[0], a, b[0], b[2]);
      ptx::mma_m16n8k32(c[1], a, b[1], b[3]);
    }
    for (int r = 0; r < 4; ++r) {
      const layout::Coordinate to = layout::mma_c(lane, r);
      out(to.row, to.column) = c[0][r];
      out(to.row, to.column + 8) = c[1][r];
    }
  }
}

}  // namespace

TEST_CASE("swizzle, ldmatrix and mma.sync together give a product", "[layout][gpu][sanitizer]") {
  W8A8_REQUIRE_GPU();
  w8a8_test::Random random(11);
  const std::vector<std::int8_t> x = w8a8_test::uniform_int8(random, M * K), w = w8a8_test::uniform_int8(random, N * K);
  const auto device_x = clone_to<Device>(MatrixView<const std::int8_t, Host>(x.data(), {M, K}));
  const auto device_w = clone_to<Device>(MatrixView<const std::int8_t, Host>(w.data(), {N, K}));
  Tensor<std::int32_t, 2, Device> out({M, N});
  one_warp<<<1, 32>>>(device_x.view(), device_w.view(), out.view());
  check_cuda(cudaGetLastError(), "one_warp");
  const auto result = clone_to<Host>(out.view());
  CHECK(w8a8_test::difference(w8a8_test::reference_gemm<std::int32_t>(x, w, M, N, K, Identity{}),
                              std::vector<std::int32_t>(result.data(), result.data() + M * N), N) == "");
}
