#include "store/locks.h"

#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

namespace kasane::store {
namespace {

Result<UniqueFd> open_lock_file(const std::string& path) {
  constexpr int kFlags = O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
  Result<UniqueFd> fd = open_file(path, O_RDWR | O_CREAT | kFlags, 0600);
  // A read-only store can still be held: flock needs no write access.
  if (!fd && fd.error().kind() == ErrorKind::kPermission) fd = open_file(path, O_RDONLY | kFlags);
  if (!fd) return fd;
  struct stat st;
  if (::fstat(fd->get(), &st) != 0) return Error::from_errno(errno, "stat " + path);
  if (!S_ISREG(st.st_mode) || (st.st_uid != ::geteuid() && st.st_uid != 0))
    return Error(ErrorKind::kPermission, "lock file " + path + " is not a plain file of this user");
  return fd;
}

// False when the file was removed or replaced since it was opened: that lock guards nothing.
bool still_there(int fd, const std::string& path) {
  struct stat held, named;
  return ::fstat(fd, &held) == 0 && ::lstat(path.c_str(), &named) == 0 &&
         held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

}  // namespace

Result<std::optional<FileLock>> FileLock::try_lock(const std::string& path, Mode mode) {
  for (;;) {
    UniqueFd fd = TRY(open_lock_file(path));
    int operation = (mode == Mode::kShared ? LOCK_SH : LOCK_EX) | LOCK_NB;
    int failed;
    do {
      failed = ::flock(fd.get(), operation);
    } while (failed != 0 && errno == EINTR);
    if (failed != 0 && errno == EWOULDBLOCK) return std::optional<FileLock>();
    if (failed != 0) return Error::from_errno(errno, "lock " + path);
    if (still_there(fd.get(), path)) return std::optional<FileLock>(FileLock(std::move(fd)));
  }
}

// Polls: a blocking flock could not be given up when its holder is stopped.
Result<FileLock> FileLock::lock(const std::string& path, Mode mode, int timeout_ms) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point end = Clock::now() + std::chrono::milliseconds(timeout_ms);
  auto pause = std::chrono::milliseconds(1);
  for (;;) {
    std::optional<FileLock> held = TRY(try_lock(path, mode));
    if (held) return std::move(*held);
    if (Clock::now() >= end)
      return Error(ErrorKind::kConflict, "another kasane process has held " + path +
                                             " for more than " + std::to_string(timeout_ms) + " ms")
          .hint("wait for it or end it (`fuser " + path + "` names it), then try again");
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::milliseconds(50));
  }
}

Result<void> Locks::hold() {
  std::lock_guard lock(mutex_);
  if (!shared_) shared_ = TRY(FileLock::lock(folder_ + "store", FileLock::Mode::kShared, timeout_));
  return {};
}

void Locks::release() {
  std::lock_guard lock(mutex_);
  shared_.reset();
}

Result<bool> Locks::with_exclusive(const std::function<Result<void>()>& work) {
  std::lock_guard lock(mutex_);
  bool held = shared_.has_value();
  shared_.reset();
  Result<std::optional<FileLock>> exclusive =
      FileLock::try_lock(folder_ + "store", FileLock::Mode::kExclusive);
  bool got = exclusive && exclusive->has_value();
  Result<void> done;
  if (got) done = work();
  if (exclusive) exclusive->reset();
  if (held) shared_ = TRY(FileLock::lock(folder_ + "store", FileLock::Mode::kShared, timeout_));
  if (!exclusive) return std::move(exclusive.error());
  if (!done) return std::move(done.error());
  return got;
}

Result<FileLock> Locks::creating() {
  return FileLock::lock(folder_ + "create", FileLock::Mode::kExclusive, timeout_);
}

Result<FileLock> Locks::making_ingest() {
  return FileLock::lock(folder_ + "ingest", FileLock::Mode::kShared, timeout_);
}

Result<std::optional<FileLock>> Locks::sweeping_ingests() {
  return FileLock::try_lock(folder_ + "ingest", FileLock::Mode::kExclusive);
}

Result<std::optional<FileLock>> Locks::emptying_trash() {
  return FileLock::try_lock(folder_ + "trash", FileLock::Mode::kExclusive);
}

}  // namespace kasane::store
