// Blob → tree in overlayfs form. Reference X1-X8, X14, X16, X18.
//
// The index has unique, normalised paths with parents before children, and no entry below
// anything but a directory. So nothing is ever resolved through what the layer brings:
// each parent is opened below the new tree with symlinks forbidden, each entry is created
// exclusively in it, and directories get their final metadata last, children first.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "store/layer_internal.h"
#include "tar/path.h"
#include "tar/whiteout.h"

namespace kasane::store {
namespace {

constexpr size_t kBufferSize = 256 * 1024;

// Names of the magic links keep what has no *at() form inside the directory that was opened.
std::string fd_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

class Unpacker {
 public:
  Unpacker(const LayerIndex& index, std::string blob_path, UniqueFd blob, UniqueFd root)
      : index_(index),
        blob_path_(std::move(blob_path)),
        blob_(std::move(blob)),
        root_(std::move(root)),
        buffer_(new uint8_t[kBufferSize]) {}

  Result<void> run() {
    if (index_.size() == 0 || !index_.path_at(0).empty()) implicit_.emplace_back();
    for (current_ = 0; current_ < index_.size(); ++current_)
      TRY_CONTEXT(make(index_.at(current_)),
                  "unpack '" + std::string(index_.path_at(current_)) + "'");
    for (size_t i : hard_links_)
      TRY_CONTEXT(make_hard_link(index_.at(i)), "unpack '" + std::string(index_.path_at(i)) + "'");
    return finish_directories();
  }

 private:
  Result<void> make(const EntryView& entry);
  Result<void> make_whiteout(const EntryView& entry);
  Result<void> make_directory(const EntryView& entry);
  Result<void> make_file(const EntryView& entry);
  Result<void> make_symlink(const EntryView& entry);
  Result<void> make_node(const EntryView& entry);
  Result<void> make_hard_link(const EntryView& entry);

  Result<void> write_content(int fd, const EntryView& entry);
  Result<void> write_sparse_content(int fd, const EntryView& entry);
  Result<void> set_file_metadata(int fd, const EntryView& entry);
  Result<void> set_link_metadata(int parent, const std::string& name, const EntryView& entry);
  Result<void> set_xattrs(const std::string& path, const EntryView& entry);
  Result<void> finish_directories();
  Result<void> mark_opaque(std::string_view directory);

  // The directory that `path` is created in, kept open while the next entries share it.
  Result<int> open_parent(std::string_view path);
  Result<void> make_implicit(std::string_view directory);

