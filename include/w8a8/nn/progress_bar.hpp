// A progress bar for terminals.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>

namespace w8a8::nn {

/// An nn::Progress that draws one line, "Fake quantizing [######----]  6/10  encoder.layers.2.mlp.fc1", again and again in place.
/// Where the stream is no terminal it writes the last line only.
class ProgressBar {
 public:
  explicit ProgressBar(std::string title, std::FILE* stream = stderr) : title_(std::move(title)), stream_(stream) {}

  void operator()(std::size_t done, std::size_t total, const std::string& name) const {
    const bool terminal = ::isatty(::fileno(stream_)) != 0, last = done >= total;
    if (!terminal && !last) return;
    std::fputs((std::string(terminal ? "\r\x1b[K" : "") + line(done, total, name) + (last ? "\n" : "")).c_str(), stream_);
    std::fflush(stream_);
  }

  /// The line by itself.
  std::string line(std::size_t done, std::size_t total, const std::string& name) const {
    constexpr std::size_t width = 24;
    const std::size_t filled = total == 0 ? width : width * done / total;
    return title_ + " [" + std::string(filled, '#') + std::string(width - filled, '-') + "] " + std::to_string(done) + "/" +
           std::to_string(total) + "  " + name;
  }

 private:
  std::string title_;
  std::FILE* stream_;
};

}  // namespace w8a8::nn
