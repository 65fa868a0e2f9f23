#include "store/cache_mounts.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>

#include "store/cache_mounts_internal.h"
#include "store/layer_internal.h"
#include "store/store.h"
#include "store/store_internal.h"

namespace kasane::store {
namespace {

using Sharing = CacheMountRequest::Sharing;
using Milliseconds = std::chrono::milliseconds;

constexpr int kMaxInstances = 1000;  // of a private pool
constexpr Milliseconds kFirstPause{2}, kLongestPause{100};

bool exists(const std::string& path) {
  struct stat st;
  return ::lstat(path.c_str(), &st) == 0;
}

// Sleeps, but not through a request to stop.
Result<void> pause(Milliseconds duration, std::stop_token stop, const CacheMountRequest& request) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, stop, duration, [] { return false; });
  if (stop.stop_requested())
    return Error(ErrorKind::kCancelled,
                 "cancelled while waiting for the cache mount \"" + request.id + "\"");
  return {};
}

class Opener {
 public:
  Opener(Store& store, const CacheMountRequest& request, std::stop_token stop)
      : store_(store),
        request_(request),
        stop_(std::move(stop)),
        base_(store.path("mounts/" + cache_mount_key(request))) {}

  Result<CacheMountHandle> open();

 private:
  // nullopt: in use by others.
  Result<std::optional<CacheMountHandle>> try_open(const std::string& directory);
  bool is_complete(const std::string& directory) const {
    return exists(directory + "/data") &&
           (request_.base_digest.empty() || exists(directory + "/seeded"));
  }
  Result<void> make_data(const std::string& directory);
  Result<void> note_use(const std::string& directory);
  Result<std::optional<CacheMountHandle>> try_private();

  Store& store_;
  const CacheMountRequest& request_;
  std::stop_token stop_;
  std::string base_;
};

Result<CacheMountHandle> Opener::open() {
  for (Milliseconds wait = kFirstPause;; wait = std::min(wait * 2, kLongestPause)) {
    std::optional<CacheMountHandle> handle =
        TRY(request_.sharing == Sharing::kPrivate ? try_private() : try_open(base_));
    if (handle) return std::move(*handle);
    TRY(pause(wait, stop_, request_));
  }
}

Result<std::optional<CacheMountHandle>> Opener::try_private() {
  for (int i = 0; i < kMaxInstances; ++i) {
    std::optional<CacheMountHandle> handle =
        TRY(try_open(i == 0 ? base_ : base_ + "." + std::to_string(i)));
    if (handle) return handle;
  }
  return std::optional<CacheMountHandle>();
}

Result<std::optional<CacheMountHandle>> Opener::try_open(const std::string& directory) {
  bool alone = request_.sharing != Sharing::kShared;
  for (;;) {
    std::optional<FileLock> lock = TRY(
        try_lock_cache(directory, alone ? FileLock::Mode::kExclusive : FileLock::Mode::kShared));
    if (!lock) return std::optional<CacheMountHandle>();
    bool complete = is_complete(directory);
    if (!complete && !alone) {
      // Only who has it alone may fill it. A lock cannot be changed without a gap, so
      // everything is looked at again afterwards.
      alone = true;
      continue;
    }
    if (!complete) TRY(make_data(directory));
    TRY(note_use(directory));
    const bool needs_seed = !complete && !request_.base_digest.empty();
    if (alone && !needs_seed && request_.sharing == Sharing::kShared) {
      alone = false;
      continue;
    }
    return std::optional(CacheMountHandle(directory, std::move(*lock).take(), needs_seed));
  }
}

// An unfinished one (a process died here, or while it seeded) is thrown away first.
Result<void> Opener::make_data(const std::string& directory) {
  const std::string fresh = directory + "/data.new";
  TRY(remove_tree(fresh));
  if (::mkdir(fresh.c_str(), 0700) != 0)
    return with_space_hint(Error::from_errno(errno, "create " + fresh));
  TRY(set_cache_owner(store_, fresh, request_));
  return replace_cache_data(store_, directory, fresh, store_.path("trash/data." + random_name()));
}

