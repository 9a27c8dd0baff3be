// Memory spaces: a view carries one in its type, so that host code cannot dereference device memory.
#pragma once

namespace w8a8 {

/// Memory that host code reads and writes.
struct Host {};

/// Memory of a CUDA device: only kernels dereference it.
struct Device {};

}  // namespace w8a8
