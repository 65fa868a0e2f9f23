// StatCache: content digests of context files, remembered by (device, inode, size, mtime,
// ctime), so that a file which did not change is not read again. ctime cannot be set by a
// program, which makes the tuple trustworthy; a file that changed less than 100 ms before
// it was hashed is not remembered, since a second change could hide in the same tick.
//
// One file per context directory below <store>/statcache. Losing it costs time, nothing else,
// so it is written without fsync and a damaged one is ignored. Thread-safe.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/fd.h"
#include "base/hash.h"

namespace kasane::build {

class StatCache {
 public:
  struct Known {
    Sha256Digest content;
    bool has_xattrs = false;
  };

  // What must be equal for a file to count as unchanged.
  struct Identity {
    uint64_t device = 0, inode = 0, size = 0;
    int64_t mtime_ns = 0, ctime_ns = 0;
  };

  // Loads what is there. `path` = "" gives a cache that is never saved.
  explicit StatCache(std::string path);
  std::optional<Known> find(const Identity& file) const;
  // `file` must have been taken before the content was read and must still hold after it.
  void remember(const Identity& file, const Known& known);
  // Writes the file if anything new was remembered. Errors are ignored by design.
  void save();

 private:
  // Fixed-size, written as it lies in memory: the file never leaves this machine.
  struct Record {
    Identity file;
    Sha256Digest content;
    uint64_t has_xattrs = 0;
  };
  struct Id {
    uint64_t device, inode;
    bool operator==(const Id&) const = default;
  };
  struct IdHash {
    size_t operator()(const Id& id) const noexcept { return id.inode * 0x9e3779b97f4a7c15ull ^ id.device; }
  };
  const Record* find_loaded(const Id& id) const;
  void load();

  std::string path_;
  std::string mapped_;  // file content as read; sorted records
  mutable std::mutex mutex_;
  std::unordered_map<Id, Record, IdHash> fresh_;
};

}  // namespace kasane::build
