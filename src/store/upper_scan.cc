#include "store/upper_scan.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "store/layer_internal.h"
#include "tar/path.h"
#include "tar/whiteout.h"

namespace kasane::store {
namespace {

std::string join(std::string_view directory, std::string_view name) {
  std::string path(directory);
  if (!path.empty()) path += '/';
  path += name;
  return path;
}

Result<std::vector<std::string>> names_in(int fd) {
  DIR* raw = ::fdopendir(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!raw) return Error::from_errno(errno, "read directory");
  std::unique_ptr<DIR, int (*)(DIR*)> dir(raw, ::closedir);
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(dir.get());
    if (!entry) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return Error::from_errno(errno, "read directory");
  return names;
}

Result<std::string> read_link(int fd, const char* name, size_t size_hint) {
  std::string text(std::max<size_t>(size_hint, 1) + 1, '\0');
  for (;;) {
    const ssize_t n = ::readlinkat(fd, name, text.data(), text.size());
    if (n < 0) return Error::from_errno(errno, "read symlink");
    if (static_cast<size_t>(n) < text.size()) {
      text.resize(static_cast<size_t>(n));
      return text;
    }
    text.resize(text.size() * 2);
  }
}

class Scanner {
 public:
  Scanner(int root, bool plain) : root_(root), plain_(plain) {}
  Result<void> scan(const std::string& directory) {
    std::vector<UpperNode> children;
    {
      // Closed before going deeper: depth must not exhaust descriptors.
      UniqueFd fd = TRY(open_in_tree(root_, directory, O_RDONLY | O_DIRECTORY));
      std::vector<tar::Xattr> own = TRY(read_xattrs(fd.get(), nullptr));
      bool opaque = false;
      TRY_CONTEXT(check_xattrs(own, &opaque), "read '" + directory + "'");
      if (!directory.empty()) nodes_.back().entry.xattrs = std::move(own);
      if (opaque && !plain_ && !directory.empty()) {
        UpperNode marker;
        marker.kind = UpperKind::kOpaqueMarker;
        marker.entry = tar::whiteout_entry(tar::opaque_path(directory));
        children.push_back(std::move(marker));
      }
      for (const std::string& name : TRY(names_in(fd.get())))
        children.push_back(TRY_CONTEXT(node_at(fd.get(), directory, name),
                                       "read '" + join(directory, name) + "'"));
    }
    std::sort(children.begin(), children.end(), [](const UpperNode& a, const UpperNode& b) {
      return tar::compare_paths(a.entry.path, b.entry.path) < 0;
    });
    for (UpperNode& child : children) {
      const bool directory_child = child.entry.type == tar::EntryType::kDirectory;
      const std::string path = child.entry.path;
      nodes_.push_back(std::move(child));
      if (directory_child) TRY(scan(path));
    }
    return {};
  }
  std::vector<UpperNode> take() { return std::move(nodes_); }

