// The library from a host compiler: one product on the CPU backend, by hand 2 * 3 + 4 * -5 = -14.
#include <cstdint>
#include <cstdio>
#include <w8a8/host.hpp>

int first();
int second();

int main() {
  using namespace w8a8;
  Tensor<std::int8_t, 2, Host> x({1, 2}), w({1, 2});
  Tensor<std::int32_t, 2, Host> out({1, 1});
  x(0, 0) = 2, x(0, 1) = 4, w(0, 0) = 3, w(0, 1) = -5;
  gemm(x.view(), w.view(), Identity{}, out.view());
  std::printf("%d\n", out(0, 0));
  // Two translation units that include everything link together and agree.
  return out(0, 0) == -14 && first() == second() ? 0 : 1;
}
