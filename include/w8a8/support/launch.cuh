// Kernel launches: the attributes of one launch, checked, with nothing remembered between calls.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "w8a8/support/error.hpp"

namespace w8a8 {

struct LaunchConfig {
  unsigned grid = 1;
  unsigned block = 1;
  unsigned cluster = 1;           ///< CTAs a cluster; above 1 needs sm_90
  std::size_t shared_bytes = 0;   ///< dynamic shared memory
  bool dependent_launch = false;  ///< programmatic dependent launch; needs sm_90
  cudaStream_t stream = nullptr;
  unsigned grid_y = 1;  ///< the grid's second dimension; at most 65535
};

namespace detail {

struct LaunchAttributes {
  cudaLaunchConfig_t config{};
  cudaLaunchAttribute attributes[2]{};

  explicit LaunchAttributes(const LaunchConfig& launch) {
    config.gridDim = dim3(launch.grid, launch.grid_y);
    config.blockDim = dim3(launch.block);
    config.dynamicSmemBytes = launch.shared_bytes;
    config.stream = launch.stream;
    config.attrs = attributes;
    if (launch.cluster > 1) {
      cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
      attribute.id = cudaLaunchAttributeClusterDimension;
      attribute.val.clusterDim.x = launch.cluster;
      attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    }
    if (launch.dependent_launch) {
      cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
      attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
      attribute.val.programmaticStreamSerializationAllowed = 1;
    }
  }
  LaunchAttributes(const LaunchAttributes&) = delete;
};

}  // namespace detail

/// Lets `kernel` use that much dynamic shared memory. Above 48 KB a launch needs this; launch() does it by itself.
template <class... Parameters>
void allow_shared_memory(void (*kernel)(Parameters...), std::size_t bytes) {
  if (bytes > 48 * 1024) {
    check_cuda(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(bytes)),
               "cudaFuncSetAttribute(MaxDynamicSharedMemorySize)");
  }
}

/// Launches `kernel`. Throws CudaError that names `name` where the launch is refused.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), const LaunchConfig& config, const Arguments&... arguments) {
  allow_shared_memory(kernel, config.shared_bytes);
  const detail::LaunchAttributes attributes(config);
  check_cuda(cudaLaunchKernelEx(&attributes.config, kernel, Parameters(arguments)...), name);
}

/// The architecture that the code of `kernel` for the current device was generated for: 80, 86, 90 and so on. Lower than the
/// device's own where just-in-time compilation brought older code there.
template <class... Parameters>
int code_architecture(void (*kernel)(Parameters...)) {
  cudaFuncAttributes attributes{};
  check_cuda(cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(kernel)), "cudaFuncGetAttributes");
  return attributes.ptxVersion;
}

/// True where that code holds griddepcontrol.wait (arch::has_dependent_launch). Code of an older architecture would not wait, so
/// it must not be launched as a dependent.
template <class... Parameters>
bool waits_for_dependencies(void (*kernel)(Parameters...)) {
  return code_architecture(kernel) >= 90;
}

/// True where that code uses TMA if it can (arch::has_tma), so that it wants tensor maps.
template <class... Parameters>
bool copies_with_tma(void (*kernel)(Parameters...)) {
  return code_architecture(kernel) >= 90;
}

/// True where the code that the current device would run for `kernel` holds the real body. A kernel that needs an architecture's
/// own features is bounded by arch::launch_bound(threads), which is 1 where it was compiled without them.
template <class... Parameters>
bool is_compiled_for_device(void (*kernel)(Parameters...), int threads) {
  cudaFuncAttributes attributes{};
  if (cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(kernel)) != cudaSuccess) {
    cudaGetLastError();
    return false;
  }
  return attributes.maxThreadsPerBlock >= threads;
}

}  // namespace w8a8
