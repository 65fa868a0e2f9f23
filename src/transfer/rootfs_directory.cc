// type=local (reference O01): the merged root file system in a directory of the caller.
//
// Nothing is ever resolved through what the image brings or what lies in the destination:
// each parent is opened below the destination with symlinks forbidden, each entry is made
// under a temporary name in it and renamed, so that a file is replaced whole and never
// written through. Directories get their metadata last, children first.
#include <dirent.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <unordered_set>

#include "tar/path.h"
#include "tar/whiteout.h"
#include "transfer/export_internal.h"
#include "transfer/rootfs_plan.h"

namespace kasane::transfer {
namespace {

using tar::EntryType;

Result<UniqueFd> open_beneath(int root, std::string_view path, int flags) {
  const std::string name(path.empty() ? "." : path);
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC | O_NOFOLLOW;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  for (int attempt = 0;; ++attempt) {
    const long fd = ::syscall(SYS_openat2, root, name.c_str(), &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    if (errno == EINTR || (errno == EAGAIN && attempt < 64)) continue;
    return Error::from_errno(errno, "open '" + name + "' in the destination");
  }
}

std::array<timespec, 2> times_of(Timespec mtime) {
  const timespec time{static_cast<time_t>(mtime.sec), static_cast<long>(mtime.nsec)};
  return {time, time};
}

// As far as the file system and the caller's rights allow.
void set_xattrs(int fd, const tar::Entry& entry) {
  for (const tar::Xattr& xattr : entry.xattrs)
    if (!tar::is_overlay_xattr(xattr.name))
      (void)::fsetxattr(fd, xattr.name.c_str(), xattr.value.data(), xattr.value.size(), 0);
}

class DirectoryWriter {
 public:
  DirectoryWriter(RootfsPlan& plan, UniqueFd root, std::stop_token stop)
      : plan_(plan), root_(std::move(root)), stop_(std::move(stop)) {}

  Result<void> run(bool delete_others) {
    for (const RootfsEntry& entry : plan_.entries()) {
      if (stop_.stop_requested()) return cancelled();
      TRY_CONTEXT(make(entry), "write '" + entry.path + "'");
    }
    if (delete_others) TRY(remove_others());
    return finish_directories();
  }
  const std::vector<std::string>& skipped() const { return skipped_; }

 private:
  Result<void> make(const RootfsEntry& entry);
  Result<void> make_directory(int parent, const std::string& name);
  Result<void> make_file(int parent, const std::string& name, const RootfsEntry& entry);
  Result<void> make_hard_link(int parent, const std::string& name, const RootfsEntry& entry);
  Result<void> make_symlink(int parent, const std::string& name, const tar::Entry& entry);
  Result<void> make_node(int parent, const std::string& name, const tar::Entry& entry);
  Result<int> open_parent(std::string_view path);
  // Makes something under a name that is free, then moves it to `name`.
  template <class Make>
  Result<std::string> temporary(Make make_it);
  Result<void> place(int parent, const std::string& temporary, const std::string& name);
  Result<void> remove_others();
  Result<void> finish_directories();
  // Times of what no layer has are left as the system sets them.
  bool has_time(const RootfsEntry& entry) const {
    return entry.layer || plan_.header(entry).mtime != Timespec{};
  }

  RootfsPlan& plan_;
  UniqueFd root_;
  std::stop_token stop_;
  UniqueFd parent_;
  std::string parent_path_;
  bool parent_open_ = false;
  uint64_t counter_ = 0;
  std::vector<std::string> skipped_;
};

Result<int> DirectoryWriter::open_parent(std::string_view path) {
  const std::string_view parent = tar::parent_path(path);
  if (parent_open_ && parent == parent_path_) return parent_.get();
  parent_open_ = false;
  parent_ = TRY(open_beneath(root_.get(), parent, O_RDONLY | O_DIRECTORY));
  parent_path_ = std::string(parent);
  parent_open_ = true;
  return parent_.get();
}

template <class Make>
Result<std::string> DirectoryWriter::temporary(Make make_it) {
  for (int attempt = 0; attempt < 1000; ++attempt) {
    std::string name = ".kasane-" + std::to_string(::getpid()) + "-" + std::to_string(counter_++);
    if (make_it(name.c_str())) return name;
    if (errno != EEXIST) break;
  }
  return Error::from_errno(errno, "create a file in the destination");
}

Result<void> DirectoryWriter::place(int parent, const std::string& temporary,
                                    const std::string& name) {
  if (::renameat(parent, temporary.c_str(), parent, name.c_str()) == 0) return {};
  if (errno == EISDIR || errno == ENOTEMPTY || errno == EEXIST) {
    const Result<void> removed = remove_tree(parent, name);
    if (removed && ::renameat(parent, temporary.c_str(), parent, name.c_str()) == 0) return {};
    if (!removed) {
      ::unlinkat(parent, temporary.c_str(), 0);
      return removed.error();
    }
  }
  const int why = errno;
  ::unlinkat(parent, temporary.c_str(), 0);
  return Error::from_errno(why, "replace what is there");
}

Result<void> DirectoryWriter::make(const RootfsEntry& entry) {
  const int parent = TRY(open_parent(entry.path));
  const std::string name(tar::base_name(entry.path));
  switch (entry.type) {
    case EntryType::kDirectory:
      return make_directory(parent, name);
    case EntryType::kFile:
      return make_file(parent, name, entry);
    case EntryType::kHardlink:
      return make_hard_link(parent, name, entry);
    case EntryType::kSymlink:
      return make_symlink(parent, name, plan_.header(entry));
    case EntryType::kCharDevice:
    case EntryType::kBlockDevice:
    case EntryType::kFifo:
      return make_node(parent, name, plan_.header(entry));
  }
  return {};
}

// Final metadata follows at the end. A directory that is there stays, with its content.
Result<void> DirectoryWriter::make_directory(int parent, const std::string& name) {
  for (int attempt = 0;; ++attempt) {
    if (::mkdirat(parent, name.c_str(), 0700) == 0) return {};
    if (errno != EEXIST || attempt > 0) return Error::from_errno(errno, "create directory");
    struct stat st;
    if (::fstatat(parent, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
      return Error::from_errno(errno, "stat what is there");
    if (S_ISDIR(st.st_mode)) {
      if ((st.st_mode & 0700) == 0700) return {};
      // Left by an earlier export of an image that has it read-only.
      UniqueFd fd = TRY(open_beneath(parent, name, O_PATH | O_DIRECTORY));
      const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
      if (::chmod(path.c_str(), (st.st_mode & 07777) | 0700) != 0)
        return Error::from_errno(errno, "make the directory writable");
      return {};
    }
    if (::unlinkat(parent, name.c_str(), 0) != 0)
      return Error::from_errno(errno, "replace what is there");
  }
}

Result<void> DirectoryWriter::make_file(int parent, const std::string& name,
                                        const RootfsEntry& entry) {
  UniqueFd fd;
  const std::string written = TRY(temporary([&](const char* free) {
    fd.reset(::openat(parent, free, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    return static_cast<bool>(fd);
  }));
  auto fill = [&]() -> Result<void> {
    struct FileSink final : ByteSink {
      int fd;
      std::stop_token stop;
      Result<void> write(std::span<const uint8_t> bytes) override {
        if (stop.stop_requested()) return cancelled();
        return write_all(fd, bytes, "file of the destination");
      }
    } sink;
    sink.fd = fd.get();
    sink.stop = stop_;
    const tar::Entry header = plan_.header(entry);
    if (header.size > 0) TRY(copy_stream(*TRY(plan_.content(entry)), sink));
    set_xattrs(fd.get(), header);
    if (::fchmod(fd.get(), header.mode & 07777) != 0)
      return Error::from_errno(errno, "set the mode");
    if (has_time(entry) && ::futimens(fd.get(), times_of(header.mtime).data()) != 0)
      return Error::from_errno(errno, "set the time");
    return {};
  };
  if (Result<void> filled = fill(); !filled) {
    ::unlinkat(parent, written.c_str(), 0);
    return filled;
  }
  return place(parent, written, name);
}

Result<void> DirectoryWriter::make_hard_link(int parent, const std::string& name,
                                             const RootfsEntry& entry) {
  UniqueFd from = TRY(
      open_beneath(root_.get(), tar::parent_path(entry.link_target), O_RDONLY | O_DIRECTORY));
  const std::string from_name(tar::base_name(entry.link_target));
  int why = 0;
  Result<std::string> linked = temporary([&](const char* free) {
    const bool done = ::linkat(from.get(), from_name.c_str(), parent, free, 0) == 0;
    why = errno;
    return done;
  });
  if (linked) {
    TRY(place(parent, *linked, name));
    // Two names of one file: then rename() does nothing and says success.
    ::unlinkat(parent, linked->c_str(), 0);
    return {};
  }
  const EntryType type = entry.layer->index().type_at(entry.position);
  const bool device = type == EntryType::kCharDevice || type == EntryType::kBlockDevice;
  if (why == ENOENT && device) {
    skipped_.push_back(entry.path);
    return {};
  }
  // Too many links, or a file system without them: a copy.
  if (why != EMLINK && why != EPERM && why != EOPNOTSUPP && why != EXDEV) return linked.error();
  RootfsEntry copy = entry;
  copy.type = type;
  copy.link_target.clear();
  return make(copy);
}

Result<void> DirectoryWriter::make_symlink(int parent, const std::string& name,
                                           const tar::Entry& entry) {
  const std::string made = TRY(temporary(
      [&](const char* free) { return ::symlinkat(entry.link_target.c_str(), parent, free) == 0; }));
  (void)::utimensat(parent, made.c_str(), times_of(entry.mtime).data(), AT_SYMLINK_NOFOLLOW);
  return place(parent, made, name);
}

Result<void> DirectoryWriter::make_node(int parent, const std::string& name,
                                        const tar::Entry& entry) {
  const mode_t type = entry.type == EntryType::kFifo         ? S_IFIFO
                      : entry.type == EntryType::kCharDevice ? S_IFCHR
                                                             : S_IFBLK;
  const dev_t device = type == S_IFIFO ? 0 : makedev(entry.dev_major, entry.dev_minor);
  int why = 0;
  Result<std::string> made = temporary([&](const char* free) {
    const bool done = ::mknodat(parent, free, type | 0600, device) == 0;
    why = errno;
    return done;
  });
  if (!made && why == EPERM) {
    skipped_.push_back(entry.path);
    return {};
  }
  if (!made) return made.error();
  // The name is ours and no symlink, so the path form cannot lead elsewhere.
  if (::fchmodat(parent, made->c_str(), entry.mode & 07777, 0) != 0) {
    const int failed = errno;
    ::unlinkat(parent, made->c_str(), 0);
    return Error::from_errno(failed, "set the mode");
  }
  (void)::utimensat(parent, made->c_str(), times_of(entry.mtime).data(), AT_SYMLINK_NOFOLLOW);
  return place(parent, *made, name);
}

// mode=delete: what the result does not have goes, in every directory that it has.
Result<void> DirectoryWriter::remove_others() {
  std::unordered_set<std::string_view> wanted;
  for (const RootfsEntry& entry : plan_.entries()) wanted.insert(entry.path);
  const auto clean = [&](const std::string& directory) -> Result<void> {
    if (stop_.stop_requested()) return cancelled();
    UniqueFd fd = TRY(open_beneath(root_.get(), directory, O_RDONLY | O_DIRECTORY));
    std::unique_ptr<DIR, int (*)(DIR*)> list(::fdopendir(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)),
                                             &::closedir);
    if (!list) return Error::from_errno(errno, "list the destination");
    std::vector<std::string> extra;
    while (const dirent* found = ::readdir(list.get())) {
      const std::string name = found->d_name;
      if (name == "." || name == "..") continue;
      if (!wanted.contains(directory.empty() ? name : directory + "/" + name))
        extra.push_back(name);
    }
    for (const std::string& name : extra)
      TRY_CONTEXT(remove_tree(fd.get(), name), "delete '" + directory + "/" + name + "'");
    return {};
  };
  TRY(clean(""));
  for (const RootfsEntry& entry : plan_.entries())
    if (entry.type == EntryType::kDirectory) TRY(clean(entry.path));
  return {};
}

Result<void> DirectoryWriter::finish_directories() {
  parent_open_ = false;
  const std::vector<RootfsEntry>& entries = plan_.entries();
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    if (entry->type != EntryType::kDirectory) continue;
    const tar::Entry header = plan_.header(*entry);
    UniqueFd fd = TRY(open_beneath(root_.get(), entry->path, O_RDONLY | O_DIRECTORY));
    set_xattrs(fd.get(), header);
    if (::fchmod(fd.get(), header.mode & 07777) != 0)
      return Error::from_errno(errno, "set the mode of '" + entry->path + "'");
    if (has_time(*entry) && ::futimens(fd.get(), times_of(header.mtime).data()) != 0)
      return Error::from_errno(errno, "set the time of '" + entry->path + "'");
  }
  return {};
}

}  // namespace

Result<void> export_rootfs_directory(const ExportJob& job) {
  const std::string& dest = job.options.dest;
  struct stat st;
  if (::stat(dest.c_str(), &st) == 0 && !S_ISDIR(st.st_mode))
    return Error(ErrorKind::kInvalid, "destination directory " + dest + " is a file")
        .hint("type=tar,dest=FILE writes a tar");
  RootfsPlan plan = TRY(RootfsPlan::make(job.store, job.built, job.options));
  TRY(make_directories(dest));
  UniqueFd root = TRY(open_file(dest, O_RDONLY | O_DIRECTORY));
  DirectoryWriter writer(plan, std::move(root), job.stop);
  TRY_CONTEXT(writer.run(job.options.local_delete), "export to " + dest);
  if (const std::vector<std::string>& skipped = writer.skipped(); !skipped.empty())
    job.events.warn(std::to_string(skipped.size()) +
                    (skipped.size() == 1 ? " device node was" : " device nodes were") +
                    " left out of " + dest + " (" + skipped.front() +
                    (skipped.size() == 1 ? "" : ", ...") + "): making them needs privilege");
  return {};
}

}  // namespace kasane::transfer
