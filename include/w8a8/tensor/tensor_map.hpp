// TMA descriptors ("tensor maps"), encoded without linking the driver library.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>

#include "w8a8/support/error.hpp"

namespace w8a8 {

/// What a box of a tensor map looks like in shared memory.
struct TensorMapBox {
  CUtensorMapSwizzle swizzle = CU_TENSOR_MAP_SWIZZLE_128B;
  CUtensorMapL2promotion promotion = CU_TENSOR_MAP_L2_PROMOTION_L2_256B;
};

/// Encodes the map of a tensor of `Rank` dimensions, innermost first: `sizes` and `box` count elements, `strides` are those of
/// dimensions 1 .. Rank-1 in bytes. TMA wants the address and the strides to be multiples of 16 bytes, box sides of at most 256
/// and an inner box of at most the swizzle's bytes. The map holds the pointer: it is valid as long as the memory is. Costs a few
/// hundred nanoseconds of host time. Throws CudaError where the driver refuses.
template <std::size_t Rank>
CUtensorMap encode_tensor_map(CUtensorMapDataType type, const void* address, const std::array<std::uint64_t, Rank>& sizes,
                              const std::array<std::uint64_t, Rank - 1>& strides, const std::array<std::uint32_t, Rank>& box,
                              TensorMapBox shape = {}) {
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
#if CUDART_VERSION >= 12050
  check_cuda(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &found),
             "cudaGetDriverEntryPointByVersion(cuTensorMapEncodeTiled)");
#else
  check_cuda(cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &entry, cudaEnableDefault, &found),
             "cudaGetDriverEntryPoint(cuTensorMapEncodeTiled)");
#endif
  if (found != cudaDriverEntryPointSuccess) throw CudaError(cudaErrorNotSupported, "cuTensorMapEncodeTiled (driver too old)");
  std::array<cuuint64_t, Rank> size{};
  std::array<cuuint64_t, Rank> stride{};  // one more than used: never an empty array
  std::array<cuuint32_t, Rank> sides{}, steps{};
  for (std::size_t d = 0; d < Rank; ++d) {
    size[d] = sizes[d];
    sides[d] = box[d];
    steps[d] = 1;
    if (d + 1 < Rank) stride[d] = strides[d];
  }
  CUtensorMap map{};
  const CUresult result = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(entry)(
      &map, type, static_cast<cuuint32_t>(Rank), const_cast<void*>(address), size.data(), stride.data(), sides.data(),
      steps.data(), CU_TENSOR_MAP_INTERLEAVE_NONE, shape.swizzle, shape.promotion, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) throw CudaError(cudaErrorInvalidValue, "cuTensorMapEncodeTiled");
  return map;
}

}  // namespace w8a8
