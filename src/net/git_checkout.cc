#include "net/git_checkout.h"

#include <dirent.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string_view>
#include <vector>

namespace kasane::net {
namespace {

Result<std::vector<std::string>> list(int dir_fd, const std::string& path) {
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(::fcntl(dir_fd, F_DUPFD_CLOEXEC, 0)), &::closedir);
  if (!dir) return Error::from_errno(errno, "read " + path);
  std::vector<std::string> names;
  while (dirent* entry = ::readdir(dir.get())) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  return names;
}

Result<void> set_mtime(int dir_fd, const std::string& name, int64_t seconds, int flags) {
  timespec times[2] = {{seconds, 0}, {seconds, 0}};
  if (::utimensat(dir_fd, name.c_str(), times, flags) != 0)
    return Error::from_errno(errno, "set the time of " + name);
  return {};
}

// Below ".git" only times are set: git's objects are read-only on purpose.
Result<void> walk(int fd, const std::string& path, const TidyOptions& options, bool inside_git) {
  if (!inside_git && ::fchmod(fd, 0755) != 0) return Error::from_errno(errno, "chmod " + path);
  std::vector<std::string> names = TRY(list(fd, path));
  for (const std::string& name : names) {
    std::string child = path + "/" + name;
    bool git = name == ".git" && !inside_git;
    if (git && !options.keep_git_dir) {
      TRY(remove_tree(fd, name));
      continue;
    }
    struct stat st;
    if (::fstatat(fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
      return Error::from_errno(errno, "stat " + child);
    if (S_ISDIR(st.st_mode)) {
      UniqueFd below = TRY(open_at(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      TRY(walk(below.get(), child, options, inside_git || git));
      continue;
    }
    mode_t mode = (st.st_mode & 0111) ? 0755 : 0644;
    if (S_ISREG(st.st_mode) && !inside_git && !git && (st.st_mode & 07777) != mode &&
        ::fchmodat(fd, name.c_str(), mode, 0) != 0)
      return Error::from_errno(errno, "chmod " + child);
    if (options.mtime) TRY(set_mtime(fd, name, *options.mtime, AT_SYMLINK_NOFOLLOW));
  }
  if (options.mtime) TRY(set_mtime(fd, ".", *options.mtime, 0));
  return {};
}

}  // namespace

Result<void> tidy_checkout(const std::string& directory, const TidyOptions& options) {
  UniqueFd fd = TRY(open_file(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  return walk(fd.get(), directory, options, false);
}

Result<std::string> resolve_subdir(const std::string& checkout, const std::string& subdir) {
  if (subdir.empty()) return checkout;
  UniqueFd root = TRY(open_file(checkout, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  long raw = ::syscall(SYS_openat2, root.get(), subdir.c_str(), &how, sizeof how);
  if (raw >= 0) {
    UniqueFd fd(static_cast<int>(raw));
    return checkout + "/" + subdir;
  }
  if (errno == ENOENT)
    return Error(ErrorKind::kNotFound, "the repository has no directory \"" + subdir + "\"");
  if (errno == ENOTDIR || errno == ELOOP || errno == EXDEV)
    return Error(ErrorKind::kInvalid,
                 "\"" + subdir + "\" of the repository is, or passes through, a link or a file")
        .hint("name a directory of the repository itself");
  return Error::from_errno(errno, "open " + subdir);
}

}  // namespace kasane::net
