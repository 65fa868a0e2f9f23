#include "base/new_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/random.h"

namespace kasane {
namespace {

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

std::string by_descriptor(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

// The way of open(2) to name such a file without privilege; needs /proc.
bool link_to(int fd, const std::string& path) {
  return ::linkat(AT_FDCWD, by_descriptor(fd).c_str(), AT_FDCWD, path.c_str(),
                  AT_SYMLINK_FOLLOW) == 0;
}

}  // namespace

Result<NewFile> NewFile::create(const std::string& target, mode_t mode) {
  NewFile file;
  file.target_ = target;
  file.fd_ = UniqueFd(::open(folder_of(target).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, mode));
  if (file.fd_ && ::access(by_descriptor(file.fd_.get()).c_str(), F_OK) == 0) return file;
  std::string temporary = target + "." + random_hex(4);
  Result<UniqueFd> named =
      open_file(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, static_cast<int>(mode));
  if (!named) return Error::from_errno(named.error().errno_value(), "create " + target);
  file.fd_ = std::move(*named);
  file.temporary_ = std::move(temporary);
  return file;
}

NewFile::NewFile(NewFile&& other) noexcept
    : fd_(std::move(other.fd_)),
      target_(std::move(other.target_)),
      temporary_(std::exchange(other.temporary_, {})) {}

NewFile::~NewFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Result<void> NewFile::commit() {
  TRY(sync_fd(fd_.get(), target_));
  if (temporary_.empty() && !link_to(fd_.get(), target_)) {
    if (errno != EEXIST) return Error::from_errno(errno, "create " + target_);
    // linkat(2) replaces nothing: a name beside it for the moment until the rename.
    temporary_ = target_ + "." + random_hex(4);
    if (!link_to(fd_.get(), temporary_)) {
      const int failed = errno;
      temporary_.clear();
      return Error::from_errno(failed, "create " + target_);
    }
  }
  if (!temporary_.empty()) {
    if (::rename(temporary_.c_str(), target_.c_str()) != 0)
      return Error::from_errno(errno, "rename to " + target_);
    temporary_.clear();
  }
  return sync_directory(folder_of(target_));
}

}  // namespace kasane
