// The SM clock and the driver's version from NVML, which is looked for at run time: without it, nothing is known.
#pragma once

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <memory>
#include <string>

namespace w8a8::bench {

/// The current device's SM clock. NVML's own header need not be there: four functions of its stable C interface are called.
class SmClock {
 public:
  SmClock() : library_(dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL), &close) {
    if (!library_) return;
    const auto initialize = symbol<int (*)()>("nvmlInit_v2");
    const auto by_bus = symbol<int (*)(const char*, void**)>("nvmlDeviceGetHandleByPciBusId_v2");
    clock_info_ = symbol<int (*)(void*, int, unsigned*)>("nvmlDeviceGetClockInfo");
    driver_version_ = symbol<int (*)(char*, unsigned)>("nvmlSystemGetDriverVersion");
    int ordinal = 0;
    char bus[32] = {};
    if (!initialize || initialize() != 0) {
      driver_version_ = nullptr;
      return;
    }
    if (!by_bus || cudaGetDevice(&ordinal) != cudaSuccess || cudaDeviceGetPCIBusId(bus, sizeof bus, ordinal) != cudaSuccess ||
        by_bus(bus, &device_) != 0) {
      device_ = nullptr;
    }
  }

  /// 0 where it cannot be told.
  double megahertz() const {
    constexpr int sm_clock = 1;  // NVML_CLOCK_SM
    unsigned value = 0;
    return device_ && clock_info_ && clock_info_(device_, sm_clock, &value) == 0 ? value : 0.0;
  }

  /// "580.159.04"; "unknown" where it cannot be told.
  std::string driver_version() const {
    char version[96] = {};
    return driver_version_ && driver_version_(version, sizeof version) == 0 ? version : "unknown";
  }

 private:
  static void close(void* library) {
    if (library) dlclose(library);
  }
  template <class Function>
  Function symbol(const char* name) const {
    return reinterpret_cast<Function>(dlsym(library_.get(), name));
  }

  std::unique_ptr<void, void (*)(void*)> library_;
  void* device_ = nullptr;
  int (*clock_info_)(void*, int, unsigned*) = nullptr;
  int (*driver_version_)(char*, unsigned) = nullptr;
};

}  // namespace w8a8::bench
