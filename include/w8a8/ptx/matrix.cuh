// ldmatrix, stmatrix, movmatrix: 8x8 matrices of 16-bit elements between shared memory and a warp's registers.
// PTX ISA, "Warp-Level Matrix Instructions: ldmatrix" (sm_75), "movmatrix" (sm_75) and "stmatrix" (sm_90).
#pragma once

#include <cstdint>

#include "w8a8/support/config.hpp"

namespace w8a8::ptx {

/// Lane l passes the address of row l % 8 of matrix l / 8 (16 bytes); r[i] receives bytes 4 * (lane % 4) .. + 3 of row lane / 4
/// of matrix i.
W8A8_DEVICE void ldmatrix_x4(std::uint32_t (&r)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/// The reverse of ldmatrix_x4.
W8A8_DEVICE void stmatrix_x4(std::uint32_t address, std::uint32_t r0, std::uint32_t r1, std::uint32_t r2, std::uint32_t r3) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(r0), "r"(r1), "r"(r2),
               "r"(r3)
               : "memory");
}

/// Likewise two matrices; only the addresses of lanes 0 to 15 count.
W8A8_DEVICE void stmatrix_x2(std::uint32_t address, std::uint32_t r0, std::uint32_t r1) {
  asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" ::"r"(address), "r"(r0), "r"(r1) : "memory");
}

/// stmatrix_x4 that stores each 8x8 matrix transposed.
W8A8_DEVICE void stmatrix_x4_trans(std::uint32_t address, std::uint32_t r0, std::uint32_t r1, std::uint32_t r2,
                                   std::uint32_t r3) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(r0), "r"(r1), "r"(r2),
               "r"(r3)
               : "memory");
}

/// The transpose of an 8x8 matrix: lane l holds elements 2 * (l % 4) and the next of row l / 4, before and after.
W8A8_DEVICE std::uint32_t movmatrix_trans(std::uint32_t r) {
  std::uint32_t transposed;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(transposed) : "r"(r));
  return transposed;
}

}  // namespace w8a8::ptx
