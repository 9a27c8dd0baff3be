// Measuring the limits of the current card.
#pragma once

#include <cstddef>
#include <cstdint>

#include "limits.hpp"
#include "timer.hpp"
#include "w8a8/support/device.hpp"

namespace w8a8::bench {

/// Bytes of random data that measure_limits() reads: 1 GB, or what a small card can spare.
std::size_t limits_pool_bytes();

/// Measures every limit that the card has instructions for, or those of memory alone, on `bytes` of random data at `pool`
/// (overwritten by the copy test in its second half). A few seconds.
Limits measure_limits(Timer& timer, const DeviceProperties& device, std::int8_t* pool, std::size_t bytes,
                      bool only_memory = false);

/// Plain streaming reads: ways to read `bytes` (a multiple of 16) at `data`, 0 <= way < stream_read_ways. `never` is written if
/// the data holds what it does not.
inline constexpr int stream_read_ways = 4;
void stream_read(int way, const void* data, std::size_t bytes, int multiprocessors, unsigned* never, cudaStream_t stream);

}  // namespace w8a8::bench
