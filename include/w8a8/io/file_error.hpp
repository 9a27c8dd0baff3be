// The error that every reader and writer of files throws: which file, which tensor in it, and why.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include "w8a8/support/error.hpp"

namespace w8a8 {

namespace detail {

/// Text from a file, made fit for one line of a message: quoted, control characters and bytes above 126 escaped, long text cut.
inline std::string quote(std::string_view raw) {
  constexpr std::size_t limit = 200;
  std::string out = "'";
  for (const char c : raw.substr(0, limit)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte > 0x7e) {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + (raw.size() > limit ? "'..." : "'");
}

}  // namespace detail

/// A file that cannot be read or written, or does not hold what it should: the file, the tensor (empty where the fault is not one
/// tensor's) and the reason. what(): "w8a8: file 'm.safetensors', tensor 'fc.weight': data ends at byte 96 of 64".
class FileError : public Error {
 public:
  FileError(const std::string& file, const std::string& reason)
      : Error(Verbatim{}, "w8a8: file " + detail::quote(file) + ": " + reason, "file"), file_(file), reason_(reason) {}

  FileError(const std::string& file, const std::string& tensor, const std::string& reason)
      : Error(Verbatim{}, "w8a8: file " + detail::quote(file) + ", tensor " + detail::quote(tensor) + ": " + reason, "file"),
        file_(file),
        tensor_(tensor),
        reason_(reason) {}

  const std::string& file() const noexcept { return file_; }
  const std::string& tensor() const noexcept { return tensor_; }
  const std::string& reason() const noexcept { return reason_; }

 private:
  std::string file_, tensor_, reason_;
};

}  // namespace w8a8
