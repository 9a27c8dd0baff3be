// Which lane of a warp holds which element of the mma.sync m16n8k32 int8 fragments, and where ldmatrix finds them.
// PTX ISA, "Matrix Fragments for mma.m16n8k32".
#pragma once

#include "w8a8/support/config.hpp"

namespace w8a8::layout {

struct Coordinate {
  int row, column;
};

/// Row m and depth k of byte `byte` (0-3) of register `r` (0-3) of the 16x32 operand A.
W8A8_HOST_DEVICE constexpr Coordinate mma_a(int lane, int r, int byte) {
  return {lane / 4 + 8 * (r % 2), 4 * (lane % 4) + byte + 16 * (r / 2)};
}

/// Column n (as row) and depth k (as column) of byte `byte` of register `r` (0-1) of the 32x8 operand B, seen as 8 rows of 32.
W8A8_HOST_DEVICE constexpr Coordinate mma_b(int lane, int r, int byte) { return {lane / 4, 4 * (lane % 4) + byte + 16 * r}; }

/// Row m and column n of accumulator register `r` (0-3).
W8A8_HOST_DEVICE constexpr Coordinate mma_c(int lane, int r) { return {lane / 4 + 8 * (r / 2), 2 * (lane % 4) + r % 2}; }

/// Row m (of a warpgroup's 64) and column n of value `v` of a wgmma m64nN accumulator; warp 0-3 of the warpgroup.
W8A8_HOST_DEVICE constexpr Coordinate wgmma_c(int warp, int lane, int v) {
  return {16 * warp + lane / 4 + 8 * (v / 2 % 2), 2 * (lane % 4) + v % 2 + 8 * (v / 4)};
}

/// ldmatrix.x4 over 16 rows x 32 bytes: the row and 16-byte piece whose address `lane` passes. Registers 0-3 are then operand A
/// of rows 0-15; seen as two 8-row operands B, registers {0, 2} are rows 0-7 and {1, 3} rows 8-15.
W8A8_HOST_DEVICE constexpr Coordinate ldmatrix_16x32(int lane) { return {lane % 8 + 8 * (lane / 8 % 2), lane / 16}; }

/// ldmatrix.x4 over 16 rows x 32 bytes seen as two 8-row operands B: registers {0, 1} are rows 0-7 and {2, 3} rows 8-15, so that
/// each operand is a pair of neighbouring registers.
W8A8_HOST_DEVICE constexpr Coordinate ldmatrix_2x8x32(int lane) { return {lane % 8 + 8 * (lane / 16), lane / 8 % 2}; }

/// ldmatrix.x4 over 8 rows x 64 bytes: registers {0, 1} are operand B of the first 32 bytes of depth, {2, 3} of the second.
W8A8_HOST_DEVICE constexpr Coordinate ldmatrix_8x64(int lane) { return {lane % 8, lane / 8}; }

}  // namespace w8a8::layout
