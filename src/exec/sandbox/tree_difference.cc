// move_changes: what a step did to its copy, in the form that overlayfs would have left.
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/fd.h"
#include "exec/sandbox/tree_copy.h"

namespace kasane::exec {
namespace {

constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
constexpr size_t kMaxPathBytes = 4095;

Error too_deep() {
  return Error(ErrorKind::kLimit,
               "the step made a path of more than 4095 bytes, which no layer can hold");
}

class Mover {
 public:
  Mover(const std::vector<uint64_t>& untouched, bool userxattr)
      : untouched_(untouched), userxattr_(userxattr) {}

  // A directory of the copy that is still the same object. Its counterpart in the upper
  // directory is made when something below it needs it.
  struct Level {
    Level* parent;
    std::string name, path;
    int source;
    UniqueFd target;
    struct stat st;
  };

  Result<void> directory(Level& level, const CopiedNode& before) {
    if (level.path.size() > kMaxPathBytes) return too_deep();
    ObjectMark now = TRY(mark_of(level.source, ""));
    if (!(now == before.mark) &&
        !std::binary_search(untouched_.begin(), untouched_.end(), now.inode))
      TRY(target_of(level));
    std::vector<std::string> names = TRY(directory_names(level.source));
    for (const auto& [name, node] : before.children)
      if (!std::binary_search(names.begin(), names.end(), name))
        TRY_CONTEXT(whiteout(level, name), "note the deletion of " + level.path + "/" + name);
    for (const std::string& name : names) {
      auto known = before.children.find(name);
      const CopiedNode* node = known == before.children.end() ? nullptr : &known->second;
      TRY_CONTEXT(entry(level, name, node), "collect " + level.path + "/" + name);
    }
    return finish(level);
  }

 private:
  Result<void> entry(Level& level, const std::string& name, const CopiedNode* before) {
    ObjectMark now = TRY(mark_of(level.source, name.c_str()));
    const bool same = before != nullptr && now.same_object(before->mark);
    struct stat st;
    if (::fstatat(level.source, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
      return Error::from_errno(errno, "stat");
    const bool is_directory = S_ISDIR(st.st_mode);
    if (same && before->directory && is_directory) {
      UniqueFd fd = TRY(open_at(level.source, name, kDirectoryFlags));
      Level below{&level, name, level.path + "/" + name, fd.get(), UniqueFd(), st};
      return directory(below, *before);
    }
    if (same && before->mark == now) return {};
    if (same && std::binary_search(untouched_.begin(), untouched_.end(), now.inode)) return {};
    TRY(strip_marks(level.source, name, is_directory, level.path.size()));
    TRY(target_of(level));
    if (::renameat(level.source, name.c_str(), level.target.get(), name.c_str()) != 0)
      return Error::from_errno(errno, "rename");
    // A directory in the place of something else hides it.
    if (is_directory && before != nullptr) TRY(mark_opaque(level.target.get(), name, st));
    return {};
  }

  Result<void> target_of(Level& level) {
    if (level.target) return {};
    TRY(target_of(*level.parent));
    const int parent = level.parent->target.get();
    if (::mkdirat(parent, level.name.c_str(), 0700) != 0) return Error::from_errno(errno, "mkdir");
    level.target = TRY(open_at(parent, level.name, kDirectoryFlags));
    return {};
  }

  Result<void> whiteout(Level& level, const std::string& name) {
    TRY(target_of(level));
    if (::mknodat(level.target.get(), name.c_str(), S_IFCHR, makedev(0, 0)) != 0)
      return Error::from_errno(errno, "make a whiteout");
    return {};
  }

  // The level's metadata as it was before entries were moved out of it.
  Result<void> finish(Level& level) {
    if (!level.target) return {};
    const int fd = level.target.get();
    if (::fchown(fd, level.st.st_uid, level.st.st_gid) != 0)
      return Error::from_errno(errno, "chown");
    if (::fchmod(fd, level.st.st_mode & 07777) != 0) return Error::from_errno(errno, "chmod");
    TRY(copy_xattrs(level.source, fd));
    const timespec times[2] = {level.st.st_atim, level.st.st_mtim};
    if (::futimens(fd, times) != 0) return Error::from_errno(errno, "set times");
    return {};
  }

  // overlayfs would not have let the step set these.
  Result<void> strip_marks(int parent, const std::string& name, bool is_directory, size_t depth) {
    if (depth + name.size() + 1 > kMaxPathBytes) return too_deep();
    const std::string path = proc_path(parent, name);
    std::string names(64 << 10, '\0');
    ssize_t n = ::llistxattr(path.c_str(), names.data(), names.size());
    std::string_view rest(names.data(), n > 0 ? static_cast<size_t>(n) : 0);
    while (!rest.empty()) {
      const std::string attribute(rest.substr(0, rest.find('\0')));
      rest.remove_prefix(std::min(rest.size(), attribute.size() + 1));
      if (is_overlay_xattr_name(attribute) && ::lremovexattr(path.c_str(), attribute.c_str()) != 0)
        return Error::from_errno(errno, "remove the attribute " + attribute);
    }
    if (!is_directory) return {};
    UniqueFd fd = TRY(open_at(parent, name, kDirectoryFlags));
    for (const std::string& child : TRY(directory_names(fd.get()))) {
      struct stat st;
      if (::fstatat(fd.get(), child.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
        return Error::from_errno(errno, "stat");
      TRY(strip_marks(fd.get(), child, S_ISDIR(st.st_mode), depth + name.size() + 1));
    }
    return {};
  }

  Result<void> mark_opaque(int parent, const std::string& name, const struct stat& st) {
    UniqueFd fd = TRY(open_at(parent, name, kDirectoryFlags));
    const char* attribute = userxattr_ ? "user.overlay.opaque" : "trusted.overlay.opaque";
    if (::fsetxattr(fd.get(), attribute, "y", 1, 0) != 0)
      return Error::from_errno(errno, "mark as opaque");
    const timespec times[2] = {st.st_atim, st.st_mtim};
    if (::futimens(fd.get(), times) != 0) return Error::from_errno(errno, "set times");
    return {};
  }

  std::vector<uint64_t> untouched_;
  bool userxattr_;
};

}  // namespace

Result<void> move_changes(const std::string& root, const CopiedNode& before,
                          const std::vector<uint64_t>& untouched, const std::string& upper,
                          bool userxattr) {
  std::vector<uint64_t> sorted = untouched;
  std::sort(sorted.begin(), sorted.end());
  UniqueFd source = TRY(open_file(root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  Mover::Level top{nullptr, "", "", source.get(), UniqueFd(), {}};
  if (::fstat(source.get(), &top.st) != 0) return Error::from_errno(errno, "stat " + root);
  top.target = TRY(open_file(upper, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  return Mover(sorted, userxattr).directory(top, before);
}

}  // namespace kasane::exec
