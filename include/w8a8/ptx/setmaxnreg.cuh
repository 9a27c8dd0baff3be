// setmaxnreg: registers move between the warpgroups of a CTA, sm_90a.
// PTX ISA, "Miscellaneous Instructions: setmaxnreg". All warps of a warpgroup execute it. The compiler obeys only in a kernel
// whose launch bounds name the minimum of one CTA an SM.
#pragma once

#include "w8a8/support/config.hpp"

namespace w8a8::ptx {

/// Waits until the CTA has registers enough and raises this warp's limit to Registers (24 to 256, a multiple of 8) a thread.
template <int Registers>
W8A8_DEVICE void setmaxnreg_inc() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers));
}

/// Gives back the registers above that limit.
template <int Registers>
W8A8_DEVICE void setmaxnreg_dec() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers));
}

}  // namespace w8a8::ptx
