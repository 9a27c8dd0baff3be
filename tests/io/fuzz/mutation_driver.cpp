// Runs the fuzz target of readers.cpp without libFuzzer: mutates a few good inputs, seeded, for some seconds.
// mutation_driver [SECONDS [SEED]]; a finding aborts, with the input in mutation_driver.crash.
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "support/random.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
// Called by the address and undefined-behaviour sanitizers before they end the program.
extern "C" void __sanitizer_set_death_callback(void (*callback)());

namespace {

using w8a8_test::Random;

std::string current;

void save_input() {
  std::ofstream("mutation_driver.crash", std::ios::binary).write(current.data(), static_cast<std::streamsize>(current.size()));
  std::fprintf(stderr, "the input is in mutation_driver.crash, %zu bytes\n", current.size());
}

std::string safetensors(const std::string& header, const std::string& data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(header.size() >> (8 * i));
  return bytes + header + data;
}

/// Good inputs of each kind, their first byte included.
std::vector<std::string> seeds() {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]},)"
      R"("b.weight":{"dtype":"I8","shape":[3],"data_offsets":[8,11]},"c":{"dtype":"BF16","shape":[0,7],"data_offsets":[11,11]}})";
  const std::string args = R"({"num_bits":8,"type":"int","symmetric":true,"strategy":)";
  return {
      std::string("\0\0\x0b", 3) + header,
      std::string("\0\0\0{}", 5),
      "\1" + safetensors(header, "0123456789a"),
      "\1" + safetensors("{}  ", ""),
      "\2"
      R"({"metadata":{"total_size":12},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}})",
      "\3"
      R"({"a":[1,-2,3.5e-7,"text \u00e9\n",null,true,{"b":{}}],"c":{"d":[[]]}})",
      "\4"
      R"({"model_type":"llama","quantization_config":{"quant_method":"compressed-tensors","format":"int-quantized",)"
      R"("quantization_status":"compressed","ignore":["lm_head"],"config_groups":{"group_0":{"targets":["Linear"],"weights":)" +
          args + R"("channel","dynamic":false},"input_activations":)" + args + R"("token","dynamic":true}}}}})",
      "\5"
      R"([{"norm":"model.layers.{}.input_layernorm","linears":["model.layers.{}.q","model.layers.{}.e.*"],"offset":1}])",
  };
}

/// What texts of these kinds are made of: a mutation that inserts one gets further than one that inserts a byte.
const std::vector<std::string>& words() {
  static const std::vector<std::string> all = {
      "{",
      "}",
      "[",
      "]",
      ":",
      ",",
      "\"",
      "\\",
      "{}",
      "[]",
      "null",
      "true",
      "false",
      "0",
      "1",
      "-1",
      "8",
      "4294967296",
      "9223372036854775807",
      "18446744073709551615",
      "18446744073709551616",
      "1e999",
      "0.5",
      "\"a\":",
      "\"a\"",
      "\"\"",
      "\"dtype\":\"F32\"",
      "\"F4\"",
      "\"I8\"",
      "\"X\"",
      "\"shape\":[2,2]",
      "\"shape\":[]",
      "\"data_offsets\":[0,8]",
      "\"__metadata__\":{}",
      "\"weight_map\":{}",
      "\"metadata\":{}",
      "\"total_size\":1",
      "\"../x\"",
      "\"config_groups\":{}",
      "\"sparsity_config\":{}",
      "\"weights\":null",
      "\"ignore\":[]",
      "\\u0000",
      "\\ud800",
      "\xff",
      std::string(1, '\0'),
      std::string(100, '['),
      std::string(70, '{'),
      "\"" + std::string(300, 'n') + "\":",
  };
  return all;
}

void mutate(Random& random, std::string& input, const std::vector<std::string>& corpus) {
  const auto place = [&](std::size_t size) {
    return static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(size)));
  };
  switch (random.integer(0, 7)) {
    case 0:  // another byte
      if (!input.empty()) input[place(input.size() - 1)] = static_cast<char>(random.integer(0, 255));
      break;
    case 1:  // another bit
      if (!input.empty()) input[place(input.size() - 1)] ^= static_cast<char>(1 << random.integer(0, 7));
      break;
    case 2:
    case 3: input.insert(place(input.size()), random.choose(words())); break;
    case 4: {  // a word in the place of some bytes
      const std::size_t at = place(input.size());
      input.replace(at, static_cast<std::size_t>(random.integer(0, 12)), random.choose(words()));
      break;
    }
    case 5: {  // some bytes less
      const std::size_t at = place(input.size());
      input.erase(at, static_cast<std::size_t>(random.integer(1, 24)));
      break;
    }
    case 6: {  // some bytes again, elsewhere
      const std::size_t from = place(input.size());
      input.insert(place(input.size()), input.substr(from, static_cast<std::size_t>(random.integer(1, 60))));
      break;
    }
    default: {  // the end of another input
      const std::string other = random.choose(corpus);
      input = input.substr(0, place(input.size())) + other.substr(place(other.size()));
      break;
    }
  }
  // The kinds with a length in front of the header: keep it right, mostly, or nothing behind it is ever looked at.
  if (!input.empty() && static_cast<unsigned char>(input[0]) % 6 == 1 && input.size() > 9 && random.chance(0.8)) {
    const std::size_t close = input.rfind('}');
    const std::size_t length = close == std::string::npos || close < 9 ? 0 : close - 8;
    for (std::size_t i = 0; i < 8; ++i) input[1 + i] = static_cast<char>(length >> (8 * i));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 5.0;
  Random random(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
  __sanitizer_set_death_callback(save_input);
  std::signal(SIGABRT, [](int) {
    save_input();
    std::_Exit(1);
  });
  std::vector<std::string> corpus = seeds();
  const std::size_t good = corpus.size();
  const auto start = std::chrono::steady_clock::now();
  std::uint64_t runs = 0;
  for (double passed = 0.0; passed < seconds;
       passed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()) {
    for (int i = 0; i < 200; ++i, ++runs) {
      current = random.choose(corpus);
      for (std::int64_t changes = random.integer(0, 6); changes > 0; --changes) mutate(random, current, corpus);
      if (current.size() > 4096) current.resize(4096);
      LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(current.data()), current.size());
      // Now and then a mutated input becomes one to mutate: inputs so drift away from the good ones.
      if (random.chance(0.01)) {
        if (corpus.size() < 256) {
          corpus.push_back(current);
        } else {
          corpus[good + static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(corpus.size() - good) - 1))] =
              current;
        }
      }
    }
  }
  std::printf("%llu inputs, none of which broke a promise\n", static_cast<unsigned long long>(runs));
  return 0;
}
