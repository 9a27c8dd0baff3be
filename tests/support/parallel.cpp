#include "w8a8/support/parallel.hpp"

#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace w8a8;

TEST_CASE("parallel_for visits each index once", "[support]") {
  for (const int threads : {0, 1, 2, 7}) {
    for (const std::int64_t count : {0, 1, 2, 5, 1000}) {
      std::vector<std::atomic<int>> visits(static_cast<std::size_t>(count) + 1);
      parallel_for(count, threads, [&](std::int64_t i) { ++visits[static_cast<std::size_t>(i)]; });
      int wrong = visits.back();
      for (std::int64_t i = 0; i < count; ++i) wrong += visits[static_cast<std::size_t>(i)] != 1;
      INFO("threads " << threads << ", count " << count);
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("parallel_for throws what a piece of work threw, and stops handing out work", "[support]") {
  for (const int threads : {1, 4}) {
    std::atomic<int> visits{0};
    try {
      parallel_for(std::int64_t{1} << 40, threads, [&](std::int64_t i) {
        ++visits;
        if (i == 3) throw std::runtime_error("piece 3");
      });
      FAIL("did not throw");
    } catch (const std::runtime_error& error) {
      CHECK(std::string(error.what()) == "piece 3");
    }
    CHECK(visits >= 4);
  }
}

TEST_CASE("thread_count", "[support]") {
  CHECK(thread_count(3) == 3);
  CHECK(thread_count(0) >= 1);
}
