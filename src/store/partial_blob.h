// A blob on its way into blobs/: downloads/<hex> keeps what came so far, also when the process
// dies, so that the next one continues. One process at a time has it (flock); the others wait
// and find the blob done.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "base/fd.h"
#include "base/hash.h"
#include "base/result.h"
#include "base/stream.h"
#include "store/store.h"

namespace kasane::store {

// One writer; any number of readers on other threads.
class PartialBlob {
 public:
  // Takes the lock (waiting until the stop) and hashes what is there already. When a blob of
  // this digest and size is in the store, complete() is true and there is nothing to write.
  static Result<std::unique_ptr<PartialBlob>> open(Store& store, const Sha256Digest& digest,
                                                   uint64_t size, const std::stop_token& stop);
  ~PartialBlob();

  bool complete() const { return complete_; }
  uint64_t have() const { return have_; }  // bytes written so far
  uint64_t size() const { return size_; }
  // kCorrupt when more than size() would come.
  Result<void> append(std::span<const uint8_t> bytes);
  // Everything again from the first byte. Readers get kConflict.
  Result<void> restart();
  // All bytes are there: kCorrupt (and a restart) when they are not the digest's.
  Result<void> verify();
  // Syncs and moves it to blobs/. REQUIRES: verify() succeeded.
  Result<void> commit();
  // No more will come: readers that wait get this error.
  void fail(const Error& error);

  // Reads from the beginning, waiting for bytes that are not there yet. Must not outlive this.
  std::unique_ptr<ByteSource> reader();

 private:
  class Reader;
  PartialBlob(Store& store, const Sha256Digest& digest, uint64_t size)
      : store_(store), digest_(digest), size_(size) {}
  Result<bool> lock(const std::stop_token& stop);  // false: the blob is complete
  Result<void> take_over();

  Store& store_;
  Sha256Digest digest_;
  uint64_t size_;
  std::string path_;
  UniqueFd fd_;
  Sha256 hash_;
  bool complete_ = false;
  bool committed_ = false;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  uint64_t have_ = 0;
  uint64_t generation_ = 0;
  std::optional<Error> error_;
};

// Removes what no process works on and nobody continued for a week. Returns how many.
uint64_t sweep_partial_blobs(Store& store);

}  // namespace kasane::store
