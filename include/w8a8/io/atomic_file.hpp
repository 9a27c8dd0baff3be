// A file that appears whole or not at all (POSIX).
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "w8a8/io/file_error.hpp"

namespace w8a8 {

/// Writes beside `path` and takes its place on commit(): until then, and after a crash at any time, `path` holds what it held
/// before, or all of the new bytes. Destroyed without a commit, it leaves nothing behind.
class AtomicFile {
 public:
  /// Throws FileError where no file can be made in the directory of `path`.
  explicit AtomicFile(const std::string& path) : path_(path) {
    static std::atomic<unsigned> counter{0};
    for (int attempt = 0; attempt < 100; ++attempt) {
      temporary_ = path + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
      file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (file_ >= 0 || errno != EEXIST) break;
    }
    if (file_ < 0) throw FileError(path, text("cannot be created: ", std::strerror(errno)));
  }

  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  ~AtomicFile() {
    if (file_ >= 0) ::close(file_);
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
  }

  const std::string& path() const { return path_; }

  /// Writes `bytes` bytes at `offset`. Throws FileError where the disk refuses them.
  void write(std::uint64_t offset, const void* data, std::uint64_t bytes) {
    const char* from = static_cast<const char*>(data);
    constexpr std::uint64_t piece = 1 << 30;  // Linux writes no more than 2^31 bytes at a call
    while (bytes > 0) {
      const ::ssize_t written =
          ::pwrite(file_, from, static_cast<std::size_t>(bytes < piece ? bytes : piece), static_cast<::off_t>(offset));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) throw FileError(path_, text("cannot be written: ", std::strerror(written < 0 ? errno : ENOSPC)));
      from += written;
      offset += static_cast<std::uint64_t>(written);
      bytes -= static_cast<std::uint64_t>(written);
    }
  }

  /// Makes the bytes durable and gives them their name. Throws FileError where that fails; `path` is then as it was.
  void commit() {
    if (::fsync(file_) != 0) throw FileError(path_, text("cannot be synchronised: ", std::strerror(errno)));
    const int closed = ::close(file_);
    file_ = -1;
    if (closed != 0) throw FileError(path_, text("cannot be closed: ", std::strerror(errno)));
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0)
      throw FileError(path_, text("cannot be replaced: ", std::strerror(errno)));
    temporary_.clear();
    // The new name is durable once the directory is; file systems that cannot synchronise a directory need not stop us.
    const std::size_t slash = path_.rfind('/');
    const std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path_.substr(0, slash);
    const int handle = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (handle >= 0) {
      ::fsync(handle);
      ::close(handle);
    }
  }

 private:
  std::string path_, temporary_;
  int file_ = -1;
};

}  // namespace w8a8
