// Fuzz target over everything that io/ parses: safetensors headers and files, shard indices, JSON documents,
// quantization_config and smoothing rules. The first byte of an input chooses; the rest is what is read.
//
// Whatever the bytes: a result whose promises hold, or a FileError of one line. With libFuzzer:
//   clang++ -std=c++17 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Iinclude -isystem CUDA/include
//           -isystem CUDA/include/cccl tests/io/fuzz/readers.cpp -LCUDA/lib64 -lcudart_static -ldl -lrt -lpthread
// and with any compiler, mutation_driver.cpp in the place of -fsanitize=fuzzer (ctest runs it for some seconds).
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "w8a8/io/json.hpp"
#include "w8a8/io/quantization_config.hpp"
#include "w8a8/io/safetensors.hpp"
#include "w8a8/io/safetensors_index.hpp"
#include "w8a8/io/smoothing.hpp"

namespace {

using namespace w8a8;

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

/// What a reader promises of a header that it takes: the tensors cover the data without gap or overlap.
void check_header(const SafetensorsHeader& header, std::uint64_t data_bytes) {
  std::uint64_t covered = 0;
  for (const SafetensorsEntry& entry : header.tensors) {
    require(entry.begin == covered && entry.end >= entry.begin, "tensors follow each other");
    require(entry.shape.size() <= maximum_safetensors_rank, "rank");
    for (const std::int64_t size : entry.shape) require(size >= 0, "sizes >= 0");
    covered = entry.end;
  }
  require(covered == data_bytes, "tensors cover the data");
}

void read_header(std::string_view input) {
  std::uint64_t data_bytes = 0;
  for (int i = 0; i < 2 && !input.empty(); ++i, input.remove_prefix(1))
    data_bytes = data_bytes << 8 | static_cast<unsigned char>(input.front());
  check_header(parse_safetensors_header(input, data_bytes, "fuzz"), data_bytes);
}

/// A whole file, as it would be mapped; every byte that it hands out is read.
void read_file(std::string_view input) {
  static const int file = ::memfd_create("fuzz", MFD_CLOEXEC);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  require(file >= 0 && ::ftruncate(file, 0) == 0, "memfd");
  require(::pwrite(file, input.data(), input.size(), 0) == static_cast<::ssize_t>(input.size()), "pwrite");
  const SafetensorsFile safetensors(path);
  static volatile unsigned sink = 0;
  unsigned sum = sink;
  for (const SafetensorsEntry& entry : safetensors.tensors()) {
    const TensorRef ref = safetensors.ref(entry.name);
    for (std::uint64_t i = 0; i < ref.bytes; ++i) sum += static_cast<const unsigned char*>(ref.data)[i];
    try {
      const auto loaded = safetensors.load_as<half, 2>(entry.name);
      sum += static_cast<unsigned>(loaded.size());
    } catch (const FileError&) {
    } catch (const std::bad_alloc&) {
    }
    safetensors.release(entry.name);
  }
  sink = sum;
}

void read_index(std::string_view input) {
  const SafetensorsIndex index = parse_safetensors_index(input, "fuzz");
  require(!index.shard_of.empty(), "an index names a tensor");
  for (const auto& [tensor, shard] : index.shard_of) {
    require(!shard.empty() && shard.find('/') == std::string::npos && shard.find('\0') == std::string::npos, "shard name");
    require(shard != "." && shard != "..", "shard name");
  }
}

void read_document(std::string_view input) {
  const Json document = parse_json(input, "fuzz");
  // Written and read again it is the same (numbers beyond a double have become infinities, which JSON cannot say).
  const std::string text = document.dump();
  if (text.find("null") == std::string::npos) require(parse_json(text, "fuzz").dump() == text, "dump and parse agree");
}

void read_config(std::string_view input) {
  const QuantizationConfig config = parse_quantization_config(parse_json(input, "fuzz"), "fuzz");
  const Json again = {{"quantization_config", quantization_config_json(config)}};
  require(parse_quantization_config(again, "fuzz").ignore == config.ignore, "a config written is read alike");
}

void read_rules(std::string_view input) {
  for (const SmoothingRule& rule : parse_smoothing_rules(parse_json(input, "fuzz"), "fuzz")) {
    require(!rule.norm.empty() && !rule.linears.empty(), "a rule names a norm and a layer");
    std::string captured;
    if (detail::match_block(rule.norm, "model.layers.7.input_layernorm", captured)) {
      require(captured.find('.') == std::string::npos, "a block's number has no dots");
      for (const std::string& linear : rule.linears) detail::fill_block(linear, captured);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    switch (data[0] % 6) {
      case 0: read_header(input); break;
      case 1: read_file(input); break;
      case 2: read_index(input); break;
      case 3: read_document(input); break;
      case 4: read_config(input); break;
      default: read_rules(input); break;
    }
  } catch (const FileError& error) {
    const std::string what = error.what();
    require(what.find('\n') == std::string::npos, "an error is one line");
    require(what.size() < 2000, "an error is short");
  }
  return 0;
}
