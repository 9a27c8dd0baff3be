// TuningTable: which entry answers for a shape.
#include <string>

#include "support/catch.hpp"
#include "w8a8/gemm/tuning/table.hpp"

namespace {

using namespace w8a8;

std::string found(const TuningTable& table, int m, int n, int k) {
  const TuningEntry* const entry = table.find(m, n, k);
  return entry == nullptr ? "none" : entry->configuration;
}

}  // namespace

TEST_CASE("tuning table: N and K must agree, M is the nearest at or above") {
  const TuningTable table(
      90, 132,
      {{128, 6144, 4096, "c128", 10}, {16, 6144, 4096, "c16", 8}, {64, 6144, 4096, "c64", 9}, {16, 4096, 14336, "down", 16}});
  CHECK(found(table, 16, 6144, 4096) == "c16");
  CHECK(found(table, 1, 6144, 4096) == "c16");
  CHECK(found(table, 64, 6144, 4096) == "c64");
  CHECK(found(table, 32, 6144, 4096) == "c64");
  CHECK(found(table, 65, 6144, 4096) == "c128");
  CHECK(found(table, 1, 4096, 14336) == "down");
  CHECK(found(table, 16, 6144, 4097) == "none");
  CHECK(found(table, 16, 6145, 4096) == "none");
  CHECK(table.entries().size() == 4);
}

TEST_CASE("tuning table: an entry does not answer for less than half its tokens, nor for more") {
  const TuningTable table(90, 132, {{16, 64, 64, "c16", 1}, {64, 64, 64, "c64", 1}, {2147483647, 64, 64, "most", 1}});
  CHECK(found(table, 17, 64, 64) == "none");
  CHECK(found(table, 31, 64, 64) == "none");
  CHECK(found(table, 32, 64, 64) == "c64");
  CHECK(found(table, 65, 64, 64) == "none");
  CHECK(found(table, 2147483647, 64, 64) == "most");
  CHECK(found(TuningTable(90, 132, {{64, 64, 64, "c64", 1}}), 65, 64, 64) == "none");
  CHECK(found(TuningTable(), 1, 1, 1) == "none");
}

TEST_CASE("tuning table: of two entries of one shape the faster counts") {
  const TuningTable table(90, 132, {{16, 64, 64, "slow", 2}, {16, 64, 64, "fast", 1}});
  CHECK(found(table, 16, 64, 64) == "fast");
  CHECK(table.entries().size() == 1);
}

TEST_CASE("tuning table: it is for the card that it was measured on") {
  const TuningTable table(90, 132, {});
  DeviceProperties device;
  device.compute_capability = 90;
  device.multiprocessors = 132;
  CHECK(table.is_for(device));
  device.multiprocessors = 114;
  CHECK_FALSE(table.is_for(device));
  device = {0, 89, 132, 0, 0};
  CHECK_FALSE(table.is_for(device));
  CHECK_FALSE(TuningTable().is_for(device));
}
