// Listing, sizes and pruning of cache mounts.
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <dirent.h>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <set>
#include <tuple>

#include "store/cache_mounts_internal.h"
#include "store/layer_internal.h"
#include "store/store.h"
#include "store/store_internal.h"

namespace kasane::store {
namespace {

constexpr size_t kMinKeyPrefix = 4;

struct Usage {
  uint64_t bytes = 0;
  bool complete = true;
};

// Directories are opened one at a time: depth must not exhaust descriptors.
Usage disk_usage(const std::string& directory) {
  Usage usage;
  Result<UniqueFd> root = open_file(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!root) return {0, root.error().errno_value() == ENOENT};
  std::set<std::pair<dev_t, ino_t>> linked;
  std::vector<std::string> pending = {""};
  while (!pending.empty()) {
    const std::string path = std::move(pending.back());
    pending.pop_back();
    Result<UniqueFd> fd = open_in_tree(root->get(), path, O_RDONLY | O_DIRECTORY);
    DIR* dir = fd ? ::fdopendir(fd->get()) : nullptr;
    if (!dir) {
      usage.complete = false;
      continue;
    }
    fd->release();
    while (const dirent* entry = ::readdir(dir)) {
      const std::string_view name = entry->d_name;
      struct stat st;
      if (name == ".." || ::fstatat(::dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        continue;
      if (S_ISDIR(st.st_mode) && name != ".") {
        pending.push_back(path.empty() ? std::string(name) : path + "/" + std::string(name));
        continue;
      }
      if (!S_ISDIR(st.st_mode) && st.st_nlink > 1 && !linked.emplace(st.st_dev, st.st_ino).second)
        continue;
      usage.bytes += static_cast<uint64_t>(st.st_blocks) * 512;
    }
    ::closedir(dir);
  }
  return usage;
}

// Directories of an older kasane are the data themselves.
std::string data_of(const Store& store, const CacheMountInfo& info) {
  const std::string directory = store.path("mounts/" + info.key);
  return info.sharing.empty() ? directory : directory + "/data";
}

bool is_in_use(const std::string& directory) {
  Result<std::optional<FileLock>> lock =
      FileLock::try_lock(directory + "/lock", FileLock::Mode::kExclusive);
  return lock && !*lock;
}

std::optional<CacheMountInfo> info_of(const Store& store, const std::string& name) {
  const std::string directory = store.path("mounts/" + name);
  struct stat st;
  if (!is_cache_mount_key(name) || ::lstat(directory.c_str(), &st) != 0 || !S_ISDIR(st.st_mode))
    return std::nullopt;
  std::optional<CacheMountInfo> info = read_cache_meta(directory);
  if (info) {
    if (info->sharing.empty()) info->sharing = "shared";
    info->in_use = is_in_use(directory);
  } else {
    info.emplace();
    info->mode = st.st_mode & 07777;
    info->last_used_ns = int64_t{st.st_mtim.tv_sec} * 1'000'000'000 + st.st_mtim.tv_nsec;
  }
  info->key = name;
  return info;
}

// True when it is gone.
Result<bool> remove_mount(Store& store, const CacheMountInfo& info,
                          std::optional<int64_t> unused_since_ns) {
  const std::string name = "mounts/" + info.key;
  if (info.sharing.empty()) {
    // Nothing but the store's lock tells whether an older kasane uses it. One that is just
    // being made has a lock already.
    std::optional<FileLock> lock;
    struct stat st;
    if (::lstat((store.path(name) + "/lock").c_str(), &st) == 0 && S_ISREG(st.st_mode)) {
      lock = TRY(FileLock::try_lock(store.path(name) + "/lock", FileLock::Mode::kExclusive));
      if (!lock) return false;
    }
    return store.locks().with_exclusive([&]() -> Result<void> {
      ::unlink((store.path(name) + ".lock").c_str());
      return store.move_to_trash(name);
    });
  }
  std::optional<FileLock> lock =
      TRY(FileLock::try_lock(store.path(name) + "/lock", FileLock::Mode::kExclusive));
  if (!lock) return false;
  std::optional<CacheMountInfo> now = read_cache_meta(store.path(name));
  if (unused_since_ns && now && now->last_used_ns >= *unused_since_ns) return false;
  TRY(store.move_to_trash(name));
  return true;
}

}  // namespace

// Files of other owners cannot be looked at directly: then all is done again in their
// namespace. The result comes back through shared memory, for the runner may fork.
std::vector<uint64_t> cache_data_sizes(Store& store, const std::vector<std::string>& directories) {
  std::vector<uint64_t> sizes;
  bool complete = true;
  for (const std::string& directory : directories) {
    Usage usage = disk_usage(directory);
    sizes.push_back(usage.bytes);
    complete &= usage.complete;
  }
  if (complete) return sizes;
  const size_t bytes = directories.size() * sizeof(uint64_t);
  void* shared = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return sizes;
  uint64_t* out = static_cast<uint64_t*>(shared);
  Result<int> status = store.tree_runner()([&] {
    for (size_t i = 0; i < directories.size(); ++i) out[i] = disk_usage(directories[i]).bytes;
    return 0;
  });
  if (status && *status == 0) std::copy_n(out, sizes.size(), sizes.begin());
  ::munmap(shared, bytes);
  return sizes;
}

Result<std::vector<CacheMountInfo>> list_cache_mounts(Store& store, bool with_sizes) {
  std::vector<CacheMountInfo> out;
  for (const std::string& name : TRY(list_directory(store.path("mounts"))))
    if (auto info = info_of(store, name)) out.push_back(std::move(*info));
  std::sort(out.begin(), out.end(), [](const CacheMountInfo& a, const CacheMountInfo& b) {
    return std::tie(a.id, a.key) < std::tie(b.id, b.key);
  });
  if (!with_sizes || out.empty()) return out;
  std::vector<std::string> directories;
  for (const CacheMountInfo& info : out) directories.push_back(data_of(store, info));
  const std::vector<uint64_t> sizes = cache_data_sizes(store, directories);
  for (size_t i = 0; i < out.size(); ++i) out[i].size_bytes = sizes[i];
  return out;
}

Result<CacheMountInfo> find_cache_mount(Store& store, const std::string& id_or_key) {
  const std::vector<CacheMountInfo> all = TRY(list_cache_mounts(store, false));
  std::vector<const CacheMountInfo*> found;
  for (const CacheMountInfo& info : all)
    if (info.key == id_or_key) return info;
  for (const CacheMountInfo& info : all)
    if (!info.sharing.empty() && info.id == id_or_key) found.push_back(&info);
  if (found.empty() && id_or_key.size() >= kMinKeyPrefix)
    for (const CacheMountInfo& info : all)
      if (info.key.starts_with(id_or_key)) found.push_back(&info);
  if (found.empty())
    return Error(ErrorKind::kNotFound, "No such cache mount: " + id_or_key)
        .hint("`kasane cache ls` shows what there is");
  if (found.size() == 1) return *found.front();
  std::string keys;
  for (const CacheMountInfo* info : found) keys += (keys.empty() ? "" : ", ") + info->key;
  return Error(ErrorKind::kConflict, "several cache mounts are called \"" + id_or_key + "\"")
      .hint("name one by its key: " + keys);
}

Result<PrunedCacheMounts> prune_cache_mounts(Store& store, const CacheMountPrune& options) {
  PrunedCacheMounts out;
  TRY(store.ensure_writable());
  std::vector<CacheMountInfo> mounts = TRY(list_cache_mounts(store, true));
  uint64_t total = 0;
  for (const CacheMountInfo& info : mounts) total += info.size_bytes;
  std::stable_sort(mounts.begin(), mounts.end(),
                   [](const CacheMountInfo& a, const CacheMountInfo& b) {
                     return a.last_used_ns < b.last_used_ns;
                   });
  for (CacheMountInfo& info : mounts) {
    if (options.keep_bytes && total <= *options.keep_bytes) break;
    if (info.in_use || (options.id && info.id != *options.id && info.key != *options.id)) continue;
    if (options.unused_since_ns && info.last_used_ns >= *options.unused_since_ns) continue;
    if (!TRY(remove_mount(store, info, options.unused_since_ns))) continue;
    total -= info.size_bytes;
    out.freed_bytes += info.size_bytes;
    out.removed.push_back(std::move(info));
  }
  store.empty_trash();
  return out;
}

}  // namespace kasane::store
