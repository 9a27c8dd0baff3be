#include "dequantize_peer.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8::bench {

namespace {

constexpr int vector_length = 4;  // columns a thread: one 16-byte load of sums
constexpr int threads = 256;

template <class Out>
struct alignas(vector_length * sizeof(Out)) Vector {
  Out value[vector_length];
};

/// Threads along n, rows along the grid's y. Columns that do not fill a vector, and rows that are not aligned, go one by one.
template <class Out>
__global__ void __launch_bounds__(threads) dequantize_kernel(const std::int32_t* acc, const float* token, const float* channel,
                                                             const Out* bias, Out* out, int m, int n) {
  const int column = (blockIdx.x * threads + threadIdx.x) * vector_length;
  if (column >= n) return;
  const bool whole = column + vector_length <= n && n % vector_length == 0;
  float scale[vector_length] = {}, addend[vector_length] = {};
  for (int i = 0; i < vector_length && column + i < n; ++i) {
    scale[i] = channel[column + i];
    addend[i] = bias ? to_float(bias[column + i]) : 0.0f;
  }
  for (int row = blockIdx.y; row < m; row += gridDim.y) {
    const std::int64_t at = static_cast<std::int64_t>(row) * n + column;
    const float token_scale = token[row];
    if (whole) {
      const int4 sums = __ldcs(reinterpret_cast<const int4*>(acc + at));
      const int sum[vector_length] = {sums.x, sums.y, sums.z, sums.w};
      Vector<Out> result;
      W8A8_UNROLL
      for (int i = 0; i < vector_length; ++i) {
        result.value[i] = from_float<Out>(fused_multiply_add(multiply(int_to_float(sum[i]), scale[i]), token_scale, addend[i]));
      }
      *reinterpret_cast<Vector<Out>*>(out + at) = result;
    } else {
      for (int i = 0; i < vector_length && column + i < n; ++i) {
        out[at + i] = from_float<Out>(fused_multiply_add(multiply(int_to_float(acc[at + i]), scale[i]), token_scale, addend[i]));
      }
    }
  }
}

template <class Out>
void launch_dequantize(const std::int32_t* acc, const float* token, const float* channel, const void* bias, void* out, int m,
                       int n, cudaStream_t stream) {
  // Enough rows a thread to pay for its scales, and still a few thousand threads an SM.
  const int columns = ceil_div(n, vector_length * threads);
  const int rows = min_of(min_of(m, 65535), max_of(1, 8192 / columns));
  dequantize_kernel<Out><<<dim3(columns, rows), threads, 0, stream>>>(acc, token, channel, static_cast<const Out*>(bias),
                                                                      static_cast<Out*>(out), m, n);
  check_cuda(cudaGetLastError(), "dequantize_kernel");
}

}  // namespace

void dequantize_peer(const std::int32_t* acc, const float* token, const float* channel, const void* bias, void* out,
                     Output output, int m, int n, cudaStream_t stream) {
  switch (output) {
    case Output::half: return launch_dequantize<half>(acc, token, channel, bias, out, m, n, stream);
    case Output::bfloat16: return launch_dequantize<bfloat16>(acc, token, channel, bias, out, m, n, stream);
    case Output::float32: return launch_dequantize<float>(acc, token, channel, bias, out, m, n, stream);
  }
}

}  // namespace w8a8::bench
