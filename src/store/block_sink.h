// BlockSink: the end of every pipeline that makes a layer blob. What is written is
// gathered in 1 MiB blocks; once the first one is full, a second thread hashes and writes
// them, so that on two cores reading, content hash, tar hash and disk overlap. Small
// layers never start the thread.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/hash.h"
#include "base/stream.h"

namespace kasane::store {

// One producer thread. At most 4 MiB of memory. After an error every call returns it.
class BlockSink : public ByteSink {
 public:
  // Hashes, and writes to `fd` (not owned; positioned by the caller) unless it is -1.
  BlockSink(int fd, std::string name);
  ~BlockSink() override;
  BlockSink(const BlockSink&) = delete;
  BlockSink& operator=(const BlockSink&) = delete;

  // Free room of the current block, never empty: a reader may fill it and pass the same
  // bytes to write(), which then does not copy them.
  Result<std::span<uint8_t>> reserve();
  Result<void> write(std::span<const uint8_t> bytes) override;

  struct Totals {
    Sha256Digest digest;
    uint64_t size = 0;
  };
  // Everything is hashed and written (not synced) afterwards. Nothing may follow.
  Result<Totals> finish();

 private:
  static constexpr size_t kBlockSize = 1 << 20;
  static constexpr size_t kBlocks = 4;

  Result<void> submit();
  Result<void> consume(std::span<const uint8_t> bytes);  // by one thread at a time
  void work();
  void stop();

  int fd_;
  std::string name_;
  Sha256 hash_;
  uint64_t size_ = 0;  // passed to consume()
  uint64_t flushing_from_ = 0;

  std::array<std::unique_ptr<uint8_t[]>, kBlocks> blocks_;
  uint64_t filling_ = 0;  // number of the block being filled; slot = number % kBlocks
  size_t used_ = 0;       // bytes in it

  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t submitted_ = 0;  // full blocks handed over
  uint64_t consumed_ = 0;
  bool stopping_ = false;
  std::optional<Error> error_;
  std::thread worker_;
};

}  // namespace kasane::store
