#include "exec/blockers.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <sstream>

#include "base/fd.h"

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

namespace kasane::exec {
namespace {

constexpr uint64_t kMaxBytes = 4 << 20;

struct Setting {
  const char* file;
  const char* forbids;  // the value that does
  const char* advice;
};
constexpr Setting kSettings[] = {
    {"/proc/sys/user/max_user_namespaces", "0",
     "user.max_user_namespaces is 0: set it with `sysctl -w user.max_user_namespaces=15000`"},
    {"/proc/sys/user/max_mnt_namespaces", "0",
     "user.max_mnt_namespaces is 0: set it with `sysctl -w user.max_mnt_namespaces=15000`"},
    {"/proc/sys/user/max_pid_namespaces", "0",
     "user.max_pid_namespaces is 0: set it with `sysctl -w user.max_pid_namespaces=15000`"},
    {"/proc/sys/kernel/unprivileged_userns_clone", "0",
     "kernel.unprivileged_userns_clone is 0: set it with "
     "`sysctl -w kernel.unprivileged_userns_clone=1`"},
    {"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1",
     "kernel.apparmor_restrict_unprivileged_userns is 1: set it with `sysctl -w "
     "kernel.apparmor_restrict_unprivileged_userns=0`, or give kasane an AppArmor profile that "
     "allows userns"}};

std::string trimmed(const std::string& path) {
  auto text = read_file(path, kMaxBytes);
  if (!text) return "";
  std::string value = *text;
  while (!value.empty() && (value.back() == '\n' || value.back() == '\0')) value.pop_back();
  return value;
}

// Every mount namespace has a mount on "/"; a chroot sees none.
bool in_chroot() {
  std::istringstream lines(trimmed("/proc/self/mountinfo"));
  bool any = false;
  for (std::string line; std::getline(lines, line); any = true) {
    std::istringstream fields(line);
    std::string id, parent, device, root, point;
    fields >> id >> parent >> device >> root >> point;
    if (point == "/") return false;
  }
  return any;
}

bool has_seccomp_filter() {
  return trimmed("/proc/self/status").find("\nSeccomp:\t2") != std::string::npos;
}

}  // namespace

std::vector<std::string> userns_blockers() {
  std::vector<std::string> found;
  for (const Setting& setting : kSettings)
    if (trimmed(setting.file) == setting.forbids) found.emplace_back(setting.advice);
  if (::access("/proc/self/ns/user", F_OK) != 0)
    found.emplace_back(
        "there is no /proc/self/ns/user: the kernel lacks CONFIG_USER_NS, or /proc is not mounted");
  if (in_chroot())
    found.emplace_back(
        "kasane runs in a chroot, where the kernel allows no user namespace: enter the tree with "
        "pivot_root (unshare --mount, systemd-nspawn, bwrap) or run kasane outside");
  if (has_seccomp_filter())
    found.emplace_back(
        "a seccomp filter is on this process, as in a container: let it allow clone, unshare, "
        "mount, pivot_root and the new mount calls (docker and podman: --security-opt "
        "seccomp=unconfined)");
  const std::string profile = trimmed("/proc/self/attr/current");
  if (profile.ends_with("(enforce)"))
    found.push_back("the AppArmor profile " + profile.substr(0, profile.find(' ')) +
                    " confines this process: allow userns and mount in it (docker and podman: "
                    "--security-opt apparmor=unconfined)");
  return found;
}

std::string fuse_blocker() {
  int fd = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fd >= 0) {
    ::close(fd);
    return "";
  }
  if (errno == ENOENT)
    return "/dev/fuse is missing: load the module with `modprobe fuse`, or start the container "
           "with --device /dev/fuse";
  if (errno == EACCES) return "/dev/fuse may not be opened by you: `chmod 0666 /dev/fuse` as root";
  return Error::from_errno(errno, "open /dev/fuse").message() +
         ": the container around kasane must allow the device (--device /dev/fuse)";
}

std::string map_helper_blocker(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return "";
  char value[64];
  const bool setuid = (st.st_mode & S_ISUID) != 0 && st.st_uid == 0;
  if (!setuid && ::getxattr(path.c_str(), "security.capability", value, sizeof value) < 0)
    return path + " is neither setuid root nor has file capabilities: `chmod u+s " + path +
           "` as root, or reinstall the package uidmap";
  struct statvfs fs;
  if (::statvfs(path.c_str(), &fs) == 0 && (fs.f_flag & ST_NOSUID) != 0)
    return path + " lies on a file system that is mounted nosuid";
  if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
    return "no_new_privs is set for this process, so that " + path +
           " gets no privilege (containers: without --security-opt no-new-privileges)";
  return "";
}

std::string free_range_line(std::string_view subids, const std::string& user) {
  constexpr uint64_t kCount = 65536;
  uint64_t start = 100000;
  while (!subids.empty()) {
    const size_t end = subids.find('\n');
    const std::string_view line = subids.substr(0, end);
    subids = end == std::string_view::npos ? std::string_view() : subids.substr(end + 1);
    const size_t first = line.find(':');
    const size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    uint64_t from = 0, count = 0;
    std::from_chars(line.data() + first + 1, line.data() + second, from);
    std::from_chars(line.data() + second + 1, line.data() + line.size(), count);
    if (count <= UINT32_MAX && from <= UINT32_MAX) start = std::max(start, from + count);
  }
  if (start + kCount > UINT32_MAX) start = 100000;  // the file is full or odd: a usual line
  return user + ":" + std::to_string(start) + ":" + std::to_string(kCount);
}

std::string upper_directory_blocker(const std::string& directory) {
  struct statfs fs;
  if (::statfs(directory.c_str(), &fs) != 0) return "";
  const char* name = fs.f_type == OVERLAYFS_SUPER_MAGIC ? "overlayfs (the root of a container)"
                     : fs.f_type == NFS_SUPER_MAGIC     ? "NFS"
                     : fs.f_type == FUSE_SUPER_MAGIC    ? "a FUSE file system"
                     : fs.f_type == MSDOS_SUPER_MAGIC   ? "FAT"
                                                        : nullptr;
  if (name == nullptr) return "";
  return "the store " + directory + " lies on " + name +
         ", which cannot hold an upper directory of overlayfs: put it on ext4, xfs, btrfs or tmpfs "
         "(a volume of the container) with --root or KASANE_ROOT";
}

}  // namespace kasane::exec