  const LayerIndex& index_;
  std::string blob_path_;
  UniqueFd blob_;
  UniqueFd root_;
  std::unique_ptr<uint8_t[]> buffer_;
  UniqueFd parent_;
  std::string parent_path_;
  bool parent_open_ = false;
  size_t current_ = 0;  // position that run() is at
  std::vector<size_t> directories_;
  std::vector<std::string> implicit_;
  std::vector<std::string> opaque_;
  std::vector<size_t> hard_links_;
};

// chown fails with EINVAL for ids that are not mapped here, and with EPERM for a plain
// user; the index keeps the owner. Everything else is an error.
Result<bool> owner_set(int result, const EntryView& entry) {
  if (result == 0) return true;
  if (errno == EINVAL || (errno == EPERM && ::geteuid() != 0)) return false;
  return Error::from_errno(
      errno, "set the owner to " + std::to_string(entry.uid) + ":" + std::to_string(entry.gid));
}

// A set-id file must not become one of somebody else.
mode_t mode_for(const EntryView& entry, bool owned) {
  return owned ? entry.mode : entry.mode & 01777;
}

std::array<timespec, 2> times_of(Timespec mtime) {
  const timespec time{static_cast<time_t>(mtime.sec), static_cast<long>(mtime.nsec)};
  return {time, time};
}

Result<int> Unpacker::open_parent(std::string_view path) {
  const std::string_view parent = tar::parent_path(path);
  if (parent_open_ && parent == parent_path_) return parent_.get();
  parent_open_ = false;
  Result<UniqueFd> fd = open_in_tree(root_.get(), parent, O_RDONLY | O_DIRECTORY);
  if (!fd && fd.error().errno_value() == ENOENT) {
    TRY(make_implicit(parent));
    fd = open_in_tree(root_.get(), parent, O_RDONLY | O_DIRECTORY);
  }
  if (!fd) return fd.error();
  parent_ = std::move(*fd);
  parent_path_ = std::string(parent);
  parent_open_ = true;
  return parent_.get();
}

// A parent that the layer does not list.
Result<void> Unpacker::make_implicit(std::string_view directory) {
  UniqueFd at = TRY(open_in_tree(root_.get(), "", O_RDONLY | O_DIRECTORY));
  for (size_t begin = 0; begin < directory.size();) {
    const size_t end = std::min(directory.find('/', begin), directory.size());
    const std::string name(directory.substr(begin, end - begin));
    if (::mkdirat(at.get(), name.c_str(), 0755) == 0)
      implicit_.emplace_back(directory.substr(0, end));
    else if (errno != EEXIST)
      return Error::from_errno(errno, "create directory");
    at = TRY(open_in_tree(at.get(), name, O_RDONLY | O_DIRECTORY));
    begin = end + 1;
  }
  return {};
}

Result<void> Unpacker::make(const EntryView& entry) {
  if (tar::base_name(entry.path).starts_with(tar::kWhiteoutPrefix)) return make_whiteout(entry);
  switch (entry.type) {
    case tar::EntryType::kDirectory:
      return make_directory(entry);
    case tar::EntryType::kFile:
      return make_file(entry);
    case tar::EntryType::kSymlink:
      return make_symlink(entry);
    case tar::EntryType::kHardlink:
      hard_links_.push_back(current_);
      return {};
    case tar::EntryType::kCharDevice:
    case tar::EntryType::kBlockDevice:
    case tar::EntryType::kFifo:
      return make_node(entry);
  }
  return {};
}

Result<void> Unpacker::make_whiteout(const EntryView& entry) {
  const tar::Whiteout whiteout = TRY(tar::classify_whiteout(entry.path));
  const std::string& target = whiteout.target;
  if (whiteout.kind == tar::WhiteoutKind::kOpaque) {
    opaque_.push_back(target);
    TRY(open_parent(entry.path));  // exists from now on
    return {};
  }
  if (whiteout.kind != tar::WhiteoutKind::kWhiteout) return {};
  // An opaque directory needs no whiteouts, and overlayfs would list them (X7).
  if (index_.find(tar::opaque_path(tar::parent_path(target)))) return {};
  // The layer brings the same name itself: that hides what is below, if it is a directory
  // together with its old content.
  const std::optional<size_t> own = index_.find(target);
  const auto [begin, end] = index_.subtree(target);
  if (own || begin < end) {
    if (begin < end || index_.type_at(*own) == tar::EntryType::kDirectory)
      opaque_.push_back(target);
    return {};
  }
  const int parent = TRY(open_parent(target));
  const std::string name(tar::base_name(target));
  if (::mknodat(parent, name.c_str(), S_IFCHR, makedev(0, 0)) != 0)
    return Error::from_errno(errno, "create a whiteout");
  return {};
}

Result<void> Unpacker::make_directory(const EntryView& entry) {
  directories_.push_back(current_);
  if (entry.path.empty()) return {};
  const int parent = TRY(open_parent(entry.path));
  const std::string name(tar::base_name(entry.path));
  if (::mkdirat(parent, name.c_str(), 0700) != 0)
    return Error::from_errno(errno, "create directory");
  return {};
}

Result<void> Unpacker::make_file(const EntryView& entry) {
  const int parent = TRY(open_parent(entry.path));
  const std::string name(tar::base_name(entry.path));
  UniqueFd fd = TRY(open_at(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  if (entry.size > 0)
    TRY(entry.sparse ? write_sparse_content(fd.get(), entry) : write_content(fd.get(), entry));
  return set_file_metadata(fd.get(), entry);
}

Error damaged_content(const EntryView& entry) {
  return Error(ErrorKind::kCorrupt, "the content of '" + std::string(entry.path) +
                                        "' in the layer's tar does not match its digest")
      .hint("run `kasane store check`, then pull or build the image again");
}

Result<void> Unpacker::write_content(int fd, const EntryView& entry) {
  Sha256 hash;
  const std::string name(entry.path);
  for (uint64_t done = 0; done < entry.size;) {
    const size_t want = static_cast<size_t>(std::min<uint64_t>(kBufferSize, entry.size - done));
    const ssize_t n =
        ::pread(blob_.get(), buffer_.get(), want, static_cast<off_t>(entry.data_offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno(errno, "read " + blob_path_);
    if (n == 0) return damaged_content(entry);
    const std::span<const uint8_t> bytes(buffer_.get(), static_cast<size_t>(n));
    hash.update(bytes);
    TRY(write_all(fd, bytes, name));
    done += bytes.size();
  }
  if (hash.finish() != entry.content) return damaged_content(entry);
  return {};
}

// Runs of zeros become holes again.
Result<void> Unpacker::write_sparse_content(int fd, const EntryView& entry) {
  std::unique_ptr<ByteSource> source = TRY(open_blob_content(entry, blob_path_));
  Sha256 hash;
  const std::string name(entry.path);
  uint64_t done = 0;
  for (;;) {
    const size_t n = TRY(read_full(*source, std::span(buffer_.get(), 64 * 1024)));
    if (n == 0) break;
    const std::span<const uint8_t> bytes(buffer_.get(), n);
    hash.update(bytes);
    const bool zeros = std::all_of(bytes.begin(), bytes.end(), [](uint8_t b) { return b == 0; });
    if (zeros) {
      if (::lseek(fd, static_cast<off_t>(n), SEEK_CUR) < 0)
        return Error::from_errno(errno, "seek " + name);
    } else {
      TRY(write_all(fd, bytes, name));
    }
    done += n;
  }
  if (done != entry.size || hash.finish() != entry.content) return damaged_content(entry);
  if (::ftruncate(fd, static_cast<off_t>(entry.size)) != 0)
    return Error::from_errno(errno, "set the size of " + name);
  return {};
}

// X16: chown clears set-id bits and capabilities, so it comes first; times come last.
Result<void> Unpacker::set_file_metadata(int fd, const EntryView& entry) {
  const bool owned = TRY(owner_set(::fchown(fd, entry.uid, entry.gid), entry));
  if (::fchmod(fd, mode_for(entry, owned)) != 0) return Error::from_errno(errno, "set the mode");
  if (!entry.xattrs.empty()) TRY(set_xattrs(fd_path(fd), entry));
  if (::futimens(fd, times_of(entry.mtime).data()) != 0)
    return Error::from_errno(errno, "set the time");
  return {};
}

// For what cannot be opened: symlinks, devices, FIFOs. Links are not followed.
Result<void> Unpacker::set_link_metadata(int parent, const std::string& name,
                                         const EntryView& entry) {
  const bool owned = TRY(owner_set(
      ::fchownat(parent, name.c_str(), entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW), entry));
  if (entry.type != tar::EntryType::kSymlink &&
      ::fchmodat(parent, name.c_str(), mode_for(entry, owned), AT_SYMLINK_NOFOLLOW) != 0)
    return Error::from_errno(errno, "set the mode");
  if (!entry.xattrs.empty()) TRY(set_xattrs(fd_path(parent) + "/" + name, entry));
  if (::utimensat(parent, name.c_str(), times_of(entry.mtime).data(), AT_SYMLINK_NOFOLLOW) != 0)
    return Error::from_errno(errno, "set the time");
  return {};
}

// `path` goes through /proc/self/fd: an fd of the entry itself, which lsetxattr would not
// follow, or a name in the fd of its parent, whose last component must not be followed.
Result<void> Unpacker::set_xattrs(const std::string& path, const EntryView& entry) {
  const bool by_parent = path.find('/', sizeof "/proc/self/fd/" - 1) != std::string::npos;
  for (const tar::Xattr& xattr : entry.xattrs) {
    if (tar::is_overlay_xattr(xattr.name)) continue;  // X8
    const auto set = by_parent ? ::lsetxattr : ::setxattr;
    if (set(path.c_str(), xattr.name.c_str(), xattr.value.data(), xattr.value.size(), 0) == 0)
      continue;
    // Not possible in this namespace or on this file system; the index keeps it.
    if (errno == EPERM || errno == EOPNOTSUPP) continue;
    return Error::from_errno(errno, "set extended attribute " + xattr.name);
  }
  return {};
}

Result<void> Unpacker::make_symlink(const EntryView& entry) {
  const int parent = TRY(open_parent(entry.path));
  const std::string name(tar::base_name(entry.path));
  if (::symlinkat(std::string(entry.link_target).c_str(), parent, name.c_str()) != 0)
    return Error::from_errno(errno, "create symlink");
  return set_link_metadata(parent, name, entry);
}

Result<void> Unpacker::make_node(const EntryView& entry) {
  const int parent = TRY(open_parent(entry.path));
  const std::string name(tar::base_name(entry.path));
  const mode_t type = entry.type == tar::EntryType::kFifo         ? S_IFIFO
                      : entry.type == tar::EntryType::kCharDevice ? S_IFCHR
                                                                  : S_IFBLK;
  const dev_t device = type == S_IFIFO ? 0 : makedev(entry.dev_major, entry.dev_minor);
  if (type == S_IFCHR && device == makedev(0, 0)) return {};  // X8
  if (::mknodat(parent, name.c_str(), type | 0600, device) != 0) {
    if (errno == EPERM && type != S_IFIFO) return {};  // X14: kept in the index only
    return Error::from_errno(errno, "create device node");
  }
  return set_link_metadata(parent, name, entry);
}

Result<void> Unpacker::make_hard_link(const EntryView& entry) {
  const std::optional<size_t> target = index_.find(entry.link_target);
  if (!target) return Error(ErrorKind::kCorrupt, "the target of a hard link is not in the index");
  UniqueFd from =
      TRY(open_in_tree(root_.get(), tar::parent_path(entry.link_target), O_RDONLY | O_DIRECTORY));
  const std::string from_name(tar::base_name(entry.link_target));
  const int parent = TRY(open_parent(entry.path));
  const std::string name(tar::base_name(entry.path));
  if (::linkat(from.get(), from_name.c_str(), parent, name.c_str(), 0) == 0) return {};
  EntryView copy = index_.at(*target);
  const bool device =
      copy.type == tar::EntryType::kCharDevice || copy.type == tar::EntryType::kBlockDevice;
  if (errno == ENOENT && device) return {};  // the device could not be made either
  if (errno != EMLINK) return Error::from_errno(errno, "link to '" + from_name + "'");
  // X18: ext4 allows 65,000 links to one file; the rest become copies.
  const std::string path(entry.path);
  copy.path = path;
  if (copy.type == tar::EntryType::kFile) return make_file(copy);
  return copy.type == tar::EntryType::kSymlink ? make_symlink(copy) : make_node(copy);
}

Result<void> Unpacker::mark_opaque(std::string_view directory) {
  UniqueFd fd = TRY(open_in_tree(root_.get(), directory, O_RDONLY | O_DIRECTORY));
  if (::fsetxattr(fd.get(), "trusted.overlay.opaque", "y", 1, 0) == 0) return {};
  // Outside the initial user namespace overlayfs is mounted with "userxattr".
  if (errno == EPERM && ::fsetxattr(fd.get(), "user.overlay.opaque", "y", 1, 0) == 0) return {};
  return Error::from_errno(errno, "mark directory '" + std::string(directory) + "' opaque");
}

Result<void> Unpacker::finish_directories() {
  parent_.reset();
  for (const std::string& directory : opaque_) TRY(mark_opaque(directory));
  std::sort(implicit_.begin(), implicit_.end(), [](const std::string& a, const std::string& b) {
    return tar::compare_paths(a, b) > 0;
  });
  for (const std::string& path : implicit_) {
    UniqueFd fd = TRY(open_in_tree(root_.get(), path, O_RDONLY | O_DIRECTORY));
    if (::fchmod(fd.get(), 0755) != 0 || ::futimens(fd.get(), times_of({}).data()) != 0)
      return Error::from_errno(errno, "finish directory '" + path + "'");
  }
  for (auto i = directories_.rbegin(); i != directories_.rend(); ++i) {
    const EntryView entry = index_.at(*i);
    UniqueFd fd = TRY(open_in_tree(root_.get(), entry.path, O_RDONLY | O_DIRECTORY));
    TRY_CONTEXT(set_file_metadata(fd.get(), entry),
                "finish directory '" + std::string(entry.path) + "'");
  }
  return {};
}

}  // namespace

Result<void> unpack_tree(const LayerIndex& index, const std::string& blob_path,
                         const std::string& tree_path) {
  UniqueFd blob = TRY(open_file(blob_path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW));
  if (::mkdir(tree_path.c_str(), 0700) != 0) return Error::from_errno(errno, "create " + tree_path);
  UniqueFd root = TRY(open_file(tree_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  (void)::posix_fadvise(blob.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  Unpacker unpacker(index, blob_path, std::move(blob), std::move(root));
  return unpacker.run();
}

}  // namespace kasane::store
