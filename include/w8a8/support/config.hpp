// Function-space macros and the library's version.
#pragma once

#define W8A8_VERSION_MAJOR 0
#define W8A8_VERSION_MINOR 1
#define W8A8_VERSION_PATCH 0

#if defined(__CUDACC__)
#define W8A8_HOST_DEVICE __host__ __device__ __forceinline__
#define W8A8_DEVICE __device__ __forceinline__
#define W8A8_UNROLL _Pragma("unroll")
#define W8A8_NO_UNROLL _Pragma("unroll 1")
#else
#define W8A8_HOST_DEVICE inline
#define W8A8_UNROLL
#define W8A8_NO_UNROLL
#endif