Result<void> Opener::note_use(const std::string& directory) {
  std::optional<CacheMountInfo> known = read_cache_meta(directory);
  if (known && known->sharing == sharing_name(request_.sharing)) {
    (void)::utimensat(AT_FDCWD, (directory + "/meta.json").c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
    return {};
  }
  CacheMountInfo info;
  info.id = request_.id;
  info.namespace_ = request_.namespace_;
  info.base_digest = request_.base_digest;
  info.mode = request_.mode;
  info.uid = request_.uid;
  info.gid = request_.gid;
  info.sharing = sharing_name(request_.sharing);
  info.created_ns = known ? known->created_ns : now_ns();
  return write_cache_meta(directory, info);
}

}  // namespace

std::string cache_mount_key(const CacheMountRequest& request) {
  return sha256(cache_mount_identity(request)).hex();
}

CacheMountHandle::~CacheMountHandle() {
  if (lock_)
    (void)::utimensat(AT_FDCWD, (directory_ + "/meta.json").c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
}

Result<void> CacheMountHandle::mark_seeded() {
  TRY(open_file(directory_ + "/seeded", O_WRONLY | O_CREAT | O_NOFOLLOW, 0600));
  needs_seed_ = false;
  return {};
}

Result<CacheMountHandle> open_cache_mount(Store& store, const CacheMountRequest& request,
                                          std::stop_token stop) {
  TRY(store.ensure_writable());
  Opener opener(store, request, std::move(stop));
  return TRY_CONTEXT(opener.open(), "open the cache mount \"" + request.id + "\"");
}

Result<std::optional<FileLock>> try_lock_cache(const std::string& directory, FileLock::Mode mode) {
  for (int attempt = 0;; ++attempt) {
    if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
      return with_space_hint(Error::from_errno(errno, "create " + directory));
    Result<std::optional<FileLock>> lock = FileLock::try_lock(directory + "/lock", mode);
    // A pruner took the directory away in between.
    if (lock || lock.error().errno_value() != ENOENT || attempt == 100) return lock;
  }
}

Result<void> set_cache_owner(Store& store, const std::string& data,
                             const CacheMountRequest& request) {
  auto work = [&]() -> Result<void> {
    // Owners that are not mapped here, or for which we lack the right, stay ours.
    if ((request.uid != 0 || request.gid != 0) &&
        ::chown(data.c_str(), request.uid, request.gid) != 0 && errno != EPERM && errno != EINVAL)
      return Error::from_errno(errno, "set the owner of " + data);
    if (::chmod(data.c_str(), request.mode & 07777) != 0)
      return Error::from_errno(errno, "set the mode of " + data);
    return {};
  };
  if (request.uid == 0 && request.gid == 0) return work();
  Result<void> done = run_with_report(store.tree_runner(), work);
  return done ? done : work();
}

// Moving a directory between parents needs the right to write into it: through the runner
// when its owner is another.
Result<void> replace_cache_data(Store& store, const std::string& directory,
                                const std::string& fresh, const std::string& old) {
  const std::string data = directory + "/data";
  auto work = [&]() -> Result<void> {
    ::unlink((directory + "/seeded").c_str());
    if (::rename(data.c_str(), old.c_str()) != 0 && errno != ENOENT)
      return Error::from_errno(errno, "move " + data + " to " + old);
    if (!fresh.empty() && ::rename(fresh.c_str(), data.c_str()) != 0)
      return Error::from_errno(errno, "move " + fresh + " to " + data);
    return {};
  };
  Result<void> done = work();
  if (done || done.error().kind() != ErrorKind::kPermission) return done;
  return run_with_report(store.tree_runner(), work);
}

}  // namespace kasane::store
