// Kernel locks of the store (flock on files below locks/, kept open): a lock ends with its
// process, so nothing is ever stale. Reliability rules 2.2.3.
//   locks/store    shared: "what exists stays"; exclusive: whoever deletes, for milliseconds
//   locks/ingest   shared while an ingest directory is being made, exclusive to sweep them
//   locks/create   exclusive while directories and database are made
//   locks/trash    exclusive to empty trash/
//   ingest/<id>/lock  exclusive by the owner of the directory
// Order: store → ingest → trash; create is never held with another.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace kasane::store {

// One held lock; the destructor frees it. Move-only.
class FileLock {
 public:
  enum class Mode { kShared, kExclusive };
  // nullopt when another process (or another FileLock of this one) is in the way. Makes the
  // file. kPermission when it is not a plain file of ours (F16).
  static Result<std::optional<FileLock>> try_lock(const std::string& path, Mode mode);
  // Waits; kConflict after timeout_ms.
  static Result<FileLock> lock(const std::string& path, Mode mode, int timeout_ms);
  UniqueFd take() && { return std::move(fd_); }

 private:
  explicit FileLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// The locks of one Store object. Thread-safe.
class Locks {
 public:
  Locks(const std::string& root, int timeout_ms)
      : folder_(root + "/locks/"), timeout_(timeout_ms) {}

  Result<void> hold();
  void release();
  // Runs `work` with the exclusive store lock. False, without running it, when somebody
  // else holds the store. An own shared hold is given up before and taken again after: a
  // flock cannot be turned from shared to exclusive without a gap or a deadlock.
  Result<bool> with_exclusive(const std::function<Result<void>()>& work);

  Result<FileLock> creating();
  Result<FileLock> making_ingest();
  Result<std::optional<FileLock>> sweeping_ingests();
  Result<std::optional<FileLock>> emptying_trash();

 private:
  std::string folder_;
  int timeout_;
  std::mutex mutex_;
  std::optional<FileLock> shared_;
};

}  // namespace kasane::store
