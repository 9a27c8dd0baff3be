// A parallel loop over independent pieces of work, for the CPU backend.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace w8a8 {

/// The number of threads that a request for `threads` means: itself, or one a core for 0.
inline int thread_count(int threads) {
  if (threads > 0) return threads;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

/// Calls f(i) once for each i in [0, count), on up to `threads` threads (0: one a core), the caller's among them; returns when
/// all are done. The first exception that f throws is thrown again here, after every thread has stopped.
template <class F>
void parallel_for(std::int64_t count, int threads, F&& f) {
  std::atomic<std::int64_t> next{0};
  std::exception_ptr error;
  std::mutex error_mutex;
  const auto work = [&] {
    try {
      for (std::int64_t i = next++; i < count; i = next++) f(i);
    } catch (...) {
      next = count;
      const std::lock_guard<std::mutex> lock(error_mutex);
      if (!error) error = std::current_exception();
    }
  };
  std::vector<std::thread> helpers;
  const std::int64_t wanted = std::min<std::int64_t>(thread_count(threads), count) - 1;
  for (std::int64_t i = 0; i < wanted; ++i) {
    try {
      helpers.emplace_back(work);
    } catch (...) {
      break;  // no more threads to be had: the ones there do the work
    }
  }
  work();
  for (std::thread& helper : helpers) helper.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace w8a8
