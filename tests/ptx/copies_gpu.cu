// cp.async with a tail, ldmatrix and stmatrix as each other's reverse, and TMA stores at an edge.
#include <cstdint>
#include <cstring>
#include <vector>

#include "support/compare.hpp"
#include "support/gpu.hpp"
#include "support/guarded.hpp"
#include "support/random.hpp"
#include "w8a8/layout/mma_fragment.hpp"
#include "w8a8/ptx/address.cuh"
#include "w8a8/ptx/cp_async.cuh"
#include "w8a8/ptx/matrix.cuh"
#include "w8a8/ptx/tma.cuh"
#include "w8a8/support/arch.hpp"
#include "w8a8/tensor/tensor.hpp"
#include "w8a8/tensor/tensor_map.hpp"

using namespace w8a8;

namespace {

/// Lane l copies Bytes bytes at l * Bytes of which l % (Bytes + 1) are valid.
template <int Bytes>
__global__ void copy_tails(VectorView<const std::int8_t, Device> in, VectorView<std::int8_t, Device> out) {
  if constexpr (arch::has_int8_mma_sync) {
    __shared__ alignas(16) std::int8_t tile[32 * Bytes];
    const int lane = static_cast<int>(threadIdx.x);
    for (int i = 0; i < Bytes; ++i) tile[lane * Bytes + i] = 77;
    __syncwarp();
    ptx::cp_async<Bytes>(ptx::shared_address(tile + lane * Bytes), in.data() + lane * Bytes, lane % (Bytes + 1));
    ptx::cp_async_commit_group();
    ptx::cp_async_wait_group<0>();
    for (int i = 0; i < Bytes; ++i) out(lane * Bytes + i) = tile[lane * Bytes + i];
  }
}

/// Four 8x8 matrices of 16-bit elements, loaded with ldmatrix and stored with stmatrix, straight or transposed.
template <bool Transposed>
__global__ void move_matrices(VectorView<const std::int16_t, Device> in, VectorView<std::int16_t, Device> out) {
  if constexpr (arch::has_wgmma) {
    __shared__ alignas(16) std::int16_t from[256], to[256];
    const int lane = static_cast<int>(threadIdx.x);
    for (int i = lane; i < 256; i += 32) from[i] = in(i);
    __syncwarp();
    std::uint32_t r[4];
    ptx::ldmatrix_x4(r, ptx::shared_address(from + 8 * lane));  // lane l: row l % 8 of matrix l / 8
    const std::uint32_t target = ptx::shared_address(to + 8 * lane);
    if constexpr (Transposed) {
      ptx::stmatrix_x4_trans(target, r[0], r[1], r[2], r[3]);
    } else {
      ptx::stmatrix_x4(target, r[0], r[1], r[2], r[3]);
    }
    __syncwarp();
    for (int i = lane; i < 256; i += 32) out(i) = to[i];
  }
}

constexpr int box = 32;

/// Stores a box of 32 x 32 floats, all 1.5, at (x, y).
__global__ void store_box(const __grid_constant__ CUtensorMap map, int x, int y) {
  if constexpr (arch::has_wgmma) {
    __shared__ alignas(128) float tile[box * box];
    for (int i = static_cast<int>(threadIdx.x); i < box * box; i += 32) tile[i] = 1.5f;
    ptx::fence_proxy_async();
    __syncwarp();
    if (threadIdx.x == 0) {
      ptx::tma_store_2d(&map, ptx::shared_address(tile), x, y);
      ptx::bulk_commit_group();
      ptx::bulk_wait_group_read<0>();
    }
  }
}

template <int Bytes>
struct Size {
  static constexpr int value = Bytes;
};

}  // namespace

TEMPLATE_TEST_CASE("cp.async reads the valid bytes and fills up with zeros", "[ptx][gpu][sanitizer]", Size<4>, Size<8>,
                   Size<16>) {
  W8A8_REQUIRE_GPU();
  constexpr int bytes = TestType::value, count = 32 * bytes;
  w8a8_test::Random random(31);
  std::vector<std::int8_t> values = w8a8_test::uniform_int8(random, count);
  const auto in = clone_to<Device>(VectorView<const std::int8_t, Host>(values.data(), {count}));
  w8a8_test::Guarded<std::int8_t, Device> out(1, count);
  copy_tails<bytes><<<1, 32>>>(in.view(), out.vector());
  check_cuda(cudaGetLastError(), "copy_tails");
  for (int i = 0; i < count; ++i) {
    if (i % bytes >= i / bytes % (bytes + 1)) values[static_cast<std::size_t>(i)] = 0;
  }
  CHECK(w8a8_test::difference(values, out.values()) == "");
}

TEST_CASE("stmatrix is the reverse of ldmatrix, and transposes", "[ptx][gpu][sanitizer]") {
  W8A8_REQUIRE_SM90();
  std::vector<std::int16_t> values(256), transposed(256);
  for (int i = 0; i < 256; ++i) values[static_cast<std::size_t>(i)] = static_cast<std::int16_t>(i);
  for (int i = 0; i < 256; ++i)
    transposed[static_cast<std::size_t>(i)] = static_cast<std::int16_t>(i / 64 * 64 + i % 8 * 8 + i / 8 % 8);
  const auto in = clone_to<Device>(VectorView<const std::int16_t, Host>(values.data(), {256}));
  Tensor<std::int16_t, 1, Device> out({256});
  const auto result = [&] {
    check_cuda(cudaGetLastError(), "move_matrices");
    const auto host = clone_to<Host>(out.view());
    return std::vector<std::int16_t>(host.data(), host.data() + 256);
  };
  move_matrices<false><<<1, 32>>>(in.view(), out.view());
  CHECK(result() == values);
  move_matrices<true><<<1, 32>>>(in.view(), out.view());
  CHECK(result() == transposed);
}

TEST_CASE("TMA drops what it would store outside the matrix", "[ptx][gpu][sanitizer]") {
  W8A8_REQUIRE_SM90();
  const int rows = 45, columns = 52, stride = 64;
  w8a8_test::Guarded<float, Device> out(rows, columns, stride);
  const CUtensorMap map = encode_tensor_map<2>(
      CU_TENSOR_MAP_DATA_TYPE_FLOAT32, out.data(), {static_cast<std::uint64_t>(columns), static_cast<std::uint64_t>(rows)},
      {stride * sizeof(float)}, {box, box}, {CU_TENSOR_MAP_SWIZZLE_NONE, CU_TENSOR_MAP_L2_PROMOTION_NONE});
  for (int y = 0; y < rows; y += box) {
    for (int x = 0; x < columns; x += box) {
      store_box<<<1, 32>>>(map, x, y);
      check_cuda(cudaGetLastError(), "store_box");
    }
  }
  CHECK(w8a8_test::difference(std::vector<float>(static_cast<std::size_t>(rows * columns), 1.5f), out.values(), columns) == "");
  CHECK(out.damage() == "");
}
