// A file that one thread writes while others read it from any place on: the page cache is the
// buffer between them. A download that its importer follows, a layer that is compressed and sent
// at once.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "base/stream.h"

namespace kasane::store {

// One writer; any number of readers on other threads.
class GrowingFile {
 public:
  GrowingFile() = default;
  // `fd`: open for reading and writing, its position at the end of the `have` bytes that are there.
  void attach(UniqueFd fd, std::string path, uint64_t have);
  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }

  uint64_t have() const;
  Result<void> append(std::span<const uint8_t> bytes);
  // Everything again from the first byte. Readers get kConflict.
  Result<void> restart();
  // Readers end behind this many bytes.
  void set_size(uint64_t size);
  // No more will come: readers that wait get this error.
  void fail(const Error& error);

  // Waits for bytes that are not there yet. Must not outlive this.
  std::unique_ptr<ByteSource> reader(uint64_t offset = 0);

 private:
  class Reader;
  UniqueFd fd_;
  std::string path_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  uint64_t have_ = 0;
  uint64_t generation_ = 0;
  std::optional<uint64_t> size_;
  std::optional<Error> error_;
};

}  // namespace kasane::store
