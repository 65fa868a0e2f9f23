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

// Follows the writer through the file: the page cache is the buffer between the two.
class PartialBlob::Reader final : public ByteSource {
 public:
  explicit Reader(PartialBlob& blob) : blob_(blob), generation_(blob.generation_) {}

  Result<size_t> read(std::span<uint8_t> buffer) override {
    uint64_t available = 0;
    {
      std::unique_lock lock(blob_.mutex_);
      blob_.changed_.wait(lock, [&] {
        return blob_.error_ || blob_.generation_ != generation_ || blob_.have_ > offset_ ||
               offset_ == blob_.size_;
      });
      if (blob_.generation_ != generation_)
        return Error(ErrorKind::kConflict, "the download began again");
      if (blob_.have_ <= offset_ && offset_ != blob_.size_) return *blob_.error_;
      available = blob_.have_ - offset_;
    }
    if (available == 0) return size_t{0};
    const size_t want = static_cast<size_t>(std::min<uint64_t>(buffer.size(), available));
    const ssize_t got = ::pread(blob_.fd_.get(), buffer.data(), want, static_cast<off_t>(offset_));
    if (got <= 0) return Error::from_errno(got == 0 ? EIO : errno, "read " + blob_.path_);
    offset_ += static_cast<uint64_t>(got);
    return static_cast<size_t>(got);
  }

 private:
  PartialBlob& blob_;
  uint64_t generation_;
  uint64_t offset_ = 0;
};

Result<std::unique_ptr<PartialBlob>> PartialBlob::open(Store& store, const Sha256Digest& digest,
                                                       uint64_t size, const std::stop_token& stop) {
  TRY(store.hold());
  TRY(store.ensure_writable());
  TRY(make_directories(store.path("downloads"), 0700));
  std::unique_ptr<PartialBlob> blob(new PartialBlob(store, digest, size));
  blob->path_ = store.path("downloads/" + digest.hex());
  blob->complete_ = has_size(blob_path(store, digest), size);
  if (!blob->complete_) blob->complete_ = !TRY(blob->lock(stop));
  if (blob->complete_) {
    blob->fd_ = TRY(open_file(blob_path(store, digest), O_RDONLY | O_NOFOLLOW));
    blob->have_ = size;
  } else {
    TRY(blob->take_over());
  }
  return blob;
}

Result<bool> PartialBlob::lock(const std::stop_token& stop) {
  for (;;) {
    std::optional<FileLock> held = TRY(FileLock::try_lock(path_, FileLock::Mode::kExclusive));
    if (held) fd_ = std::move(*held).take();
    if (has_size(blob_path(store_, digest_), size_)) {
      if (held) ::unlink(path_.c_str());  // made by the attempt to lock it
      return false;
    }
    if (held) return true;
    if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

// What a former process left: hashed again, for nothing says that it is what was sent.
Result<void> PartialBlob::take_over() {
  const std::unique_ptr<uint8_t[]> buffer(new uint8_t[kBufferBytes]);
  for (;;) {
    const size_t n = TRY(read_some(fd_.get(), {buffer.get(), kBufferBytes}, path_));
    if (n == 0) return {};
    if (have_ + n > size_) return restart();
    hash_.update({buffer.get(), n});
    have_ += n;
  }
}

PartialBlob::~PartialBlob() {
  if (complete_ || committed_ || !fd_) return;
  // Nothing came: no reason to leave an empty file behind. The lock is still held.
  if (have_ == 0) ::unlink(path_.c_str());
}

Result<void> PartialBlob::append(std::span<const uint8_t> bytes) {
  if (bytes.size() > size_ - have_)
    return Error(ErrorKind::kCorrupt, "more than the announced " + std::to_string(size_) + " bytes came");
  TRY(write_all(fd_.get(), bytes, path_));
  hash_.update(bytes);
  {
    std::lock_guard lock(mutex_);
    have_ += bytes.size();
  }
  changed_.notify_all();
  return {};
}

Result<void> PartialBlob::restart() {
  if (::ftruncate(fd_.get(), 0) != 0 || ::lseek(fd_.get(), 0, SEEK_SET) != 0)
    return Error::from_errno(errno, "truncate " + path_);
  hash_ = Sha256();
  {
    std::lock_guard lock(mutex_);
    have_ = 0;
    ++generation_;
  }
  changed_.notify_all();
  return {};
}

Result<void> PartialBlob::verify() {
  if (have_ != size_)
    return Error(ErrorKind::kNetwork, std::to_string(have_) + " of " + std::to_string(size_) + " bytes came");
  const Sha256Digest found = hash_.finish();
  if (found == digest_) return {};
  TRY(restart());
  return Error(ErrorKind::kCorrupt, "digest mismatch: the bytes that came have the digest " + found.str() +
                                        " instead of " + digest_.str());
}

Result<void> PartialBlob::commit() {
  TRY(sync_fd(fd_.get(), path_));
  const std::string target = blob_path(store_, digest_);
  if (::rename(path_.c_str(), target.c_str()) != 0)
    return Error::from_errno(errno, "rename to " + target);
  committed_ = true;
  return sync_directory(store_.path("blobs/sha256"));
}

void PartialBlob::fail(const Error& error) {
  {
    std::lock_guard lock(mutex_);
    if (!error_) error_ = error;
  }
  changed_.notify_all();
}

std::unique_ptr<ByteSource> PartialBlob::reader() {
  std::lock_guard lock(mutex_);
  return std::make_unique<Reader>(*this);
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
