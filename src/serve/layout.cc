#include "serve/layout.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <vector>

#include "base/fd.h"
#include "base/hash.h"
#include "base/random.h"

namespace kasane::serve {
namespace {

std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

std::string fan(const ContentDigest& digest) {
  return std::string(name_of(digest.algorithm)) + "/" + digest.hex;
}

}  // namespace

std::string Layout::blob(const ContentDigest& digest) const {
  return blobs() + "/" + std::string(name_of(digest.algorithm)) + "/" + digest.hex.substr(0, 2) +
         "/" + digest.hex;
}

std::string Layout::blob_link(std::string_view name, const ContentDigest& digest) const {
  return repository(name) + "/_blobs/" + fan(digest);
}

std::string Layout::manifest(std::string_view name, const ContentDigest& digest) const {
  return repository(name) + "/_manifests/" + fan(digest);
}

std::string Layout::referrers(std::string_view name, const ContentDigest& subject) const {
  return repository(name) + "/_referrers/" + fan(subject);
}

std::string Layout::referrer(std::string_view name, const ContentDigest& subject,
                             const ContentDigest& digest) const {
  return referrers(name, subject) + "/" + std::string(name_of(digest.algorithm)) + "-" + digest.hex;
}

Result<void> ensure_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) == 0) return sync_directory(parent_of(path));
  if (errno == EEXIST) return {};
  if (errno != ENOENT || parent_of(path).empty()) return Error::from_errno(errno, "mkdir " + path);
  TRY(ensure_directory(parent_of(path)));
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST)
    return Error::from_errno(errno, "mkdir " + path);
  return sync_directory(parent_of(path));
}

namespace {

// Most of the time the directory is there.
Result<void> rename_into(const std::string& from, const std::string& to) {
  for (int attempt = 0;; ++attempt) {
    if (::rename(from.c_str(), to.c_str()) == 0) return sync_directory(parent_of(to));
    if (errno != ENOENT || attempt > 0) return Error::from_errno(errno, "rename to " + to);
    TRY(ensure_directory(parent_of(to)));
  }
}

}  // namespace

Result<void> publish(const Layout& layout, const std::string& path, std::string_view content) {
  const std::string temporary = layout.temporary() + "/" + random_hex(16);
  UniqueFd fd = TRY(open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, 0644));
  auto write = [&]() -> Result<void> {
    TRY(write_all(fd.get(), content, temporary));
    TRY(sync_fd(fd.get(), temporary));
    return rename_into(temporary, path);
  };
  Result<void> written = write();
  if (!written) ::unlink(temporary.c_str());
  return written;
}

Result<void> publish_written(int fd, const std::string& from, const std::string& to) {
  TRY(sync_fd(fd, from));
  return rename_into(from, to);
}

Result<bool> remove_durably(const std::string& path) {
  if (::unlink(path.c_str()) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return Error::from_errno(errno, "remove " + path);
  }
  TRY(sync_directory(parent_of(path)));
  return true;
}

Result<bool> exists(const std::string& path) {
  struct stat st;
  if (::lstat(path.c_str(), &st) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return Error::from_errno(errno, "stat " + path);
}

}  // namespace kasane::serve
