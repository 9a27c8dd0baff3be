// A matrix of a file as floats, a block of rows at a time: memory does not grow with the matrix.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "w8a8/io/checkpoint.hpp"
#include "w8a8/io/safetensors.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/support/parallel.hpp"
#include "w8a8/tensor/tensor.hpp"

namespace w8a8::detail {

/// Rows go through in blocks of about this many bytes of floats.
inline constexpr std::int64_t row_block_bytes = 32 << 20;

/// The rows of a block of a matrix with `columns` columns: at least one.
inline std::int64_t rows_of_block(std::int64_t rows, std::int64_t columns) {
  return min_of(rows, max_of<std::int64_t>(1, row_block_bytes / (4 * columns)));
}

/// to[i] = from[i] * factors[i % columns] as floats (factors empty: 1), from any alignment.
template <class T>
void widen_rows(const std::byte* from, float* to, std::int64_t rows, std::int64_t columns, const std::vector<float>& factors,
                int threads) {
  parallel_for(rows, threads, [&](std::int64_t row) {
    const std::byte* source = from + static_cast<std::size_t>(row * columns) * sizeof(T);
    float* out = to + row * columns;
    for (std::int64_t k = 0; k < columns; ++k, source += sizeof(T)) {
      T element;
      std::memcpy(static_cast<void*>(&element), source, sizeof element);
      out[k] = to_float(element);
    }
    if (factors.empty()) return;
    for (std::int64_t k = 0; k < columns; ++k) out[k] = multiply(out[k], factors[static_cast<std::size_t>(k)]);
  });
}

/// Calls f(first row, rows, floats) for one block after another of a floating-point matrix with columns; column k is multiplied
/// with factors[k] (factors empty: 1). The file's pages are given back as they have been read.
template <class F>
void for_each_row_block(const SafetensorsFile& file, const SafetensorsEntry& entry, const std::vector<float>& factors,
                        int threads, F&& f) {
  const std::int64_t rows = entry.shape[0], columns = entry.shape[1], block = rows_of_block(rows, columns);
  const TensorRef ref = file.ref(entry.name);
  Tensor<float, 2, Host> floats({block, columns});
  with_dtype(entry.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto row_bytes = static_cast<std::uint64_t>(columns) * sizeof(T);
    for (std::int64_t row = 0; row < rows; row += block) {
      const std::int64_t count = min_of(block, rows - row);
      const std::uint64_t offset = static_cast<std::uint64_t>(row) * row_bytes;
      widen_rows<T>(static_cast<const std::byte*>(ref.data) + offset, floats.data(), count, columns, factors, threads);
      f(row, count, floats.data());
      file.release(entry.name, offset, offset + static_cast<std::uint64_t>(count) * row_bytes);
    }
  });
}

}  // namespace w8a8::detail
