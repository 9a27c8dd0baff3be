// Device tensors, copies between the spaces, and views read by kernels.
#include <cstdint>
#include <vector>

#include "support/gpu.hpp"
#include "support/guarded.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/tensor/tensor.hpp"
#include "w8a8/tensor/tensor_map.hpp"

using namespace w8a8;

namespace {

__global__ void transpose(MatrixView<const int, Device> in, MatrixView<int, Device> out) {
  const int r = static_cast<int>(threadIdx.x), c = static_cast<int>(blockIdx.x);
  out(c, r) = in(r, c);
}

__global__ void add_one(TensorView<float, 3, Device> view) { view(blockIdx.x, blockIdx.y, threadIdx.x) += 1.0f; }

}  // namespace

TEST_CASE("elements come back from the device as they went", "[tensor][gpu][sanitizer]") {
  W8A8_REQUIRE_GPU();
  Tensor<int, 2, Host> host({37, 53});
  for (std::int64_t i = 0; i < host.size(); ++i) host.data()[i] = static_cast<int>(i * i);
  w8a8_test::Stream stream;
  const auto device = clone_to<Device>(host.view(), stream);
  CHECK(is_aligned(device.data(), 256));
  Tensor<int, 2, Device> second({37, 53});
  copy(device.view(), second.view(), stream);
  const auto back = clone_to<Host>(second.view(), stream);
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < host.size(); ++i) wrong += back.data()[i] != host.data()[i];
  CHECK(wrong == 0);
}

TEST_CASE("kernels index strided views", "[tensor][gpu][sanitizer]") {
  W8A8_REQUIRE_GPU();
  w8a8_test::Guarded<int, Device> in(5, 7, 11, 3), out(7, 5, 8, 1);
  std::vector<int> values(35), expected(35);
  for (int r = 0; r < 5; ++r) {
    for (int c = 0; c < 7; ++c)
      expected[static_cast<std::size_t>(c * 5 + r)] = values[static_cast<std::size_t>(r * 7 + c)] = 100 * r + c;
  }
  in.fill(values);
  transpose<<<7, 5>>>(in.view(), out.view());
  check_cuda(cudaGetLastError(), "transpose");
  CHECK(out.values() == expected);
  CHECK(out.damage() == "");
  CHECK(in.change() == "");
}

TEST_CASE("kernels index views of rank 3", "[tensor][gpu]") {
  W8A8_REQUIRE_GPU();
  Tensor<float, 3, Host> host({2, 3, 4});
  for (int i = 0; i < 24; ++i) host.data()[i] = static_cast<float>(i);
  auto device = clone_to<Device>(host.view());
  add_one<<<dim3(2, 3), 4>>>(device.view());
  check_cuda(cudaGetLastError(), "add_one");
  const auto back = clone_to<Host>(device.view());
  int wrong = 0;
  for (int i = 0; i < 24; ++i) wrong += back.data()[i] != static_cast<float>(i + 1);
  CHECK(wrong == 0);
}

TEST_CASE("more memory than the device has is refused with CudaError", "[tensor][gpu]") {
  W8A8_REQUIRE_GPU();
  try {
    Tensor<std::int8_t, 1, Device>({std::int64_t{1} << 50});
    FAIL("did not throw");
  } catch (const CudaError& error) {
    CHECK(error.code() == cudaErrorMemoryAllocation);
    CHECK(error.call() == "cudaMalloc");
  }
  CHECK(cudaGetLastError() == cudaSuccess);
}

TEST_CASE("a tensor map that TMA cannot have is refused", "[tensor][gpu]") {
  W8A8_REQUIRE_SM90();
  Tensor<std::uint8_t, 2, Device> tensor({64, 128});
  const auto encode = [&](const std::uint8_t* address, std::uint64_t stride, std::uint32_t width) {
    return encode_tensor_map<2>(CU_TENSOR_MAP_DATA_TYPE_UINT8, address, {128, 64}, {stride}, {width, 64});
  };
  CHECK_NOTHROW(encode(tensor.data(), 128, 128));
  CHECK_THROWS_AS(encode(tensor.data() + 8, 128, 128), CudaError);  // address not a multiple of 16
  CHECK_THROWS_AS(encode(tensor.data(), 136, 128), CudaError);      // stride not a multiple of 16
  CHECK_THROWS_AS(encode(tensor.data(), 128, 256), CudaError);      // box wider than the swizzle
}