 private:
  Result<UpperNode> node_at(int fd, const std::string& directory, const std::string& name);
  Result<void> check_xattrs(std::vector<tar::Xattr>& xattrs, bool* opaque) const {
    if (!plain_) return check_upper_xattrs(xattrs, opaque);
    std::erase_if(xattrs, [](const tar::Xattr& x) { return tar::is_overlay_xattr(x.name); });
    return {};
  }
  int root_;
  bool plain_;
  std::vector<UpperNode> nodes_;
};

Result<UpperNode> Scanner::node_at(int fd, const std::string& directory, const std::string& name) {
  struct stat st;
  if (::fstatat(fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
    return Error::from_errno(errno, "stat");
  UpperNode node;
  tar::Entry& entry = node.entry;
  entry.path = join(directory, name);
  if (entry.path.size() > tar::kMaxPathBytes)
    return Error(ErrorKind::kLimit,
                 plain_ ? "the path has more than 4095 bytes, which no archive can hold"
                        : "the step made a path of more than 4095 bytes, which no layer "
                          "can hold");
  if (!plain_ && tar::is_overlay_whiteout(st)) {
    node.kind = UpperKind::kWhiteout;
    entry = tar::whiteout_entry(TRY(tar::whiteout_path(entry.path)));
    return node;
  }
  if (!plain_ && name.starts_with(tar::kWhiteoutPrefix))
    return Error(ErrorKind::kUnsupported, "the step made '/" + entry.path +
                                              "', but names that begin with '.wh.' mean "
                                              "deletions in a layer")
        .hint("give the file another name or delete it in the same step");
  set_metadata(st, node);
  switch (st.st_mode & S_IFMT) {
    case S_IFREG:
      entry.type = tar::EntryType::kFile;
      entry.size = static_cast<uint64_t>(st.st_size);
      return node;  // its xattrs are read when it is open
    case S_IFDIR:
      entry.type = tar::EntryType::kDirectory;
      return node;
    case S_IFLNK:
      entry.type = tar::EntryType::kSymlink;
      entry.link_target = TRY(read_link(fd, name.c_str(), static_cast<size_t>(st.st_size)));
      break;
    case S_IFSOCK:
      node.kind = UpperKind::kSocket;
      return node;
    case S_IFIFO:
      entry.type = tar::EntryType::kFifo;
      break;
    default:
      entry.type = S_ISCHR(st.st_mode) ? tar::EntryType::kCharDevice : tar::EntryType::kBlockDevice;
      entry.dev_major = major(st.st_rdev);
      entry.dev_minor = minor(st.st_rdev);
      break;
  }
  entry.xattrs = TRY(read_xattrs(fd, name.c_str()));
  TRY(check_xattrs(entry.xattrs, nullptr));
  return node;
}

// flistxattr and fgetxattr, or their l-forms by name below the directory's descriptor.
ssize_t list_attributes(int fd, const std::string& path, char* buffer, size_t size) {
  return path.empty() ? ::flistxattr(fd, buffer, size) : ::llistxattr(path.c_str(), buffer, size);
}
ssize_t get_attribute(int fd, const std::string& path, const char* name, char* buffer,
                      size_t size) {
  return path.empty() ? ::fgetxattr(fd, name, buffer, size)
                      : ::lgetxattr(path.c_str(), name, buffer, size);
}

}  // namespace

void set_metadata(const struct stat& st, UpperNode& node) {
  tar::Entry& entry = node.entry;
  entry.mode = st.st_mode & 07777;
  entry.uid = st.st_uid;
  entry.gid = st.st_gid;
  entry.mtime = {st.st_mtim.tv_sec, static_cast<uint32_t>(st.st_mtim.tv_nsec)};
  node.device = st.st_dev;
  node.inode = st.st_ino;
  node.links = st.st_nlink;
}

Result<std::vector<tar::Xattr>> read_xattrs(int fd, const char* name) {
  const std::string path =
      name ? "/proc/self/fd/" + std::to_string(fd) + "/" + name : std::string();
  std::vector<tar::Xattr> xattrs;
  char stack[1024];
  std::string heap;
  std::string_view names;
  ssize_t n = list_attributes(fd, path, stack, sizeof stack);
  if (n < 0 && errno == ERANGE) {
    heap.resize(64 * 1024);  // XATTR_LIST_MAX
    n = list_attributes(fd, path, heap.data(), heap.size());
  }
  if (n < 0 && (errno == EOPNOTSUPP || errno == EPERM)) return xattrs;
  if (n < 0) return Error::from_errno(errno, "list extended attributes");
  names = {heap.empty() ? stack : heap.data(), static_cast<size_t>(n)};
  while (!names.empty()) {
    const std::string attribute(names.substr(0, names.find('\0')));
    names.remove_prefix(std::min(names.size(), attribute.size() + 1));
    if (attribute == "security.selinux") continue;  // the host's label
    std::string value(256, '\0');
    ssize_t size = get_attribute(fd, path, attribute.c_str(), value.data(), value.size());
    if (size < 0 && errno == ERANGE) {
      value.resize(64 * 1024);  // XATTR_SIZE_MAX
      size = get_attribute(fd, path, attribute.c_str(), value.data(), value.size());
    }
    if (size < 0 && errno == ENODATA) continue;
    if (size < 0) return Error::from_errno(errno, "read extended attribute " + attribute);
    value.resize(static_cast<size_t>(size));
    xattrs.push_back({attribute, std::move(value)});
  }
  std::sort(xattrs.begin(), xattrs.end());
  return xattrs;
}

Result<void> check_upper_xattrs(std::vector<tar::Xattr>& xattrs, bool* opaque) {
  if (xattrs.empty()) return {};
  if (opaque) *opaque = tar::is_overlay_opaque(xattrs);
  for (const tar::Xattr& xattr : xattrs)
    if (tar::is_overlay_xattr(xattr.name) &&
        (xattr.name.ends_with(".redirect") || xattr.name.ends_with(".metacopy")))
      return Error(ErrorKind::kUnsupported, "overlayfs left " + xattr.name +
                                                " there, so the upper directory is not complete")
          .hint("mount overlayfs with redirect_dir=off,metacopy=off");
  std::erase_if(xattrs, [](const tar::Xattr& xattr) { return tar::is_overlay_xattr(xattr.name); });
  return {};
}

Result<std::vector<UpperNode>> scan_upper(int root_fd) {
  Scanner scanner(root_fd, false);
  TRY(scanner.scan(""));
  return scanner.take();
}

Result<std::vector<UpperNode>> scan_plain(int root_fd) {
  Scanner scanner(root_fd, true);
  TRY(scanner.scan(""));
  return scanner.take();
}

}  // namespace kasane::store
