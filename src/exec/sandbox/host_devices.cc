#include "exec/sandbox/host_devices.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace kasane::exec {
namespace {

constexpr int kMaxDepth = 4;  // /dev/bus/usb/001/001
constexpr int kDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

struct KernelEntry {
  uint64_t inode;
  int64_t offset;
  uint16_t size;
  uint8_t type;
  char name[256];
};

void copy_node(int to_fd, const char* name, const struct stat& st) {
  // One that exists or vanished is no failure.
  if (::mknodat(to_fd, name, st.st_mode, st.st_rdev) != 0) return;
  (void)!::fchownat(to_fd, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW);
  (void)!::fchmodat(to_fd, name, st.st_mode & 07777, 0);
}

void copy_level(int from_fd, int to_fd, int depth);

void copy_entry(int from_fd, int to_fd, const char* name, int depth) {
  struct stat st, parent;
  if (::fstatat(from_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return;
  if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) copy_node(to_fd, name, st);
  if (!S_ISDIR(st.st_mode) || depth >= kMaxDepth) return;
  if (::fstat(from_fd, &parent) != 0 || parent.st_dev != st.st_dev) return;
  int from = ::openat(from_fd, name, kDirectory);
  if (from < 0) return;
  ::mkdirat(to_fd, name, 0755);
  int to = ::openat(to_fd, name, kDirectory);
  if (to >= 0) copy_level(from, to, depth + 1);
  if (to >= 0) ::close(to);
  ::close(from);
}

void copy_level(int from_fd, int to_fd, int depth) {
  alignas(8) char buffer[4096];
  long n;
  while ((n = ::syscall(SYS_getdents64, from_fd, buffer, sizeof buffer)) > 0) {
    for (long at = 0; at < n;) {
      const auto* entry = reinterpret_cast<const KernelEntry*>(buffer + at);
      const char* name = entry->name;
      if (std::strcmp(name, ".") != 0 && std::strcmp(name, "..") != 0)
        copy_entry(from_fd, to_fd, name, depth);
      at += entry->size;
    }
  }
}

}  // namespace

void copy_device_nodes(const Reporter& report, const char* path, int to_fd) {
  int from = ::open(path, kDirectory);
  if (from < 0) report.fail("open", path, errno);
  copy_level(from, to_fd, 0);
  ::close(from);
}

}  // namespace kasane::exec
