// A layer of a W8A8 checkpoint in device memory: the bits that the file has.
#include <cstdint>
#include <string>
#include <vector>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/gpu.hpp"
#include "support/random.hpp"
#include "w8a8/io/w8a8_checkpoint.hpp"

namespace {

using namespace w8a8;
using namespace w8a8_test;

template <class T, int Rank>
std::vector<T> elements(const Tensor<T, Rank, Device>& tensor) {
  const auto copied = clone_to<Host>(tensor.view());
  return {copied.data(), copied.data() + copied.size()};
}

TEST_CASE("a layer is loaded into device memory with the file's bits", "[io][sanitizer]") {
  W8A8_REQUIRE_GPU();
  const TemporaryDirectory directory;
  Random random(5);
  for (const std::int64_t in : {64, 37}) {
    const std::int64_t out = 19;
    const auto codes = uniform_int8(random, out * in);
    const auto scale = scales<bfloat16>(random, out);
    const auto bias = normal<float>(random, out);
    write_safetensors(directory / "model.safetensors",
                      {{"fc.weight", {"I8", {out, in}, codes.data(), codes.size()}},
                       {"fc.weight_scale", {"BF16", {out, 1}, scale.data(), scale.size() * sizeof(bfloat16)}},
                       {"fc.bias", {"F32", {out}, bias.data(), bias.size() * sizeof(float)}}});
    const auto layer = load_w8a8_linear<half>(Checkpoint(directory / "."), "fc");
    CHECK(difference(codes, elements(layer.weight), in) == "");
    std::vector<float> floats;
    std::vector<half> halves;
    for (std::int64_t n = 0; n < out; ++n) {
      floats.push_back(to_float(scale[static_cast<std::size_t>(n)]));
      halves.push_back(from_float<half>(bias[static_cast<std::size_t>(n)]));
    }
    CHECK(difference(floats, elements(layer.dequant_scale)) == "");
    CHECK(difference(halves, elements(layer.bias)) == "");
  }
}

}  // namespace
