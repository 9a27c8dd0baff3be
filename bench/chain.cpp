#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "measure_limits.hpp"
#include "suite_work.hpp"
#include "w8a8/tensor/tensor.hpp"

namespace w8a8::bench {

namespace {

// The linear layers of a decoder block of Llama 3 8B; the codes of each come from the half output of the one before: the first K
// columns of its rows, as attention and the activation leave that many.
struct ChainLayer {
  const char* name;
  int n, k;
};
constexpr ChainLayer chain_layers[] = {{"qkv", 6144, 4096}, {"o", 4096, 4096}, {"gate_up", 28672, 4096}, {"down", 4096, 14336}};
constexpr int chain_length = 4;
constexpr int chain_blocks = 4;  ///< blocks with weights of their own: 872 MB between two uses of one
constexpr int widest = 28672, deepest = 14336;

std::size_t weight_bytes(int layer) { return static_cast<std::size_t>(chain_layers[layer].n) * chain_layers[layer].k; }

std::size_t block_bytes() {
  std::size_t bytes = 0;
  for (int i = 0; i < chain_length; ++i) bytes += weight_bytes(i);
  return bytes;
}

/// A weight's place in the pool.
std::size_t weight_offset(int block, int layer) {
  std::size_t offset = static_cast<std::size_t>(block) * block_bytes();
  for (int i = 0; i < layer; ++i) offset += weight_bytes(i);
  return offset;
}

int most_tokens(const std::vector<Shape>& shapes) {
  int most = 1;
  for (const Shape& shape : shapes) most = std::max(most, shape.m);
  return most;
}

/// The activations, two buffers that take turns, and the scales of the channels: such that outputs have about the spread of
/// inputs, and do not grow from layer to layer.
struct ChainState {
  Tensor<half, 1, Device> activations[2];
  Tensor<float, 1, Device> scales[chain_length];

