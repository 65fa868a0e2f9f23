#include "store/growing_file.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace kasane::store {

class GrowingFile::Reader final : public ByteSource {
 public:
  Reader(GrowingFile& file, uint64_t offset) : file_(file), generation_(file.generation_), offset_(offset) {}

  Result<size_t> read(std::span<uint8_t> buffer) override {
    uint64_t available = 0;
    {
      std::unique_lock lock(file_.mutex_);
      file_.changed_.wait(lock, [&] {
        return file_.error_ || file_.generation_ != generation_ || file_.have_ > offset_ || at_end();
      });
      if (file_.generation_ != generation_) return Error(ErrorKind::kConflict, "the download began again");
      if (file_.have_ <= offset_ && !at_end()) return *file_.error_;
      available = file_.have_ > offset_ ? file_.have_ - offset_ : 0;
    }
    if (available == 0) return size_t{0};
    const size_t want = static_cast<size_t>(std::min<uint64_t>(buffer.size(), available));
    const ssize_t got = ::pread(file_.fd_.get(), buffer.data(), want, static_cast<off_t>(offset_));
    if (got <= 0) return Error::from_errno(got == 0 ? EIO : errno, "read " + file_.path_);
    offset_ += static_cast<uint64_t>(got);
    return static_cast<size_t>(got);
  }

 private:
  bool at_end() const { return file_.size_ && offset_ >= *file_.size_; }

  GrowingFile& file_;
  uint64_t generation_;
  uint64_t offset_;
};

void GrowingFile::attach(UniqueFd fd, std::string path, uint64_t have) {
  fd_ = std::move(fd);
  path_ = std::move(path);
  have_ = have;
}

uint64_t GrowingFile::have() const {
  std::lock_guard lock(mutex_);
  return have_;
}

Result<void> GrowingFile::append(std::span<const uint8_t> bytes) {
  TRY(write_all(fd_.get(), bytes, path_));
  {
    std::lock_guard lock(mutex_);
    have_ += bytes.size();
  }
  changed_.notify_all();
  return {};
}

Result<void> GrowingFile::restart() {
  if (::ftruncate(fd_.get(), 0) != 0 || ::lseek(fd_.get(), 0, SEEK_SET) != 0)
    return Error::from_errno(errno, "truncate " + path_);
  {
    std::lock_guard lock(mutex_);
    have_ = 0;
    ++generation_;
  }
  changed_.notify_all();
  return {};
}

void GrowingFile::set_size(uint64_t size) {
  {
    std::lock_guard lock(mutex_);
    size_ = size;
  }
  changed_.notify_all();
}

void GrowingFile::fail(const Error& error) {
  {
    std::lock_guard lock(mutex_);
    if (!error_) error_ = error;
  }
  changed_.notify_all();
}

std::unique_ptr<ByteSource> GrowingFile::reader(uint64_t offset) {
  std::lock_guard lock(mutex_);
  return std::make_unique<Reader>(*this, offset);
}

}  // namespace kasane::store
