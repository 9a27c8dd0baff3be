// What the library asks of a device. Nothing is cached: an attribute query costs well under a microsecond.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "w8a8/support/error.hpp"

namespace w8a8 {

/// The properties that choose kernels and configurations.
struct DeviceProperties {
  int ordinal = 0;
  int compute_capability = 0;       ///< 10 * major + minor: 80, 86, 87, 89, 90, 100, 120 ...
  int multiprocessors = 0;          ///< number of SMs
  int shared_memory_per_block = 0;  ///< bytes, with opt-in
  int l2_bytes = 0;
};

inline int device_attribute(cudaDeviceAttr attribute, int ordinal) {
  int value = 0;
  check_cuda(cudaDeviceGetAttribute(&value, attribute, ordinal), "cudaDeviceGetAttribute");
  return value;
}

/// Properties of the calling thread's current device. Throws CudaError where there is none.
inline DeviceProperties current_device() {
  DeviceProperties device;
  check_cuda(cudaGetDevice(&device.ordinal), "cudaGetDevice");
  const int d = device.ordinal;
  device.compute_capability =
      10 * device_attribute(cudaDevAttrComputeCapabilityMajor, d) + device_attribute(cudaDevAttrComputeCapabilityMinor, d);
  device.multiprocessors = device_attribute(cudaDevAttrMultiProcessorCount, d);
  device.shared_memory_per_block = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, d);
  device.l2_bytes = device_attribute(cudaDevAttrL2CacheSize, d);
  return device;
}

/// True where a CUDA device can be used by this process.
inline bool has_cuda_device() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return false;
  }
  return count > 0;
}

/// The marketing name of a device, such as "NVIDIA H200".
inline std::string device_name(int ordinal) {
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties");
  return properties.name;
}

}  // namespace w8a8
