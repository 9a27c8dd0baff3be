// wgmma m64nNk32 on int8, both operands in shared memory, K-major: sm_90a.
// PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions: wgmma.mma_async".
#pragma once

#include <cstdint>

#include "w8a8/support/config.hpp"

namespace w8a8::ptx {

W8A8_DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

W8A8_DEVICE void wgmma_commit_group() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/// Waits until at most Pending of the warpgroup's wgmma groups are incomplete.
template <int Pending>
W8A8_DEVICE void wgmma_wait_group() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}

/// Tells the compiler that an accumulator may have changed here: no use of it moves across.
W8A8_DEVICE void wgmma_touch(std::int32_t& accumulator) { asm volatile("" : "+r"(accumulator)::"memory"); }

/// The matrix descriptor of a K-major operand in 128-byte rows with the 128-byte swizzle: start address, leading offset 1
/// (unused), stride 1024 bytes between groups of eight rows, layout 1. The tile is aligned to 1024 bytes; a k32 step adds 2.
/// PTX ISA, "Matrix Descriptor Format".
W8A8_DEVICE std::uint64_t wgmma_descriptor(std::uint32_t address) {
  return static_cast<std::uint64_t>((address & 0x3FFFFu) >> 4) | std::uint64_t{1} << 16 | std::uint64_t{64} << 32 |
         std::uint64_t{1} << 62;
}

/// Wgmma<N>::mma(acc, a, b, accumulate): acc = a b + (accumulate ? acc : 0) for the 64x32 tile a and the Nx32 tile b. Value v of
/// lane l of warp w of the warpgroup is row 16 w + l / 4 + 8 ((v / 2) % 2), column 2 (l % 4) + v % 2 + 8 (v / 4).
template <int N>
struct Wgmma;

// The operand lists differ only in length; they are spelled out eight registers at a time.
#define W8A8_ACC4(c, i) "+r"(c[i]), "+r"(c[i + 1]), "+r"(c[i + 2]), "+r"(c[i + 3])
#define W8A8_ACC8(c, i) W8A8_ACC4(c, i), W8A8_ACC4(c, i + 4)
#define W8A8_ACC16(c, i) W8A8_ACC8(c, i), W8A8_ACC8(c, i + 8)
#define W8A8_ACC32(c, i) W8A8_ACC16(c, i), W8A8_ACC16(c, i + 16)
#define W8A8_ACC64(c, i) W8A8_ACC32(c, i), W8A8_ACC32(c, i + 32)

#define W8A8_REG0 "%0, %1, %2, %3, %4, %5, %6, %7"
#define W8A8_REG1 "%8, %9, %10, %11, %12, %13, %14, %15"
#define W8A8_REG2 "%16, %17, %18, %19, %20, %21, %22, %23"
#define W8A8_REG3 "%24, %25, %26, %27, %28, %29, %30, %31"
#define W8A8_REG4 "%32, %33, %34, %35, %36, %37, %38, %39"
#define W8A8_REG5 "%40, %41, %42, %43, %44, %45, %46, %47"
#define W8A8_REG6 "%48, %49, %50, %51, %52, %53, %54, %55"
#define W8A8_REG7 "%56, %57, %58, %59, %60, %61, %62, %63"
#define W8A8_REG8 "%64, %65, %66, %67, %68, %69, %70, %71"
#define W8A8_REG9 "%72, %73, %74, %75, %76, %77, %78, %79"
#define W8A8_REG10 "%80, %81, %82, %83, %84, %85, %86, %87"
#define W8A8_REG11 "%88, %89, %90, %91, %92, %93, %94, %95"
#define W8A8_REG12 "%96, %97, %98, %99, %100, %101, %102, %103"
#define W8A8_REG13 "%104, %105, %106, %107, %108, %109, %110, %111"
#define W8A8_REG14 "%112, %113, %114, %115, %116, %117, %118, %119"
#define W8A8_REG15 "%120, %121, %122, %123, %124, %125, %126, %127"
#define W8A8_REGS8 W8A8_REG0
#define W8A8_REGS16 W8A8_REGS8 ", " W8A8_REG1
#define W8A8_REGS24 W8A8_REGS16 ", " W8A8_REG2
#define W8A8_REGS32 W8A8_REGS24 ", " W8A8_REG3
#define W8A8_REGS40 W8A8_REGS32 ", " W8A8_REG4
#define W8A8_REGS48 W8A8_REGS40 ", " W8A8_REG5
#define W8A8_REGS56 W8A8_REGS48 ", " W8A8_REG6
#define W8A8_REGS64 W8A8_REGS56 ", " W8A8_REG7
#define W8A8_REGS72 W8A8_REGS64 ", " W8A8_REG8
#define W8A8_REGS80 W8A8_REGS72 ", " W8A8_REG9
#define W8A8_REGS88 W8A8_REGS80 ", " W8A8_REG10
#define W8A8_REGS96 W8A8_REGS88 ", " W8A8_REG11
#define W8A8_REGS104 W8A8_REGS96 ", " W8A8_REG12
#define W8A8_REGS112 W8A8_REGS104 ", " W8A8_REG13
#define W8A8_REGS120 W8A8_REGS112 ", " W8A8_REG14
#define W8A8_REGS128 W8A8_REGS120 ", " W8A8_REG15
#define W8A8_REGS4 "%0, %1, %2, %3"
#define W8A8_REGS12 W8A8_REGS8 ", %8, %9, %10, %11"

