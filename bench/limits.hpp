// The limits of a card, as measured, and the time that they allow a shape.
#pragma once

#include <algorithm>
#include <vector>

namespace w8a8::bench {

/// Zero means: not measured, or the card has no such instruction.
struct Limits {
  double wgmma_s8_tops = 0;            ///< wgmma s8 issue rate on random data, burst
  double wgmma_s8_tops_sustained = 0;  ///< after 400 ms of it
  double mma_sync_s8_tops = 0;         ///< mma.sync s8, burst
  double mma_sync_s8_tops_sustained = 0;
  double dram_read_gbps = 0;
  double dram_copy_gbps = 0;   ///< bytes read plus bytes written
  double empty_kernel_us = 0;  ///< an empty kernel in a graph

  struct StreamPoint {
    double bytes, us;
  };
  std::vector<StreamPoint> stream_read;  ///< time of a plain streaming read by size, sizes ascending

  double best_tops() const { return std::max(wgmma_s8_tops, mma_sync_s8_tops); }

  /// Time to stream `bytes` from DRAM: interpolated between the measured sizes; above them at the last rate.
  double stream_us(double bytes) const {
    if (stream_read.empty()) return 0;
    const StreamPoint* below = nullptr;
    for (const StreamPoint& point : stream_read) {
      if (bytes <= point.bytes) {
        const double bytes0 = below ? below->bytes : 0, us0 = below ? below->us : empty_kernel_us;
        return us0 + (point.us - us0) * (bytes - bytes0) / (point.bytes - bytes0);
      }
      below = &point;
    }
    return below->us * bytes / below->bytes;
  }

  /// Time of moving `bytes`, reads and writes together, at the rate of a large copy; 0 where unknown.
  double copy_us(double bytes) const { return dram_copy_gbps > 0 ? bytes / dram_copy_gbps * 1e-3 : 0; }

  /// The larger of streaming the bytes and of the operations at the issue rate of the card's best instruction; 0 where unknown.
  double limit_us(double bytes, double operations) const {
    return std::max(stream_us(bytes), best_tops() > 0 ? operations / best_tops() * 1e-6 : 0.0);
  }
};

}  // namespace w8a8::bench
