#include "base/fd.h"

#include <dirent.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <cstdlib>
#include <cstring>
#include <vector>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

namespace kasane {

UniqueFd& UniqueFd::operator=(UniqueFd&& other) noexcept {
  if (this != &other) reset(other.release());
  return *this;
}

int UniqueFd::release() {
  int fd = fd_;
  fd_ = -1;
  return fd;
}

void UniqueFd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

Result<Pipe> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return Error::from_errno(errno, "create a pipe");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Result<UniqueFd> open_file(const std::string& path, int flags, mode_t mode) {
  return open_at(AT_FDCWD, path, flags, mode);
}

Result<UniqueFd> open_at(int dir_fd, const std::string& path, int flags, mode_t mode) {
  int fd;
  do {
    fd = ::openat(dir_fd, path.c_str(), flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return Error::from_errno(errno, "open " + path);
  return UniqueFd(fd);
}

Result<UniqueFd> open_in_root(int root_fd, const std::string& path, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.mode = (flags & (O_CREAT | __O_TMPFILE)) ? mode : 0;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  // EAGAIN: the kernel saw a concurrent rename and could not prove containment.
  for (int attempt = 0;; ++attempt) {
    long fd = ::syscall(SYS_openat2, root_fd, path.c_str(), &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    if (errno == EINTR || (errno == EAGAIN && attempt < 64)) continue;
    return Error::from_errno(errno, "open " + path);
  }
}

Result<std::string> read_fd(int fd, uint64_t max_bytes, std::string_view name) {
  struct stat st;
  if (::fstat(fd, &st) != 0) return Error::from_errno(errno, "stat " + std::string(name));
  if (!S_ISREG(st.st_mode))
    return Error(ErrorKind::kInvalid, std::string(name) + " is not a regular file");
  std::string text;
  text.reserve(std::min<uint64_t>(static_cast<uint64_t>(st.st_size), max_bytes));
  char buffer[65536];
  for (;;) {
    ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno(errno, "read " + std::string(name));
    if (n == 0) return text;
    if (text.size() + static_cast<size_t>(n) > max_bytes)
      return Error(ErrorKind::kLimit,
                   std::string(name) + " is larger than " + std::to_string(max_bytes) + " bytes");
    text.append(buffer, static_cast<size_t>(n));
  }
}

Result<std::string> read_file(const std::string& path, uint64_t max_bytes) {
  UniqueFd fd = TRY(open_file(path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  return read_fd(fd.get(), max_bytes, path);
}

Result<std::string> read_file_in_root(int root_fd, const std::string& path, uint64_t max_bytes) {
  UniqueFd fd = TRY(open_in_root(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  return read_fd(fd.get(), max_bytes, path);
}

Result<void> write_all(int fd, std::span<const uint8_t> bytes, std::string_view name) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno(errno, "write " + std::string(name));
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return {};
}

Result<void> write_all(int fd, std::string_view text, std::string_view name) {
  return write_all(fd, std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()), name);
}

Result<size_t> read_some(int fd, std::span<uint8_t> buffer, std::string_view name) {
  for (;;) {
    ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR) return Error::from_errno(errno, "read " + std::string(name));
  }
}

Result<void> sync_fd(int fd, std::string_view name) {
  if (::fsync(fd) != 0) return Error::from_errno(errno, "fsync " + std::string(name));
  return {};
}

Result<void> sync_directory(const std::string& path) {
  UniqueFd fd = TRY(open_file(path, O_RDONLY | O_DIRECTORY));
  return sync_fd(fd.get(), path);
}

Result<void> make_directories(const std::string& path, mode_t mode) {
  if (path.empty() || path == "/") return {};
  if (::mkdir(path.c_str(), mode) == 0) return {};
  if (errno == EEXIST) {
    struct stat st;
    if (::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return {};
    return Error::from_errno(ENOTDIR, "mkdir " + path);
  }
  if (errno != ENOENT) return Error::from_errno(errno, "mkdir " + path);
  size_t slash = path.find_last_of('/', path.find_last_not_of('/'));
  if (slash == std::string::npos) return Error::from_errno(ENOENT, "mkdir " + path);
  TRY(make_directories(path.substr(0, slash), mode));
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST)
    return Error::from_errno(errno, "mkdir " + path);
  return {};
}

Result<void> replace_file(const std::string& path, std::string_view content, mode_t mode) {
  std::string temporary = path + ".tmp.XXXXXX";
  int raw = ::mkostemp(temporary.data(), O_CLOEXEC);
  if (raw < 0) return Error::from_errno(errno, "create " + temporary);
  UniqueFd fd(raw);
  auto write = [&]() -> Result<void> {
    TRY(write_all(fd.get(), content, temporary));
    if (::fchmod(fd.get(), mode) != 0) return Error::from_errno(errno, "chmod " + temporary);
    TRY(sync_fd(fd.get(), temporary));
    if (::rename(temporary.c_str(), path.c_str()) != 0)
      return Error::from_errno(errno, "rename to " + path);
    return {};
  };
  if (Result<void> written = write(); !written) {
    ::unlink(temporary.c_str());
    return written;
  }
  size_t slash = path.rfind('/');
  return sync_directory(slash == std::string::npos ? "." : path.substr(0, slash + 1));
}

Result<void> rename_noreplace(const std::string& from, const std::string& to) {
  if (::syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) != 0)
    return Error::from_errno(errno, "rename " + from + " to " + to);
  return {};
}

namespace {

// Depth-first with one open directory per level; a tree deeper than the fd limit is
// flattened by moving sub-directories up, so depth cannot exhaust descriptors.
constexpr int kMaxDepth = 200;

Result<void> remove_entry(int parent_fd, const char* name, int top_fd, int depth);

Result<void> remove_children(int dir_fd, int top_fd, int depth) {
  DIR* dir = ::fdopendir(::fcntl(dir_fd, F_DUPFD_CLOEXEC, 0));
  if (!dir) return Error::from_errno(errno, "read directory");
  std::vector<std::string> names;
  while (dirent* entry = ::readdir(dir)) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(dir);
  for (const std::string& name : names) TRY(remove_entry(dir_fd, name.c_str(), top_fd, depth));
  return {};
}

Result<void> remove_entry(int parent_fd, const char* name, int top_fd, int depth) {
  if (::unlinkat(parent_fd, name, 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM && errno != EACCES)
    return Error::from_errno(errno, "remove " + std::string(name));
  if (depth >= kMaxDepth) {
    static int counter = 0;
    std::string moved = ".deep." + std::to_string(::getpid()) + "." + std::to_string(++counter);
    if (::renameat(parent_fd, name, top_fd, moved.c_str()) == 0)
      return remove_entry(top_fd, moved.c_str(), top_fd, 1);
  }
  int raw = ::openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (raw < 0 && errno == EACCES && ::fchmodat(parent_fd, name, 0700, 0) == 0)
    raw = ::openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (raw < 0) return Error::from_errno(errno, "remove " + std::string(name));
  UniqueFd dir(raw);
  struct stat st;
  if (::fstat(raw, &st) == 0 && (st.st_mode & 0700) != 0700) ::fchmod(raw, 0700);
  TRY(remove_children(raw, top_fd, depth + 1));
  if (::unlinkat(parent_fd, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
    return Error::from_errno(errno, "remove " + std::string(name));
  return {};
}

}  // namespace

Result<void> remove_tree(int parent_fd, const std::string& name) {
  return remove_entry(parent_fd, name.c_str(), parent_fd, 0);
}

Result<void> remove_tree(const std::string& path) { return remove_tree(AT_FDCWD, path); }

Result<TempDir> TempDir::make(std::string_view prefix) {
  const char* base = ::getenv("TMPDIR");
  std::string path = std::string(base && *base ? base : "/tmp") + "/" + std::string(prefix) + ".XXXXXX";
  if (!::mkdtemp(path.data())) return Error::from_errno(errno, "create temporary directory " + path);
  return TempDir(path);
}

TempDir::~TempDir() {
  if (!path_.empty()) (void)remove_tree(path_).has_value();
}

Result<std::optional<std::string>> read_if_there(const std::string& path, uint64_t max_bytes) {
  auto text = read_file(path, max_bytes);
  if (text) return std::optional<std::string>(std::move(*text));
  if (text.error().errno_value() == ENOENT || text.error().errno_value() == ENOTDIR)
    return std::optional<std::string>();
  return std::move(text.error());
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
  std::vector<std::string> names;
  auto close = [](DIR* open) { ::closedir(open); };
  std::unique_ptr<DIR, decltype(close)> dir(::opendir(path.c_str()), close);
  if (!dir) {
    if (errno == ENOENT || errno == ENOTDIR) return names;
    return Error::from_errno(errno, "read directory " + path);
  }
  for (;;) {
    errno = 0;
    dirent* entry = ::readdir(dir.get());
    if (!entry) {
      if (errno != 0) return Error::from_errno(errno, "read directory " + path);
      break;
    }
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace kasane
