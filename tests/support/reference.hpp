// The definition of a GEMM with an epilogue, as plain loops: what every kernel is compared with, bit for bit.
#pragma once

#include <cstdint>
#include <vector>

#include "w8a8/epilogue/concept.hpp"

namespace w8a8_test {

/// D = X W^T, dense row-major, through `epilogue` (whose views are of host memory) to Out.
/// x: m x k, w: n x k; the result is m x n.
template <class Out, class Epilogue>
std::vector<Out> reference_gemm(const std::vector<std::int8_t>& x, const std::vector<std::int8_t>& w, std::int64_t m,
                                std::int64_t n, std::int64_t k, const Epilogue& epilogue) {
  std::vector<Out> out(static_cast<std::size_t>(m * n));
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      const std::int8_t *a = x.data() + i * k, *b = w.data() + j * k;
      std::int32_t sum = 0;
      for (std::int64_t l = 0; l < k; ++l) sum += static_cast<std::int32_t>(a[l]) * b[l];
      out[static_cast<std::size_t>(i * n + j)] =
          w8a8::store_value<Out>(epilogue.apply(sum, epilogue.row(i), epilogue.column(j), i, j));
    }
  }
  return out;
}

}  // namespace w8a8_test
