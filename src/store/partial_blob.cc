#include "store/partial_blob.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <thread>

#include "store/locks.h"
#include "store/store_internal.h"

namespace kasane::store {
namespace {

constexpr int64_t kKeepSeconds = 7 * 86400;
constexpr size_t kBufferBytes = 256 * 1024;

std::string blob_path(Store& store, const Sha256Digest& digest) {
  return store.path("blobs/sha256/" + digest.hex());
}

bool has_size(const std::string& path, uint64_t size) {
  struct stat st;
  return ::lstat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) &&
         static_cast<uint64_t>(st.st_size) == size;
}

}  // namespace

Result<std::unique_ptr<PartialBlob>> PartialBlob::open(Store& store, const Sha256Digest& digest,
                                                       uint64_t size, const std::stop_token& stop) {
  TRY(store.hold());
  TRY(store.ensure_writable());
  TRY(make_directories(store.path("downloads"), 0700));
  std::unique_ptr<PartialBlob> blob(new PartialBlob(store, digest, size));
  blob->path_ = store.path("downloads/" + digest.hex());
  blob->complete_ = has_size(blob_path(store, digest), size);
  UniqueFd fd;
  if (!blob->complete_) {
    fd = TRY(blob->lock(stop));
    blob->complete_ = !fd;
  }
  uint64_t have = size;
  if (blob->complete_)
    fd = TRY(open_file(blob_path(store, digest), O_RDONLY | O_NOFOLLOW));
  else
    have = TRY(blob->take_over(fd.get()));
  blob->file_.attach(std::move(fd), blob->path_, have);
  blob->file_.set_size(size);
  return blob;
}

Result<UniqueFd> PartialBlob::lock(const std::stop_token& stop) {
  for (;;) {
    std::optional<FileLock> held = TRY(FileLock::try_lock(path_, FileLock::Mode::kExclusive));
    UniqueFd fd;
    if (held) fd = std::move(*held).take();
    if (has_size(blob_path(store_, digest_), size_)) {
      if (fd) ::unlink(path_.c_str());  // made by the attempt to lock it
      return UniqueFd();
    }
    if (fd) return fd;
    if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

// What a former process left: hashed again, for nothing says that it is what was sent.
Result<uint64_t> PartialBlob::take_over(int fd) {
  const std::unique_ptr<uint8_t[]> buffer(new uint8_t[kBufferBytes]);
  uint64_t have = 0;
  for (;;) {
    const size_t n = TRY(read_some(fd, {buffer.get(), kBufferBytes}, path_));
    if (n == 0) return have;
    if (have + n > size_) {
      hash_ = Sha256();
      if (::ftruncate(fd, 0) != 0 || ::lseek(fd, 0, SEEK_SET) != 0)
        return Error::from_errno(errno, "truncate " + path_);
      return uint64_t{0};
    }
    hash_.update({buffer.get(), n});
    have += n;
  }
}

PartialBlob::~PartialBlob() {
  if (complete_ || committed_ || file_.fd() < 0) return;
  // Nothing came: no reason to leave an empty file behind. The lock is still held.
  if (have() == 0) ::unlink(path_.c_str());
}

Result<void> PartialBlob::append(std::span<const uint8_t> bytes) {
  if (bytes.size() > size_ - have())
    return Error(ErrorKind::kCorrupt, "more than the announced " + std::to_string(size_) + " bytes came");
  TRY(file_.append(bytes));
  hash_.update(bytes);
  return {};
}

Result<void> PartialBlob::restart() {
  hash_ = Sha256();
  return file_.restart();
}

Result<void> PartialBlob::verify() {
  if (have() != size_)
    return Error(ErrorKind::kNetwork, std::to_string(have()) + " of " + std::to_string(size_) + " bytes came");
  const Sha256Digest found = hash_.finish();
  if (found == digest_) return {};
  TRY(restart());
  return Error(ErrorKind::kCorrupt, "digest mismatch: the bytes that came have the digest " + found.str() +
                                        " instead of " + digest_.str());
}

Result<void> PartialBlob::commit() {
  TRY(sync_fd(file_.fd(), path_));
  const std::string target = blob_path(store_, digest_);
  if (::rename(path_.c_str(), target.c_str()) != 0)
    return Error::from_errno(errno, "rename to " + target);
  committed_ = true;
  return sync_directory(store_.path("blobs/sha256"));
}

uint64_t sweep_partial_blobs(Store& store) {
  const std::string folder = store.path("downloads");
  Result<std::vector<std::string>> names = list_directory(folder);
  if (!names) return 0;
  uint64_t count = 0;
  for (const std::string& name : *names) {
    const std::string path = folder + "/" + name;
    struct stat st;
    if (::lstat(path.c_str(), &st) != 0 || std::time(nullptr) - st.st_mtime < kKeepSeconds) continue;
    Result<std::optional<FileLock>> lock = FileLock::try_lock(path, FileLock::Mode::kExclusive);
    if (lock && *lock && ::unlink(path.c_str()) == 0) ++count;
  }
  return count;
}

}  // namespace kasane::store
