#include "exec/sandbox/tree_copy.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <memory>
#include <set>

#include "base/fd.h"

namespace kasane::exec {
namespace {

constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
constexpr size_t kMaxPathBytes = 4095;

bool is_whiteout(const struct stat& st) {
  return S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0);
}

bool is_opaque(int fd, bool userxattr) {
  char value = 0;
  const char* name = userxattr ? "user.overlay.opaque" : "trusted.overlay.opaque";
  return ::fgetxattr(fd, name, &value, 1) == 1 && value == 'y';
}

// Data by reference where the file system can, by the kernel's own copy otherwise.
Result<void> copy_data(int from, int to, uint64_t size) {
  if (size == 0 || ::ioctl(to, FICLONE, from) == 0) return {};
  bool by_kernel = true;
  std::string buffer;
  for (;;) {
    ssize_t n = by_kernel ? ::copy_file_range(from, nullptr, to, nullptr, 1 << 30, 0) : -1;
    if (by_kernel && n < 0 &&
        (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS ||
         errno == EPERM)) {
      by_kernel = false;
      buffer.resize(1 << 20);
      continue;
    }
    if (!by_kernel) {
      n = ::read(from, buffer.data(), buffer.size());
      if (n > 0)
        TRY(write_all(to, std::string_view(buffer).substr(0, static_cast<size_t>(n)), "copy"));
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno(errno, "copy data");
    if (n == 0) return {};
  }
}

// Owner before mode (chown clears setuid), attributes before times.
Result<void> set_metadata(int fd, const struct stat& st) {
  if (::fchown(fd, st.st_uid, st.st_gid) != 0) return Error::from_errno(errno, "chown");
  if (::fchmod(fd, st.st_mode & 07777) != 0) return Error::from_errno(errno, "chmod");
  return {};
}

Result<void> set_times(int fd, const struct stat& st) {
  const timespec times[2] = {st.st_atim, st.st_mtim};
  if (::futimens(fd, times) != 0) return Error::from_errno(errno, "set times");
  return {};
}

class Copier {
 public:
  Result<void> directory(const MergedDirectory& from, int target, CopiedNode& node,
                         const std::string& path) {
    if (path.size() > kMaxPathBytes)
      return Error(ErrorKind::kLimit, "a path of the image has more than 4095 bytes");
    std::set<std::string> seen;
    for (const UniqueFd& part : from.parts())
      for (const std::string& name : TRY(directory_names(part.get())))
        if (seen.insert(name).second)
          TRY_CONTEXT(entry(from, part.get(), name, target, node, path),
                      "copy " + path + "/" + name);
    const int top = from.parts().front().get();
    struct stat st;
    if (::fstat(top, &st) != 0) return Error::from_errno(errno, "stat");
    TRY(set_metadata(target, st));
    TRY(copy_xattrs(top, target));
    TRY(set_times(target, st));
    node.directory = true;
    node.mark = TRY(mark_of(target, ""));
    return {};
  }

 private:
  // `source`: the topmost part that has the name.
  Result<void> entry(const MergedDirectory& from, int source, const std::string& name, int target,
                     CopiedNode& parent, const std::string& path) {
    struct stat st;
    if (::fstatat(source, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
      return Error::from_errno(errno, "stat");
    if (is_whiteout(st) || S_ISSOCK(st.st_mode)) return {};
    CopiedNode node;
    if (S_ISDIR(st.st_mode)) {
      MergedDirectory below = TRY(from.child(name));
      if (::mkdirat(target, name.c_str(), 0700) != 0) return Error::from_errno(errno, "mkdir");
      UniqueFd made = TRY(open_at(target, name, kDirectoryFlags));
      TRY(directory(below, made.get(), node, path + "/" + name));
    } else if (S_ISREG(st.st_mode)) {
      TRY(file(source, name, st, target));
    } else {
      TRY(special(source, name, st, target));
    }
    if (!node.directory) node.mark = TRY(mark_of(target, name.c_str()));
    parent.children.emplace(name, std::move(node));
    return {};
  }

  Result<void> file(int source, const std::string& name, const struct stat& st, int target) {
    UniqueFd from = TRY(open_at(source, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
    UniqueFd to = TRY(open_at(target, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    TRY(copy_data(from.get(), to.get(), static_cast<uint64_t>(st.st_size)));
    TRY(set_metadata(to.get(), st));
    TRY(copy_xattrs(from.get(), to.get()));
    return set_times(to.get(), st);
  }

  Result<void> special(int source, const std::string& name, const struct stat& st, int target) {
    if (S_ISLNK(st.st_mode)) {
      std::string text(kMaxPathBytes + 1, '\0');
      ssize_t n = ::readlinkat(source, name.c_str(), text.data(), text.size());
      if (n < 0) return Error::from_errno(errno, "read symlink");
      text.resize(static_cast<size_t>(n));
      if (::symlinkat(text.c_str(), target, name.c_str()) != 0)
        return Error::from_errno(errno, "symlink");
    } else if (::mknodat(target, name.c_str(), st.st_mode & (S_IFMT | 07777), st.st_rdev) != 0) {
      return Error::from_errno(errno, "mknod");
    }
    if (::fchownat(target, name.c_str(), st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) != 0)
      return Error::from_errno(errno, "chown");
    if (!S_ISLNK(st.st_mode) && ::fchmodat(target, name.c_str(), st.st_mode & 07777, 0) != 0)
      return Error::from_errno(errno, "chmod");
    const timespec times[2] = {st.st_atim, st.st_mtim};
    if (::utimensat(target, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
      return Error::from_errno(errno, "set times");
    return {};
  }
};

// ctime has the granularity of a timer tick on older kernels.
void wait_for_next_tick() {
  timespec start, now;
  ::clock_gettime(CLOCK_REALTIME_COARSE, &start);
  do {
    const timespec pause{0, 1000000};
    ::nanosleep(&pause, nullptr);
    ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  } while (now.tv_sec == start.tv_sec && now.tv_nsec == start.tv_nsec);
}

}  // namespace

Result<std::vector<std::string>> directory_names(int fd) {
  int copy = ::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return Error::from_errno(errno, "open directory");
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(copy), ::closedir);
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(dir.get());
    if (entry == nullptr) break;
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return Error::from_errno(errno, "read directory");
  std::sort(names.begin(), names.end());
  return names;
}

Result<ObjectMark> mark_of(int directory_fd, const char* name) {
  struct statx st;
  int flags = AT_SYMLINK_NOFOLLOW | (name[0] == '\0' ? AT_EMPTY_PATH : 0);
  if (::statx(directory_fd, name, flags, STATX_INO | STATX_CTIME | STATX_BTIME, &st) != 0)
    return Error::from_errno(errno, "stat");
  ObjectMark mark{st.stx_ino, 0, st.stx_ctime.tv_sec, 0, st.stx_ctime.tv_nsec};
  if ((st.stx_mask & STATX_BTIME) != 0) {
    mark.birth_sec = st.stx_btime.tv_sec;
    mark.birth_nsec = st.stx_btime.tv_nsec;
  }
  return mark;
}

std::string proc_path(int directory_fd, const std::string& name) {
  return "/proc/self/fd/" + std::to_string(directory_fd) + "/" + name;
}

bool is_overlay_xattr_name(std::string_view name) {
  return name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.") ||
         name.starts_with("user.fuseoverlayfs.");
}

Result<void> copy_xattrs(int from_fd, int to_fd) {
  std::string names(64 << 10, '\0');
  ssize_t n = ::flistxattr(from_fd, names.data(), names.size());
  if (n < 0 && (errno == EOPNOTSUPP || errno == EPERM)) return {};
  if (n < 0) return Error::from_errno(errno, "list extended attributes");
  std::string_view rest(names.data(), static_cast<size_t>(n));
  std::string value(64 << 10, '\0');
  while (!rest.empty()) {
    const std::string name(rest.substr(0, rest.find('\0')));
    rest.remove_prefix(std::min(rest.size(), name.size() + 1));
    if (is_overlay_xattr_name(name) || name == "security.selinux") continue;
    ssize_t size = ::fgetxattr(from_fd, name.c_str(), value.data(), value.size());
    if (size < 0 && errno == ENODATA) continue;
    if (size < 0) return Error::from_errno(errno, "read extended attribute " + name);
    if (::fsetxattr(to_fd, name.c_str(), value.data(), static_cast<size_t>(size), 0) != 0 &&
        errno != EPERM && errno != EOPNOTSUPP)
      return Error::from_errno(errno, "set extended attribute " + name);
  }
  return {};
}

Result<MergedDirectory> MergedDirectory::open(const std::vector<std::string>& lowers,
                                              bool userxattr) {
  MergedDirectory merged;
  merged.userxattr_ = userxattr;
  for (auto it = lowers.rbegin(); it != lowers.rend(); ++it)
    merged.parts_.push_back(TRY(open_file(*it, O_RDONLY | O_DIRECTORY)));
  return merged;
}

Result<MergedDirectory> MergedDirectory::child(const std::string& name) const {
  MergedDirectory below;
  below.userxattr_ = userxattr_;
  for (const UniqueFd& part : parts_) {
    struct stat st;
    if (::fstatat(part.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;
      return Error::from_errno(errno, "stat");
    }
    if (!S_ISDIR(st.st_mode)) break;
    below.parts_.push_back(TRY(open_at(part.get(), name, kDirectoryFlags)));
    if (is_opaque(below.parts_.back().get(), userxattr_)) break;
  }
  return below;
}

Result<std::optional<MergedDirectory::Found>> MergedDirectory::find(const std::string& name) const {
  for (const UniqueFd& part : parts_) {
    struct stat st;
    if (::fstatat(part.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) {
      if (is_whiteout(st)) return std::optional<Found>();
      return std::optional(Found{part.get(), st});
    }
    if (errno != ENOENT) return Error::from_errno(errno, "stat");
  }
  return std::optional<Found>();
}

Result<CopiedNode> copy_merged(const std::vector<std::string>& lowers, const std::string& target,
                               bool userxattr) {
  MergedDirectory from = TRY(MergedDirectory::open(lowers, userxattr));
  UniqueFd to = TRY(open_file(target, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  CopiedNode root;
  if (from.parts().empty()) {
    if (::fchmod(to.get(), 0755) != 0) return Error::from_errno(errno, "chmod " + target);
    root.directory = true;
    root.mark = TRY(mark_of(to.get(), ""));
  } else {
    TRY(Copier().directory(from, to.get(), root, ""));
  }
  wait_for_next_tick();
  return root;
}

}  // namespace kasane::exec
