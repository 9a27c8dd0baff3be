// Programmatic dependent launch, sm_90; no instruction at all before. PTX ISA, "Parallel Synchronization Instructions:
// griddepcontrol".
#pragma once

#include "w8a8/support/arch.hpp"
#include "w8a8/support/config.hpp"

namespace w8a8::ptx {

/// Waits until the grids this one depends on have finished and their writes are visible.
W8A8_DEVICE void griddepcontrol_wait() {
  if constexpr (arch::has_dependent_launch) asm volatile("griddepcontrol.wait;" ::: "memory");
}

/// Lets the dependent grid start once every CTA of this one has said so or exited.
W8A8_DEVICE void griddepcontrol_launch_dependents() {
  if constexpr (arch::has_dependent_launch) asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

}  // namespace w8a8::ptx
