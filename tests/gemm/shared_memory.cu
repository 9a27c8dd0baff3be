// Which configurations of the mma.sync kernels a device with less shared memory than an H200 can run: the tables choose no other,
// and a named one is refused before anything is launched. Needs no GPU: device properties are given.
#include <cstdint>
#include <string>
#include <utility>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/epilogue/gated.hpp"
#include "w8a8/epilogue/zero_point.hpp"
#include "w8a8/gemm/gemm.cuh"

namespace {

using namespace w8a8;
using w8a8_test::contains;

using Affine = decltype(Dequantize(VectorView<const float, Device>(), VectorView<const float, Device>()) |
                        Bias(VectorView<const half, Device>()));
using Gated = decltype(std::declval<Affine>() | SwiGlu{});
using Asymmetric = decltype(ZeroPoint(VectorView<const std::int32_t, Device>(), VectorView<const std::int32_t, Device>()) |
                            std::declval<Affine>());

/// RTX 30, RTX 40, A100, H100.
const DeviceProperties devices[] = {
    {0, 86, 82, 101376, 6 << 20}, {0, 89, 128, 101376, 72 << 20}, {0, 80, 108, 166912, 40 << 20}, {0, 90, 132, 232448, 50 << 20}};

/// Everything that the tables choose for `device` can run there.
template <class Out, class Epilogue, class Entry>
void check_choices(Entry entry, const DeviceProperties& device) {
  int chosen = 0;
  for (const int m : {1, 7, 16, 33, 64, 96, 128, 200, 512, 4096}) {
    for (const int n : {64, 1152, 4096, 6144, 28672}) {
      for (const int k : {64, 1152, 4096, 14336}) {
        const GemmProblem<Out> problem{nullptr, nullptr, nullptr, k, k, n, m, n, k};
        const GemmParts parts = detail::chosen_parts<Epilogue>(entry, problem, device);
        chosen += parts.empty() ? 0 : 1;
        INFO("sm_" << device.compute_capability << ", " << m << "x" << n << "x" << k);
        CHECK(detail::refusal<Epilogue>(entry, problem, parts, device) == "");
      }
    }
  }
  CHECK(chosen > 0);
}

/// How many configurations of the kernel the device can run.
template <class Out, class Epilogue, class Entry>
int count_fitting(Entry entry, const DeviceProperties& device) {
  const GemmProblem<Out> problem{nullptr, nullptr, nullptr, 128, 128, 256, 16, 256, 128};
  int fitting = 0;
  for (int index = 0; index < Entry::Configs::size; ++index) {
    const std::string reason = detail::refusal<Epilogue>(entry, problem, GemmParts(index, problem.n), device);
    fitting += reason.empty() ? 1 : 0;
    if (!reason.empty()) {
      CHECK(contains(reason, text("at most ", device.shared_memory_per_block, " bytes of shared memory a block")));
    }
  }
  return fitting;
}

TEST_CASE("gemm: the tables choose what fits the device's shared memory", "[gemm]") {
  for (const DeviceProperties& device : devices) {
    check_choices<half, Affine>(detail::Sm80GemmEntry{}, device);
    check_choices<float, Asymmetric>(detail::Sm80GemmEntry{}, device);
    check_choices<half, Gated>(detail::Sm80GemmEntry{}, device);
    check_choices<half, Affine>(detail::Sm80DecodeEntry{}, device);
    check_choices<float, Asymmetric>(detail::Sm80DecodeEntry{}, device);
    check_choices<half, Gated>(detail::Sm80DecodeEntry{}, device);
  }
}

TEST_CASE("gemm: a configuration that does not fit the device's shared memory is refused", "[gemm][errors]") {
  const DeviceProperties &small = devices[0], &large = devices[3];
  CHECK(count_fitting<half, Affine>(detail::Sm80GemmEntry{}, large) == Sm80GemmConfigs::size);
  CHECK(count_fitting<half, Affine>(detail::Sm80DecodeEntry{}, large) == Sm80DecodeConfigs::size);
  const int gemm_small = count_fitting<half, Affine>(detail::Sm80GemmEntry{}, small),
            decode_small = count_fitting<half, Affine>(detail::Sm80DecodeEntry{}, small);
  CHECK(gemm_small > 0);
  CHECK(gemm_small < Sm80GemmConfigs::size);
  CHECK(decode_small > 0);
  CHECK(decode_small < Sm80DecodeConfigs::size);
}

}  // namespace
