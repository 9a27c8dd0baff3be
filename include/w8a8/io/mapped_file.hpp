// A file mapped into memory for reading (POSIX).
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "w8a8/io/file_error.hpp"

namespace w8a8 {

/// The bytes of a regular file, read-only, for as long as the object lives; nothing is read before it is looked at. Move-only.
/// Whoever shortens the file meanwhile takes the pages away: replace files by renaming, as this library's writers do.
class MappedFile {
 public:
  MappedFile() = default;

  /// Throws FileError where the file cannot be opened or mapped, or is not a regular file.
  explicit MappedFile(const std::string& path) {
    // O_NONBLOCK: opening a named pipe must not wait for a writer; it has no effect on regular files.
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) throw FileError(path, text("cannot be opened: ", std::strerror(errno)));
    struct stat status {};
    if (::fstat(file, &status) != 0) fail_and_close(file, path, "cannot be examined: ", errno);
    if (!S_ISREG(status.st_mode)) {
      ::close(file);
      throw FileError(path, "is not a regular file");
    }
    if (static_cast<std::uintmax_t>(status.st_size) > std::numeric_limits<std::size_t>::max()) {
      ::close(file);
      throw FileError(path, "is larger than the address space");
    }
    size_ = static_cast<std::size_t>(status.st_size);
    if (size_ > 0) {
      void* mapping = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
      if (mapping == MAP_FAILED) fail_and_close(file, path, "cannot be mapped: ", errno);
      data_ = static_cast<const std::byte*>(mapping);
    }
    ::close(file);
  }

  MappedFile(MappedFile&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~MappedFile() {
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  }

  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

  /// Hands the pages of these bytes back to the system, which reads them again where somebody looks: what a reader of one large
  /// piece after another calls between them, so that the file does not pile up in its memory.
  void release(std::size_t offset, std::size_t bytes) const {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    if (offset > size_ || bytes > size_ - offset) return;
    const std::size_t begin = offset / page * page, end = (offset + bytes) / page * page;
    if (begin < end) ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
  }

 private:
  [[noreturn]] static void fail_and_close(int file, const std::string& path, const char* what, int code) {
    ::close(file);
    throw FileError(path, what + std::string(std::strerror(code)));
  }

  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace w8a8
