// The library from a host compiler: one product on the CPU backend, by hand 2 * 3 + 4 * -5 = -14, and layers, the more for the
// compiler to warn of.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <w8a8/host.hpp>

int first();
int second();

namespace {

using namespace w8a8;

bool layers_agree() {
  nn::Linear<half, Host> linear;
  linear.weight = Tensor<half, 2, Host>({8, 16});
  Tensor<half, 2, Host> x({3, 16}), y({3, 8}), z({3, 8});
  for (int i = 0; i < 8 * 16; ++i) linear.weight.data()[i] = from_float<half>(static_cast<float>(i % 5 - 2));
  for (int i = 0; i < 3 * 16; ++i) x.data()[i] = from_float<half>(static_cast<float>(i % 7 - 3));
  const auto layer = W8A8OF16LinearDynamicInputScale<half, Host>::from_linear(linear);
  const auto asymmetric = W8A8OF16LinearAsymmetricInput<half, Host>::from_linear(linear);
  Tensor<std::byte, 1, Host> workspace({static_cast<std::int64_t>(asymmetric.forward_workspace_bytes(3))});
  layer.forward(x.view(), y.view(), workspace.view());
  asymmetric.forward(x.view(), z.view(), workspace.view());
  for (int i = 0; i < 3 * 8; ++i) {
    if (!(std::fabs(to_float(y.data()[i]) - to_float(z.data()[i])) < 1.0f)) return false;
  }
  return true;
}

}  // namespace

int main() {
  Tensor<std::int8_t, 2, Host> x({1, 2}), w({1, 2});
  Tensor<std::int32_t, 2, Host> out({1, 1});
  x(0, 0) = 2, x(0, 1) = 4, w(0, 0) = 3, w(0, 1) = -5;
  gemm(x.view(), w.view(), Identity{}, out.view());
  std::printf("%d\n", out(0, 0));
  // Two translation units that include everything link together and agree.
  return out(0, 0) == -14 && first() == second() && layers_agree() ? 0 : 1;
}
