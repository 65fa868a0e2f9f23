// Cache mounts (RUN --mount=type=cache, reference RM2) as objects of the store:
//   mounts/<key>/data/      the directory that steps see
//   mounts/<key>/meta.json  what it is; its mtime is the last use
//   mounts/<key>/lock       flock: shared or exclusive by whoever uses data/
//   mounts/<key>/seeded     there when the content of from= is complete
// <key> is the sha256 of the identity (ids are hostile text), for further instances of a
// private pool with ".1", ".2", ... behind it. All functions are thread-safe. Times are
// nanoseconds since the epoch. Owners other than ours are handled by Store::tree_runner().
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/stream.h"

namespace kasane::store {

class Store;

struct CacheMountRequest {
  enum class Sharing {
    kShared,   // any number at once
    kPrivate,  // one each: the first instance of the pool that nobody uses
    kLocked,   // one at a time; others wait
  };
  std::string id;
  std::string namespace_;
  uint32_t mode = 0755, uid = 0, gid = 0;
  std::string base_digest;  // content id of from=, "" when there is none
  Sharing sharing = Sharing::kShared;
};

// Name of the directory (first instance) that the request means. A step that mounts one
// cache twice must open it once; steps that need several open them in the order of their
// keys, else two of them could wait for each other.
std::string cache_mount_key(const CacheMountRequest& request);

// In use while it lives: the lock is a kernel lock and ends with the process.
class CacheMountHandle {
 public:
  CacheMountHandle(std::string directory, UniqueFd lock, bool needs_seed)
      : directory_(std::move(directory)), lock_(std::move(lock)), needs_seed_(needs_seed) {}
  CacheMountHandle(CacheMountHandle&&) noexcept = default;
  CacheMountHandle& operator=(CacheMountHandle&&) noexcept = default;
  ~CacheMountHandle();  // notes the last use

  std::string path() const { return directory_ + "/data"; }
  int lock_fd() const { return lock_.get(); }

  // True when base_digest is given and data/ is still empty: the caller fills it with the
  // content of from= and calls mark_seeded(). The lock is exclusive then, whatever the
  // sharing. A process that dies in between leaves it unseeded; the next one starts anew.
  bool needs_seed() const { return needs_seed_; }
  Result<void> mark_seeded();

 private:
  std::string directory_;
  UniqueFd lock_;
  bool needs_seed_;
};

// Makes the directory when it is new (mode, uid, gid; owners only where this is allowed).
// Waits for kLocked, and for kShared while somebody has it alone; kCancelled when `stop` is
// requested meanwhile. The identity is namespace + id + base_digest, and mode + uid + gid
// when there is no base_digest.
Result<CacheMountHandle> open_cache_mount(Store& store, const CacheMountRequest& request,
                                          std::stop_token stop = {});

struct CacheMountInfo {
  std::string key;  // name of the directory below mounts/
  std::string id, namespace_, base_digest;
  uint32_t mode = 0, uid = 0, gid = 0;
  int64_t created_ns = 0, last_used_ns = 0;
  uint64_t size_bytes = 0;  // disk blocks of data/; 0 unless asked for
  bool in_use = false;
  // "shared", "private" or "locked": how it was last used; "" for directories without
  // meta.json (made by an older kasane, or damaged).
  std::string sharing;
};

// By id, then key. Sizes cost a walk over every file.
Result<std::vector<CacheMountInfo>> list_cache_mounts(Store& store, bool with_sizes);

// By id, or by (a start of at least 4 characters of) the key. kNotFound; kConflict, with the
// keys in the hint, when several have the id.
Result<CacheMountInfo> find_cache_mount(Store& store, const std::string& id_or_key);

struct CacheMountPrune {
  std::optional<std::string> id;           // only this id (or key)
  std::optional<int64_t> unused_since_ns;  // only those last used before
  std::optional<uint64_t> keep_bytes;      // least recently used first, until this much is left
};
struct PrunedCacheMounts {
  std::vector<CacheMountInfo> removed;
  uint64_t freed_bytes = 0;
};
// Never one in use.
Result<PrunedCacheMounts> prune_cache_mounts(Store& store, const CacheMountPrune& options);

// A deterministic tar of data/ ("./" first): equal content gives equal bytes. Holds the
// shared lock meanwhile. Sockets are left out.
Result<void> export_cache_mount(Store& store, const CacheMountInfo& mount, ByteSink& out);

// Replaces the content of the cache that `request` names (made when it is new) by that of
// an uncompressed tar. Nothing changes when the tar is refused. kConflict while it is in use.
Result<void> import_cache_mount(Store& store, const CacheMountRequest& request, ByteSource& tar);

}  // namespace kasane::store