  ChainState(int m, std::uint64_t seed) {
    for (Tensor<half, 1, Device>& buffer : activations) {
      buffer = Tensor<half, 1, Device>({static_cast<std::int64_t>(m) * widest});
      fill_random(buffer.data(), static_cast<std::size_t>(buffer.size()), seed + 5);
    }
    for (int i = 0; i < chain_length; ++i) {
      scales[i] = Tensor<float, 1, Device>({chain_layers[i].n});
      const float mean = 1 / (35 * std::sqrt(static_cast<float>(chain_layers[i].k)));
      fill_random_scales(scales[i].data(), static_cast<std::size_t>(chain_layers[i].n), seed + 6, mean);
    }
    check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  }
};

/// Layer `layer` of a block: what gemm() is called with.
GemmArguments layer_arguments(const Run& run, const ChainState& state, int m, int block, int layer) {
  const ChainLayer& l = chain_layers[layer];
  return {run.codes(),
          run.pools.int8.data() + weight_offset(block, layer),
          run.code_scales(),
          state.scales[layer].data(),
          nullptr,
          const_cast<half*>(state.activations[(layer + 1) % 2].data()),
          m,
          l.n,
          l.k};
}

/// One block: quantization and product of each layer, eight kernels.
Work chain_work(const Run& run, const ChainState& state, int m, bool dependent_launch) {
  GemmOptions options = run.gemm_options();
  options.dependent_launch = dependent_launch;
  return {"ours", chain_blocks, [=, &state](int block, cudaStream_t stream) {
            for (int i = 0; i < chain_length; ++i) {
              QuantizeArguments q;
              q.m = m, q.k = chain_layers[i].k;
              q.x = state.activations[i % 2].data();
              q.stride = chain_layers[(i + chain_length - 1) % chain_length].n;
              q.codes = run.codes(), q.scale = run.code_scales();
              call_layer_quantize(q, dependent_launch, stream);
              call_gemm(Output::half, layer_arguments(run, state, m, block, i), options, stream);
            }
          }};
}

/// The weights of a block, read by plain kernels one after the other; `ways`: how each is read.
Work stream_work(const Run& run, const std::vector<int>& ways, unsigned* never) {
  return {"stream_read", chain_blocks, [=](int block, cudaStream_t stream) {
            for (int i = 0; i < chain_length; ++i) {
              stream_read(ways[static_cast<std::size_t>(i)], run.pools.int8.data() + weight_offset(block, i), weight_bytes(i),
                          run.device.multiprocessors, never, stream);
            }
          }};
}

/// The fastest way to read each of the weights.
std::vector<int> best_ways(const Run& run, unsigned* never) {
  std::vector<int> ways;
  for (int layer = 0; layer < chain_length; ++layer) {
    std::vector<Contender> contenders;
    for (int way = 0; way < stream_read_ways; ++way) {
      const auto read = [=](int block, cudaStream_t stream) {
        stream_read(way, run.pools.int8.data() + weight_offset(block, layer), weight_bytes(layer), run.device.multiprocessors,
                    never, stream);
      };
      contenders.push_back(run.timer.prepare({"read", chain_blocks, read}, 2 + static_cast<double>(weight_bytes(layer)) / 4e6));
    }
    run.timer.burst(contenders, 1, 0.02);
    int best = 0;
    for (int way = 1; way < stream_read_ways; ++way) {
      if (median(contenders[way].burst) < median(contenders[best].burst)) best = way;
    }
    ways.push_back(best);
  }
  return ways;
}

}  // namespace

void include_chain(PoolSizes& sizes, const Options& options, double) {
  PoolSizes chain;
  const int m = most_tokens(options.shapes);
  chain.int8 = chain_blocks * block_bytes();
  chain.codes = align_slice(1.0 * m * deepest);
  chain.code_scales = align_slice(4.0 * m);
  sizes.include(chain);
}

void run_chain(const Run& run, Report& report, Console& console) {
  const ChainState state(most_tokens(run.options.shapes), run.options.seed);
  Tensor<std::int32_t, 1, Device> never({4});
  auto* const never_word = reinterpret_cast<unsigned*>(never.data());
  const std::vector<int> ways = best_ways(run, never_word);
  report.context["layers"] = "qkv 6144x4096, o 4096x4096, gate_up 28672x4096, down 4096x14336";
  for (std::size_t index = 0; index < run.options.shapes.size(); ++index) {
    const Shape& shape = run.options.shapes[index];
    Row row;
    row.shape = shape;
    row.bytes = static_cast<double>(block_bytes());
    for (int i = 0; i < chain_length; ++i) {
      const ChainLayer& l = chain_layers[i];
      row.operations += 2.0 * shape.m * l.n * l.k;
      row.limit_us += run.limits.stream_us(static_cast<double>(weight_bytes(i)));
      row.kernel +=
          (i > 0 ? ", " : "") + gemm_kernel(Output::half, layer_arguments(run, state, shape.m, 0, i), run.gemm_options());
    }
    std::vector<Contender> contenders;
    const double guess_us = 60;
    contenders.push_back(run.timer.prepare(chain_work(run, state, shape.m, false), guess_us));
    contenders.push_back(run.timer.prepare(chain_work(run, state, shape.m, true), guess_us));
    contenders.push_back(run.timer.prepare(stream_work(run, ways, never_word), guess_us));
    run.timer.burst(contenders, 3);
    if (run.options.sustained != Sustained::none) run.timer.sustained(contenders, false, index);
    row.burst = summarize(contenders[0].burst);
    row.sustained = summarize(contenders[0].sustained);
    row.dependent = summarize(contenders[1].burst);
    row.dependent_sustained = summarize(contenders[1].sustained);
    row.peers["stream_read"] = summarize(contenders[2].burst);
    row.peers_sustained["stream_read"] = summarize(contenders[2].sustained);
    row.sm_mhz = median(contenders[0].burst_mhz);
    row.sm_mhz_sustained = median(contenders[0].sustained_mhz);
    report.rows.push_back(row);
    console.row(row);
    if (!run.options.json.empty()) write_results(to_json(report), run.options.json, false);
  }
}

}  // namespace w8a8::bench
