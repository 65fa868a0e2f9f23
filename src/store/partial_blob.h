// A blob on its way into blobs/: downloads/<hex> keeps what came so far, also when the process
// dies, so that the next one continues. One process at a time has it (flock); the others wait
// and find the blob done.
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "base/hash.h"
#include "base/result.h"
#include "base/stream.h"
#include "store/growing_file.h"
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
  uint64_t have() const { return file_.have(); }  // bytes written so far
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
  void fail(const Error& error) { file_.fail(error); }

  // Reads from the beginning, waiting for bytes that are not there yet. Must not outlive this.
  std::unique_ptr<ByteSource> reader() { return file_.reader(); }

 private:
  PartialBlob(Store& store, const Sha256Digest& digest, uint64_t size)
      : store_(store), digest_(digest), size_(size) {}
  Result<UniqueFd> lock(const std::stop_token& stop);  // none: the blob is complete
  Result<uint64_t> take_over(int fd);

  Store& store_;
  Sha256Digest digest_;
  uint64_t size_;
  std::string path_;
  GrowingFile file_;
  Sha256 hash_;
  bool complete_ = false;
  bool committed_ = false;
};

// Removes what no process works on and nobody continued for a week. Returns how many.
uint64_t sweep_partial_blobs(Store& store);

}  // namespace kasane::store
