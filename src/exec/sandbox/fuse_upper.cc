// settle_fuse_upper: the upper directory of fuse-overlayfs in the kernel's form.
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "exec/sandbox/tree_copy.h"

namespace kasane::exec {
namespace {

constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
constexpr size_t kMaxDepth = 2048;  // of a path of 4095 bytes
constexpr std::string_view kPrefix = ".wh.";
constexpr const char* kOrigins[] = {"user.fuseoverlayfs.origin", "user.overlay.origin",
                                    "trusted.overlay.origin"};

class UpperForm {
 public:
  explicit UpperForm(bool userxattr) : userxattr_(userxattr) {}

  Result<void> settle(int fd, const MergedDirectory& below, size_t depth) {
    if (depth > kMaxDepth)
      return Error(ErrorKind::kLimit,
                   "the step made a path of more than 4095 bytes, which no layer can hold");
    struct stat before;
    if (::fstat(fd, &before) != 0) return Error::from_errno(errno, "stat");
    const bool opaque = take_opaque_marks(fd) && depth > 0 && !below.parts().empty();
    const MergedDirectory nothing = MergedDirectory::nothing();
    const std::vector<std::string> names = TRY(directory_names(fd));
    // Nothing copied up into it: what changed its time was the step.
    bool same_names = !names.empty();
    for (const std::string& name : names)
      same_names =
          TRY_CONTEXT(entry(fd, name, opaque ? nothing : below, depth), name) && same_names;
    const char* mark = userxattr_ ? "user.overlay.opaque" : "trusted.overlay.opaque";
    if (opaque && ::fsetxattr(fd, mark, "y", 1, 0) != 0)
      return Error::from_errno(errno, "mark as opaque");
    timespec times[2] = {before.st_atim, before.st_mtim};
    if (same_names && !opaque && depth > 0 && !below.parts().empty())
      TRY(undo_time(fd, below, times[1]));
    if (::futimens(fd, times) != 0) return Error::from_errno(errno, "set times");
    return {};
  }

 private:
  // Copying a child up changes the time of the directory above it, which the kernel's
  // overlayfs hides. No name came or went here, so the time is that of the layers below;
  // one from before the directory was copied up was set on purpose.
  static Result<void> undo_time(int fd, const MergedDirectory& below, timespec& time) {
    struct stat original;
    if (::fstat(below.parts().front().get(), &original) != 0)
      return Error::from_errno(errno, "stat");
    if (!is_before(time, TRY(mark_of(fd, "")))) time = original.st_mtim;
    return {};
  }

  static bool is_before(const timespec& time, const ObjectMark& mark) {
    return time.tv_sec < mark.birth_sec ||
           (time.tv_sec == mark.birth_sec && time.tv_nsec < static_cast<long>(mark.birth_nsec));
  }

  // A link that was copied up gets the time of the copy.
  static Result<void> undo_link_time(int fd, const std::string& name, const struct stat& st,
                                     const MergedDirectory::Found& original) {
    char mine[4096], theirs[4096];
    const ssize_t size = ::readlinkat(fd, name.c_str(), mine, sizeof mine);
    if (size < 0 ||
        size != ::readlinkat(original.directory_fd, name.c_str(), theirs, sizeof theirs) ||
        std::memcmp(mine, theirs, static_cast<size_t>(size)) != 0 ||
        is_before(st.st_mtim, TRY(mark_of(fd, name.c_str()))))
      return {};
    const timespec times[2] = {original.st.st_atim, original.st.st_mtim};
    if (::utimensat(fd, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
      return Error::from_errno(errno, "set times");
    return {};
  }

  static bool take_opaque_marks(int fd) {
    bool opaque = false;
    for (const char* name : {".wh..wh..opq", ".wh..opq"}) {
      if (::unlinkat(fd, name, 0) == 0) opaque = true;
    }
    char value = 0;
    for (const char* name :
         {"user.fuseoverlayfs.opaque", "user.overlay.opaque", "trusted.overlay.opaque"}) {
      opaque = opaque || (::fgetxattr(fd, name, &value, 1) == 1 && value == 'y');
      (void)::fremovexattr(fd, name);
    }
    for (const char* name : kOrigins) (void)::fremovexattr(fd, name);
    return opaque;
  }

  // Returns whether the name is there as before.
  Result<bool> entry(int fd, const std::string& name, const MergedDirectory& below, size_t depth) {
    struct stat st;
    if (::fstatat(fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
      return Error::from_errno(errno, "stat");
    if (S_ISDIR(st.st_mode)) {
      UniqueFd directory = TRY(open_at(fd, name, kDirectoryFlags));
      MergedDirectory covered = TRY(below.child(name));
      TRY(settle(directory.get(), covered, depth + 1));
      return !covered.parts().empty() && !is_opaque(directory.get());
    }
    const bool device = S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0);
    const bool by_name = name.starts_with(kPrefix);
    if (!device && !by_name) {
      const std::string path = proc_path(fd, name);
      for (const char* origin : kOrigins) (void)::lremovexattr(path.c_str(), origin);
      const std::optional<MergedDirectory::Found> original = TRY(below.find(name));
      if (original && S_ISLNK(st.st_mode)) TRY(undo_link_time(fd, name, st, *original));
      return original.has_value();
    }
    const std::string hidden = by_name ? name.substr(kPrefix.size()) : name;
    const bool hides = TRY(below.find(hidden)).has_value();
    if (device && !by_name && hides) return false;
    if (::unlinkat(fd, name.c_str(), 0) != 0) return Error::from_errno(errno, "unlink");
    if (!hides || ::fstatat(fd, hidden.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) return false;
    if (::mknodat(fd, hidden.c_str(), S_IFCHR, makedev(0, 0)) != 0)
      return Error::from_errno(errno, "make a whiteout");
    return false;
  }

  bool is_opaque(int fd) const {
    char value = 0;
    return ::fgetxattr(fd, userxattr_ ? "user.overlay.opaque" : "trusted.overlay.opaque", &value,
                       1) == 1;
  }

  bool userxattr_;
};

}  // namespace

Result<void> settle_fuse_upper(int upper_fd, const MergedDirectory& below, bool userxattr) {
  return UpperForm(userxattr).settle(upper_fd, below, 0);
}

}  // namespace kasane::exec
