#include "exec/sandbox/stub_journal.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>

namespace kasane::exec {
namespace {

uint64_t mount_id(int fd) {
  struct statx st;
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) != 0) return 0;
  return st.stx_mnt_id;
}

void set_mtime(int fd, const timespec& mtime) {
  timespec times[2];
  times[0].tv_sec = 0;
  times[0].tv_nsec = UTIME_OMIT;
  times[1] = mtime;
  ::futimens(fd, times);
}

bool same_time(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool same_owner(const struct stat& a, const struct stat& b) {
  return a.st_mode == b.st_mode && a.st_uid == b.st_uid && a.st_gid == b.st_gid;
}

void copy_name(char (&to)[256], const Reporter& report, std::string_view name) {
  if (name.size() >= sizeof to) report.fail("create mount point", name, ENAMETOOLONG);
  std::memcpy(to, name.data(), name.size());
  to[name.size()] = '\0';
}

constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

}  // namespace

void StubJournal::begin(const Reporter& report, int root_fd, int upper_fd, Storage storage) {
  in_place_ = storage == Storage::kCopy;
  fuse_ = storage == Storage::kFuseOverlay;
  root_mount_id_ = mount_id(root_fd);
  struct stat st;
  if (::fstat(root_fd, &st) != 0) report.fail("stat", "the root of the image", errno);
  Directory& root = directories_[0];
  root.parent = 0;
  root.name[0] = '\0';
  root.created = false;
  root.merged_fd = root_fd;
  root.upper_fd = upper_fd;
  root.mtime = st.st_mtim;
  directory_count_ = 1;
  file_count_ = 0;
}

size_t StubJournal::add_directory(const Reporter& report, size_t parent, std::string_view name,
                                  bool created) {
  if (directory_count_ == kMaxDirectories) report.fail("create mount point", name, E2BIG);
  Directory& entry = directories_[directory_count_];
  entry.parent = parent;
  copy_name(entry.name, report, name);
  entry.created = created;
  entry.upper_fd = -1;
  entry.merged_fd = ::openat(directories_[parent].merged_fd, entry.name, kDirectoryFlags);
  struct stat st;
  if (entry.merged_fd < 0 || ::fstat(entry.merged_fd, &st) != 0)
    report.fail("open directory", name, errno);
  entry.mtime = st.st_mtim;
  return directory_count_++;
}

// The slot of a directory that exists; its ancestors get slots on the way.
size_t StubJournal::slot_for(const Reporter& report, std::string_view path) {
  size_t slot = 0;
  while (!path.empty()) {
    if (path.front() == '/') {
      path.remove_prefix(1);
      continue;
    }
    size_t end = path.find('/');
    std::string_view name = path.substr(0, end);
    path = end == std::string_view::npos ? std::string_view() : path.substr(end);
    size_t child = 0;
    for (size_t i = 1; i < directory_count_ && child == 0; ++i)
      if (directories_[i].parent == slot && name == directories_[i].name) child = i;
    slot = child != 0 ? child : add_directory(report, slot, name, false);
  }
  return slot;
}

void StubJournal::create(const Reporter& report, int parent_fd, std::string_view parent_path,
                         const char* name, bool directory) {
  bool recorded = mount_id(parent_fd) == root_mount_id_;
  size_t parent = recorded ? slot_for(report, parent_path) : 0;
  int status;
  if (directory) {
    status = ::mkdirat(parent_fd, name, 0755);
  } else {
    status = ::openat(parent_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (status >= 0) ::close(status);
  }
  if (status < 0) report.fail("create mount point", name, errno);
  if (!recorded) return;
  if (directory) {
    add_directory(report, parent, name, true);
    return;
  }
  if (file_count_ == kMaxFiles) report.fail("create mount point", name, E2BIG);
  File& file = files_[file_count_++];
  file.parent = parent;
  copy_name(file.name, report, name);
}

void StubJournal::seal(const Reporter& report) {
  for (size_t i = directory_count_; i-- > 0;)
    if (!directories_[i].created) set_mtime(directories_[i].merged_fd, directories_[i].mtime);
  for (size_t i = 0; i < directory_count_; ++i) {
    Directory& entry = directories_[i];
    if (i > 0) {
      entry.upper_fd = ::openat(directories_[entry.parent].upper_fd, entry.name, kDirectoryFlags);
      if (entry.upper_fd < 0) report.fail("open in the upper directory", entry.name, errno);
      if (!in_place_) {
        ::close(entry.merged_fd);
        entry.merged_fd = -1;
      }
    }
    if (::fstat(entry.upper_fd, &entry.sealed) != 0) report.fail("stat", entry.name, errno);
  }
}

bool StubJournal::is_untouched(const Directory& entry) {
  return same_time(entry.found.st_ctim, entry.sealed.st_ctim) &&
         same_time(entry.found.st_mtim, entry.sealed.st_mtim);
}

void StubJournal::write_untouched(int fd) const {
  for (size_t i = 0; i < directory_count_; ++i) {
    if (directories_[i].created || !is_untouched(directories_[i])) continue;
    const uint64_t inode = directories_[i].found.st_ino;
    (void)!::write(fd, &inode, sizeof inode);
  }
}

bool StubJournal::remove_if_untouched(const Directory& entry) {
  int parent_fd = directories_[entry.parent].upper_fd;
  struct stat now;
  bool in_place = ::fstatat(parent_fd, entry.name, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
                  now.st_ino == entry.found.st_ino && now.st_dev == entry.found.st_dev;
  if (!in_place || !same_owner(entry.found, entry.sealed)) return false;
  // Our own directory goes whenever it is empty; a copied-up one only when nothing at
  // all was done to it, because "created and deleted a file" is a change of its times.
  if (!entry.created && (in_place_ || !is_untouched(entry))) return false;
  if (entry.created && fuse_)  // it marks new directories by files
    for (const char* mark : {".wh..wh..opq", ".wh..opq"}) ::unlinkat(entry.upper_fd, mark, 0);
  return ::unlinkat(parent_fd, entry.name, AT_REMOVEDIR) == 0;
}

// Without an overlay the mount points of the step and the files to remove are the same
// objects, and the kernel keeps a mount point (EBUSY).
void StubJournal::unmount_stubs() {
  const auto unmount = [this](size_t parent, const char* name) {
    if (::fchdir(directories_[parent].merged_fd) != 0) return;
    while (::umount2(name, MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
    }
  };
  for (size_t i = 0; i < file_count_; ++i) unmount(files_[i].parent, files_[i].name);
  for (size_t i = 1; i < directory_count_; ++i)
    if (directories_[i].created) unmount(directories_[i].parent, directories_[i].name);
}

void StubJournal::clean_up(const char* const* covered, size_t covered_count) {
  for (size_t i = 0; i < directory_count_; ++i)
    ::fstat(directories_[i].upper_fd, &directories_[i].found);
  if (in_place_) unmount_stubs();
  for (size_t i = 0; i < file_count_; ++i) {
    int parent_fd = directories_[files_[i].parent].upper_fd;
    struct stat st;
    if (::fstatat(parent_fd, files_[i].name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(st.st_mode) && st.st_size == 0)
      ::unlinkat(parent_fd, files_[i].name, 0);
  }
  for (size_t i = 0; i < covered_count; ++i)
    ::unlinkat(directories_[0].upper_fd, covered[i], AT_REMOVEDIR);
  for (size_t i = directory_count_; i-- > 0;) {
    Directory& entry = directories_[i];
    if (i > 0 && remove_if_untouched(entry)) continue;
    set_mtime(entry.upper_fd, entry.found.st_mtim);
  }
}

}  // namespace kasane::exec
