// What the files of cache mounts share.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/cache_mounts.h"
#include "store/locks.h"

namespace kasane::store {

// What the identity says, in one unambiguous text.
std::string cache_mount_identity(const CacheMountRequest& request);

const char* sharing_name(CacheMountRequest::Sharing sharing);

// 64 hex digits, perhaps with ".N".
bool is_cache_mount_key(std::string_view name);

// meta.json of the directory; nullopt when there is none or it is damaged. Fills
// last_used_ns from its time.
std::optional<CacheMountInfo> read_cache_meta(const std::string& directory);
Result<void> write_cache_meta(const std::string& directory, const CacheMountInfo& info);

// Makes mounts/<key> and its lock as often as a pruner takes it away. nullopt: somebody
// else is in the way.
Result<std::optional<FileLock>> try_lock_cache(const std::string& directory, FileLock::Mode mode);

// Owner and mode of data/, where this is allowed.
Result<void> set_cache_owner(Store& store, const std::string& data,
                             const CacheMountRequest& request);

// Puts `fresh` (a directory of the same file system, or "" for none) in the place of data/,
// which is left at `old` when there was one. REQUIRES: the exclusive lock.
Result<void> replace_cache_data(Store& store, const std::string& directory,
                                const std::string& fresh, const std::string& old);

// Disk blocks below each directory, in bytes; hard links count once.
std::vector<uint64_t> cache_data_sizes(Store& store, const std::vector<std::string>& directories);

}  // namespace kasane::store
