#include "store/store_internal.h"

#include <dirent.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <span>

#include "base/hash.h"

namespace kasane::store {

int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

std::string random_name() {
  uint8_t bytes[8];
  while (::getrandom(bytes, sizeof bytes, 0) != sizeof bytes) {
  }
  return to_hex(bytes);
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
  std::vector<std::string> names;
  DIR* dir = ::opendir(path.c_str());
  if (!dir) {
    if (errno == ENOENT) return names;
    return Error::from_errno(errno, "read directory " + path);
  }
  errno = 0;
  while (dirent* entry = ::readdir(dir)) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
    errno = 0;
  }
  int failure = errno;
  ::closedir(dir);
  if (failure != 0) return Error::from_errno(failure, "read directory " + path);
  std::sort(names.begin(), names.end());
  return names;
}

Error with_space_hint(Error error) {
  if (error.kind() != ErrorKind::kNoSpace) return error;
  return std::move(error).hint("free some space, for example with `kasane image prune`");
}

}  // namespace kasane::store
