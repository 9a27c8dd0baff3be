// How much is run for a figure, the limits, and the statistics.
#include "../../bench/plan.hpp"

#include "../../bench/limits.hpp"
#include "../../bench/statistics.hpp"
#include "support/catch.hpp"

using namespace w8a8::bench;

TEST_CASE("input sets: 300 MB or three times L2 between two uses") {
  CHECK(input_sets(25e6, 60e6) == 12);
  CHECK(input_sets(25e6, 200e6) == 24);
  CHECK(input_sets(500e6, 60e6) == 1);
}

TEST_CASE("a graph lasts about 2 ms and rotates through all sets") {
  CHECK(graph_launches(10, 12) == 204);
  CHECK(graph_launches(3, 60) % 60 == 0);
  CHECK(graph_launches(5000, 1) == 1);
  CHECK(graph_launches(0.5, 1) == maximum_launches);
  CHECK(graph_launches(0.5, 2000) == maximum_launches);
  CHECK(graph_launches(10, 12, 1000) == 108);
}

TEST_CASE("a burst loads the card for less than 50 ms") {
  for (const double replay_us : {10.0, 2e3, 5e3, 7e3, 13e3, 20e3}) {
    const int samples = burst_samples(replay_us);
    CHECK(samples >= 1);
    CHECK(samples <= 7);
    CHECK((samples + 1) * replay_us < 50e3);
  }
}

TEST_CASE("400 ms of load come before a sustained figure") {
  for (const double round_us : {100.0, 10e3, 41e3, 900e3}) {
    CHECK(load_rounds(round_us) * round_us >= sustained_load_us);
    CHECK(load_rounds(round_us, own_load_us) * round_us >= own_load_us);
  }
  CHECK(sustained_rounds(2e3) == 40);
  CHECK(sustained_rounds(500e3) == 3);
}

TEST_CASE("a time budget takes rounds away, then the sustained figures, then the row") {
  const double own = sustained_seconds(5, false), mixed = sustained_seconds(5, true);
  CHECK(own == Approx(0.48 + 4 * 0.33));
  CHECK(mixed == Approx(0.48));
  CHECK(plan_row(0, 5, own).burst_rounds == 2);
  CHECK(plan_row(0, 5, own).sustained);
  CHECK_FALSE(plan_row(0, 5, 0).sustained);
  CHECK(plan_row(100, 5, own).burst_rounds == 5);
  CHECK(plan_row(3.0, 5, own).burst_rounds == 1);
  CHECK(plan_row(3.0, 5, own).sustained);
  CHECK(plan_row(1.0, 5, own).burst_rounds == 1);
  CHECK_FALSE(plan_row(1.0, 5, own).sustained);
  CHECK(plan_row(1.5, 5, mixed).sustained);
  CHECK(plan_row(1e-3, 5, own).burst_rounds == 0);
}

TEST_CASE("the streaming limit is interpolated between the measured sizes") {
  Limits limits;
  limits.empty_kernel_us = 0.6;
  limits.stream_read = {{10e6, 3.6}, {20e6, 5.6}};
  CHECK(limits.stream_us(10e6) == Approx(3.6));
  CHECK(limits.stream_us(15e6) == Approx(4.6));
  CHECK(limits.stream_us(5e6) == Approx(2.1));
  CHECK(limits.stream_us(40e6) == Approx(11.2));
}

TEST_CASE("the limit is the larger of bytes and operations, by the best instruction") {
  Limits limits;
  CHECK(limits.limit_us(1e6, 1e9) == 0);
  limits.stream_read = {{10e6, 4}};
  CHECK(limits.limit_us(10e6, 1e15) == Approx(4));
  limits.mma_sync_s8_tops = 1000;
  CHECK(limits.limit_us(10e6, 1e10) == Approx(10));
  limits.wgmma_s8_tops = 2000;
  CHECK(limits.limit_us(10e6, 1e10) == Approx(5));
}

TEST_CASE("medians, spreads, means") {
  CHECK(median({}) == 0);
  CHECK(median({3, 1, 2}) == 2);
  CHECK(median({4, 1, 2, 3}) == Approx(2.5));
  const Summary calm = summarize({10, 10.1, 9.9, 12});
  CHECK(calm.min == Approx(9.9));
  CHECK(calm.max == 12);
  CHECK_FALSE(summarize({10, 10.1, 9.9, 10, 12}).noisy);
  CHECK(summarize({10, 12, 8, 11, 9}).noisy);
  CHECK(geometric_mean({1, 4}) == Approx(2));
  CHECK(geometric_mean({}) == 1);
}
