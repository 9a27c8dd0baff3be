// The architecture header: what the device code being compiled may use, by name. Outside ptx/ this is the only place that looks
// at __CUDA_ARCH__. In host code every capability is false.
#pragma once

namespace w8a8::arch {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
/// cp.async, ldmatrix and mma.sync m16n8k32 on int8.
inline constexpr bool has_int8_mma_sync = true;
#else
inline constexpr bool has_int8_mma_sync = false;
#endif

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
/// wgmma, setmaxnreg, TMA, clusters: code generated for sm_90a (not for plain sm_90).
inline constexpr bool has_wgmma = true;
#else
inline constexpr bool has_wgmma = false;
#endif

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
/// TMA loads, bulk copies, and the mbarriers that count their bytes.
inline constexpr bool has_tma = true;
#else
inline constexpr bool has_tma = false;
#endif

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
/// griddepcontrol: programmatic dependent launch.
inline constexpr bool has_dependent_launch = true;
#else
inline constexpr bool has_dependent_launch = false;
#endif

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
/// Code generated for it takes a few registers more than that for its predecessors.
inline constexpr bool takes_more_registers = true;
#else
inline constexpr bool takes_more_registers = false;
#endif

/// The launch bound of a kernel that needs `available`: its thread count, or 1 where the body was compiled away. A launch then
/// fails, and is_compiled_for_device() (support/launch.cuh) tells beforehand.
constexpr int launch_bound(bool available, int threads) { return available ? threads : 1; }

}  // namespace w8a8::arch
