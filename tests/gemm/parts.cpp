// The parts that the models of sm80_gemm and sm90_gemm make of a product.
#include "w8a8/gemm/tuning/parts.hpp"

#include <cstddef>
#include <string>

#include "support/catch.hpp"
#include "support/random.hpp"
#include "w8a8/gemm/tuning/sm80_gemm.hpp"
#include "w8a8/gemm/tuning/sm90_gemm.hpp"
#include "w8a8/support/error.hpp"

namespace {

using namespace w8a8;

DeviceProperties device_of(int multiprocessors, int shared_memory = 227 * 1024) {
  DeviceProperties device;
  device.compute_capability = 90;
  device.multiprocessors = multiprocessors;
  device.shared_memory_per_block = shared_memory;
  return device;
}

/// The parts lie side by side, cover n columns, begin on whole tiles, and no single configuration is expected to be faster.
template <class Model>
void check_parts(const GemmParts& parts, const Model& model, int n) {
  const double whole = detail::best_configuration(model, n).clocks;
  double clocks = 0;
  int column = 0;
  REQUIRE(!parts.empty());
  for (const GemmPart& part : parts) {
    INFO(text("configuration ", part.configuration, ", columns ", part.begin, " to ", part.end));
    REQUIRE(part.begin == column);
    REQUIRE(part.end > part.begin);
    REQUIRE((part.end == n || part.end % model.round(part.configuration).tile_n == 0));
    clocks += model.clocks(part.configuration, part.end - part.begin) + (part.begin > 0 ? Model::second_launch : 0);
    column = part.end;
  }
  REQUIRE(column == n);
  REQUIRE((parts.size() == 1 ? clocks == whole : clocks * Model::doubt < whole));
}

TEST_CASE("parts: they cover all columns and are expected to be no slower than one", "[gemm]") {
  w8a8_test::Random random(1);
  int two = 0;
  for (int i = 0; i < 20000; ++i) {
    const int m = static_cast<int>(random.integer(1, 1 << random.integer(1, 20)));
    const int n = static_cast<int>(random.integer(1, 1 << random.integer(1, 17))), k = static_cast<int>(random.integer(1, 30000));
    const DeviceProperties device =
        device_of(static_cast<int>(random.integer(1, 200)), random.chance(0.5) ? 227 * 1024 : 99 * 1024);
    INFO(text(m, " x ", n, " x ", k, ", ", device.multiprocessors, " multiprocessors"));
    const GemmParts parts80 = select_sm80_gemm(m, n, k, device), parts90 = select_sm90_gemm(m, n, k, device);
    check_parts(parts80, detail::Sm80GemmModel<Sm80GemmConfigs>{m, k, device}, n);
    check_parts(parts90, detail::Sm90GemmModel{m, k, device}, n);
    two += (parts80.size() == 2) + (parts90.size() == 2);
  }
  CHECK(two > 1000);
}

TEST_CASE("parts: as many columns as keep 132 SMs busy with 256x192 tiles, and the rest", "[gemm]") {
  const DeviceProperties device = device_of(132);
  const auto boundary = [](const GemmParts& parts) { return parts.begin()->end; };
  // 3072 columns in two rounds of 128 CTAs; 7872 in five; 28416 in eighteen.
  CHECK(boundary(select_sm90_gemm(4096, 4096, 14336, device)) == 3072);
  CHECK(boundary(select_sm90_gemm(4096, 8192, 28672, device)) == 7872);
  CHECK(boundary(select_sm80_gemm(4096, 28672, 4096, device)) == 28416);
  // Whole rounds of all columns, and rows that fill no round.
  CHECK(select_sm80_gemm(4096, 6144, 4096, device).size() == 1);
  CHECK(select_sm90_gemm(1024, 6144, 4096, device).size() == 1);
  CHECK(select_sm90_gemm(256, 4096, 14336, device).size() == 1);
  CHECK(select_sm90_gemm(1024, 8192, 8192, device).size() == 1);
}

TEST_CASE("parts: none without a configuration", "[gemm]") {
  CHECK(GemmParts().empty());
  CHECK(GemmParts(-1, 64).empty());
  CHECK(GemmParts(3, 64).size() == 1);
}

}  // namespace