#define W8A8_WGMMA(N, REGISTERS, A, B, P, ...)                                                                                 \
  template <>                                                                                                                  \
  struct Wgmma<N> {                                                                                                            \
    static W8A8_DEVICE void mma(std::int32_t (&c)[N / 2], std::uint64_t a, std::uint64_t b, int accumulate) {                  \
      asm volatile("{ .reg .pred p; setp.ne.b32 p, " P ", 0; wgmma.mma_async.sync.aligned.m64n" #N "k32.s32.s8.s8 {" REGISTERS \
                   "}, " A ", " B ", p; }"                                                                                     \
                   : __VA_ARGS__                                                                                               \
                   : "l"(a), "l"(b), "r"(accumulate));                                                                         \
    }                                                                                                                          \
  };

W8A8_WGMMA(8, W8A8_REGS4, "%4", "%5", "%6", W8A8_ACC4(c, 0))
W8A8_WGMMA(16, W8A8_REGS8, "%8", "%9", "%10", W8A8_ACC8(c, 0))
W8A8_WGMMA(24, W8A8_REGS12, "%12", "%13", "%14", W8A8_ACC8(c, 0), W8A8_ACC4(c, 8))
W8A8_WGMMA(32, W8A8_REGS16, "%16", "%17", "%18", W8A8_ACC16(c, 0))
W8A8_WGMMA(48, W8A8_REGS24, "%24", "%25", "%26", W8A8_ACC16(c, 0), W8A8_ACC8(c, 16))
W8A8_WGMMA(64, W8A8_REGS32, "%32", "%33", "%34", W8A8_ACC32(c, 0))
W8A8_WGMMA(80, W8A8_REGS40, "%40", "%41", "%42", W8A8_ACC32(c, 0), W8A8_ACC8(c, 32))
W8A8_WGMMA(96, W8A8_REGS48, "%48", "%49", "%50", W8A8_ACC32(c, 0), W8A8_ACC16(c, 32))
W8A8_WGMMA(112, W8A8_REGS56, "%56", "%57", "%58", W8A8_ACC32(c, 0), W8A8_ACC16(c, 32), W8A8_ACC8(c, 48))
W8A8_WGMMA(128, W8A8_REGS64, "%64", "%65", "%66", W8A8_ACC64(c, 0))
W8A8_WGMMA(144, W8A8_REGS72, "%72", "%73", "%74", W8A8_ACC64(c, 0), W8A8_ACC8(c, 64))
W8A8_WGMMA(160, W8A8_REGS80, "%80", "%81", "%82", W8A8_ACC64(c, 0), W8A8_ACC16(c, 64))
W8A8_WGMMA(176, W8A8_REGS88, "%88", "%89", "%90", W8A8_ACC64(c, 0), W8A8_ACC16(c, 64), W8A8_ACC8(c, 80))
W8A8_WGMMA(192, W8A8_REGS96, "%96", "%97", "%98", W8A8_ACC64(c, 0), W8A8_ACC32(c, 64))
W8A8_WGMMA(208, W8A8_REGS104, "%104", "%105", "%106", W8A8_ACC64(c, 0), W8A8_ACC32(c, 64), W8A8_ACC8(c, 96))
W8A8_WGMMA(224, W8A8_REGS112, "%112", "%113", "%114", W8A8_ACC64(c, 0), W8A8_ACC32(c, 64), W8A8_ACC16(c, 96))
W8A8_WGMMA(240, W8A8_REGS120, "%120", "%121", "%122", W8A8_ACC64(c, 0), W8A8_ACC32(c, 64), W8A8_ACC16(c, 96), W8A8_ACC8(c, 112))
W8A8_WGMMA(256, W8A8_REGS128, "%128", "%129", "%130", W8A8_ACC64(c, 0), W8A8_ACC64(c, 64))

#undef W8A8_WGMMA
#undef W8A8_ACC4
#undef W8A8_ACC8
#undef W8A8_ACC16
#undef W8A8_ACC32
#undef W8A8_ACC64
#undef W8A8_REG0
#undef W8A8_REG1
#undef W8A8_REG2
#undef W8A8_REG3
#undef W8A8_REG4
#undef W8A8_REG5
#undef W8A8_REG6
#undef W8A8_REG7
#undef W8A8_REG8
#undef W8A8_REG9
#undef W8A8_REG10
#undef W8A8_REG11
#undef W8A8_REG12
#undef W8A8_REG13
#undef W8A8_REG14
#undef W8A8_REG15
#undef W8A8_REGS4
#undef W8A8_REGS12
#undef W8A8_REGS8
#undef W8A8_REGS16
#undef W8A8_REGS24
#undef W8A8_REGS32
#undef W8A8_REGS40
#undef W8A8_REGS48
#undef W8A8_REGS56
#undef W8A8_REGS64
#undef W8A8_REGS72
#undef W8A8_REGS80
#undef W8A8_REGS88
#undef W8A8_REGS96
#undef W8A8_REGS104
#undef W8A8_REGS112
#undef W8A8_REGS120
#undef W8A8_REGS128

}  // namespace w8a8::ptx
