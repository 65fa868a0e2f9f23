#include "exec/sandbox/system_mounts.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cerrno>

#include "exec/sandbox/host_devices.h"
#include "exec/sandbox/mount_calls.h"
#include "exec/sandbox/step_mounts.h"
#include "exec/sandbox/tree_walk.h"

namespace kasane::exec {
namespace {

// Union of Docker's, BuildKit's and buildah's lists; what a kernel lacks is skipped.
constexpr const char* kMasked[] = {
    "proc/acpi",       "proc/asound",        "proc/interrupts",  "proc/kcore",
    "proc/keys",       "proc/latency_stats", "proc/sched_debug", "proc/scsi",
    "proc/timer_list", "proc/timer_stats",   "sys/firmware",     "sys/devices/virtual/powercap",
    "sys/fs/selinux",
};
constexpr const char* kReadOnly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys",
                                     "proc/sysrq-trigger"};
constexpr const char* kDevices[] = {"null", "zero", "full", "random", "urandom", "tty"};

struct Link {
  const char* target;
  const char* name;
};
constexpr Link kDeviceLinks[] = {{"/proc/self/fd", "fd"},       {"/proc/self/fd/0", "stdin"},
                                 {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"},
                                 {"pts/ptmx", "ptmx"},          {"/proc/kcore", "core"}};

class SystemMounts {
 public:
  SystemMounts(const Reporter& report, const LaunchPlan& plan, int root_fd)
      : report_(report), plan_(plan), root_fd_(root_fd) {}

  void run() {
    mount_proc_and_sys();
    mount_dev();
    if (!plan_.insecure) close_kernel_files();
    mount_generated("etc/hosts", plan_.hosts);
    mount_generated("etc/resolv.conf", plan_.resolv_conf);
    mount_requested(report_, plan_, root_fd_);
    ::unlinkat(dev_fd_, kEmptyName, AT_REMOVEDIR);
    plan_.stubs->seal(report_);
  }

 private:
  static constexpr const char* kEmptyName = ".empty";
  static constexpr const char* kGeneratedName = ".generated";
  static constexpr const char* kNodesName = ".nodes";

  // A directory that the upper layer holds for sure (shaped), or one of ours in /dev.
  int own_directory(int parent_fd, const char* name) {
    int fd = ::openat(parent_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) report_.fail("open", name, errno);
    return fd;
  }

  void mount_new(const char* type, const Option* options, size_t count, uint64_t attributes,
                 int target_fd) {
    int fs = try_new_filesystem(type, options, count, attributes);
    if (fs < 0) report_.fail("mount new", type, errno);
    if (!attach(fs, target_fd)) report_.fail("attach new", type, errno);
    ::close(fs);
    ::close(target_fd);
  }

  void mount_proc_and_sys() {
    mount_new("proc", nullptr, 0, kInert, own_directory(root_fd_, "proc"));
    int target = own_directory(root_fd_, "sys");
    uint64_t attributes = plan_.insecure ? kInert : kReadOnlyInert;
    int sys = try_new_filesystem("sysfs", nullptr, 0, attributes);
    // sysfs shows a network namespace; in a user namespace that does not own one, the
    // host's mount is all there is.
    if (sys < 0 && errno == EPERM && plan_.user_namespace)
      sys = clone_tree(AT_FDCWD, "/sys", attributes, true);
    if (sys < 0) report_.fail("mount new", "sysfs", errno);
    if (!attach(sys, target)) report_.fail("attach", "sysfs", errno);
    ::close(target);
    // Optional: an empty /sys/fs/cgroup is what programs see on hosts without cgroup2.
    int group = try_new_filesystem("cgroup2", nullptr, 0, attributes);
    int place = child_open_in_root(root_fd_, "sys/fs/cgroup", O_PATH | O_DIRECTORY);
    if (group >= 0 && place >= 0) attach(group, place);
    if (group >= 0) ::close(group);
    if (place >= 0) ::close(place);
    ::close(sys);
  }

  // The tmpfs is nodev like everything else: each device is a bind of a node elsewhere,
  // so nodes that the step makes in /dev are dead.
  void mount_dev() {
    const Option options[] = {{"mode", "755"}, {"size", "65536k"}};
    bool nodes = plan_.insecure && !plan_.user_namespace;
    dev_fd_ =
        try_new_filesystem("tmpfs", options, 2, MOUNT_ATTR_NOSUID | (nodes ? 0 : MOUNT_ATTR_NODEV));
    if (dev_fd_ < 0) report_.fail("mount new", "tmpfs for /dev", errno);
    for (const Link& link : kDeviceLinks) ::symlinkat(link.target, dev_fd_, link.name);
    for (const char* name : {"pts", "shm", "mqueue", kEmptyName})
      if (::mkdirat(dev_fd_, name, 0755) != 0) report_.fail("create in /dev", name, errno);
    int target = own_directory(root_fd_, "dev");
    if (!attach(dev_fd_, target)) report_.fail("attach", "tmpfs for /dev", errno);
    ::close(target);
    make_private_nodes();
    for (const char* name : kDevices) bind_device(name);
    drop_private_nodes();
    if (plan_.insecure) add_host_devices(nodes);
    mount_dev_filesystems();
  }

  // Root of the step may change owner and mode of a device: of nodes of its own then, never
  // of the host's. In a user namespace those are out of its reach (and it can make none).
  // The file system that holds them has to be somewhere while they are bound.
  void make_private_nodes() {
    if (plan_.user_namespace) return;
    const Option options[] = {{"mode", "755"}, {"size", "64k"}};
    nodes_fd_ = try_new_filesystem("tmpfs", options, 2, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    int place = ::mkdirat(dev_fd_, kNodesName, 0700) == 0
                    ? ::openat(dev_fd_, kNodesName, O_PATH | O_DIRECTORY | O_CLOEXEC)
                    : -1;
    if (nodes_fd_ < 0 || place < 0 || !attach(nodes_fd_, place))
      report_.fail("attach new", "tmpfs for devices", errno);
    ::close(place);
  }

  void drop_private_nodes() {
    if (nodes_fd_ < 0) return;
    if (::fchdir(dev_fd_) != 0 || ::umount2(kNodesName, MNT_DETACH) != 0 || ::chdir("/") != 0)
      report_.fail("unmount", "tmpfs for devices", errno);
    ::unlinkat(dev_fd_, kNodesName, AT_REMOVEDIR);
    ::close(nodes_fd_);
    nodes_fd_ = -1;
  }

  // A mount of a private node like the host's; where none may be made, of the host's own,
  // read-only: that keeps its owner and mode, and writing to the device is not affected.
  int device_tree(const char* name, const char* host) {
    constexpr uint64_t kAttributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
    struct stat st;
    if (nodes_fd_ < 0) return clone_tree(AT_FDCWD, host, kAttributes, false);
    if (::stat(host, &st) != 0) return -1;
    if (S_ISCHR(st.st_mode) && ::mknodat(nodes_fd_, name, st.st_mode, st.st_rdev) == 0 &&
        ::fchmodat(nodes_fd_, name, st.st_mode & 0777, 0) == 0)
      return clone_tree(nodes_fd_, name, kAttributes, false);
    return clone_tree(AT_FDCWD, host, kAttributes | MOUNT_ATTR_RDONLY, false);
  }

  void bind_device(const char* name) {
    FixedText<64> host;
    host.add("/dev/").add(name);
    int tree = device_tree(name, host.c_str());
    if (tree < 0) {
      if (errno == ENOENT) return;
      report_.fail("clone mount of", host.view(), errno);
    }
    int file = ::openat(dev_fd_, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0) report_.fail("create in /dev", name, errno);
    ::close(file);
    int target = ::openat(dev_fd_, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (target < 0 || !attach(tree, target)) report_.fail("bind", host.view(), errno);
    ::close(target);
    ::close(tree);
  }

  // Root makes the same nodes (a bind of the host's /dev would let the step change it);
  // without root only binds work, of the few devices that are of use then.
  void add_host_devices(bool nodes) {
    if (nodes) {
      copy_device_nodes(report_, "/dev", dev_fd_);
      return;
    }
    for (const char* name : {"fuse", "kvm"}) bind_device(name);
    if (::mkdirat(dev_fd_, "net", 0755) == 0) bind_device("net/tun");
  }

  void mount_dev_filesystems() {
    const Option pts[] = {
        {"ptmxmode", "0666"}, {"mode", "0620"}, {"newinstance", nullptr}, {"gid", "5"}};
    // Group 5 (tty) is not mapped when only one id is.
    size_t pts_count = plan_.single_id ? 3 : 4;
    mount_new("devpts", pts, pts_count, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
              own_directory(dev_fd_, "pts"));
    if (plan_.pty_master != nullptr) {
      *plan_.pty_master = ::openat(dev_fd_, "pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
      int unlocked = 0;
      if (*plan_.pty_master < 0 || ::ioctl(*plan_.pty_master, TIOCSPTLCK, &unlocked) != 0)
        report_.fail("open", "/dev/pts/ptmx", errno);
    }
    const Option shm[] = {{"mode", "1777"}, {"size", plan_.shm_size}};
    mount_new("tmpfs", shm, 2, kInert, own_directory(dev_fd_, "shm"));
    int queue = try_new_filesystem("mqueue", nullptr, 0, kInert);  // optional in kernels
    if (queue < 0) return;
    int target = own_directory(dev_fd_, "mqueue");
    attach(queue, target);
    ::close(target);
    ::close(queue);
  }

  void mask(const char* path) {
    int target = child_open_in_root(root_fd_, path, O_PATH | O_NOFOLLOW);
    if (target < 0) return;  // this kernel does not have it
    struct stat st;
    if (::fstat(target, &st) != 0) report_.fail("stat", path, errno);
    int tree = clone_tree(dev_fd_, S_ISDIR(st.st_mode) ? kEmptyName : "null",
                          S_ISDIR(st.st_mode) ? kReadOnlyInert : 0, false);
    if (tree < 0 || !attach(tree, target)) report_.fail("mask", path, errno);
    ::close(tree);
    ::close(target);
  }

  void close_kernel_files() {
    for (const char* path : kMasked) mask(path);
    mask_thermal_throttle();
    for (const char* path : kReadOnly) make_read_only(path);
  }

  void mask_thermal_throttle() {
    for (int cpu = 0; cpu < plan_.cpu_count; ++cpu) {
      FixedText<96> path;
      path.add("sys/devices/system/cpu/cpu").add_number(static_cast<uint64_t>(cpu));
      path.add("/thermal_throttle");
      mask(path.c_str());
    }
  }

  void make_read_only(const char* path) {
    int target = child_open_in_root(root_fd_, path, O_PATH | O_NOFOLLOW);
    if (target < 0) return;
    int tree = clone_tree(root_fd_, path, kReadOnlyInert, false);
    if (tree < 0 || !attach(tree, target)) report_.fail("make read-only", path, errno);
    ::close(tree);
    ::close(target);
  }

  // The file lives in the memory of /dev's tmpfs and has no name once it is mounted.
  void mount_generated(const char* path, std::string_view content) {
    int file = ::openat(dev_fd_, kGeneratedName, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file < 0) report_.fail("create file for", path, errno);
    while (!content.empty()) {
      ssize_t n = ::write(file, content.data(), content.size());
      if (n < 0) report_.fail("write file for", path, errno);
      content.remove_prefix(static_cast<size_t>(n));
    }
    ::close(file);
    int tree = clone_tree(dev_fd_, kGeneratedName, kReadOnlyInert, false);
    if (tree < 0) report_.fail("clone mount of file for", path, errno);
    attach_in_image(report_, plan_, root_fd_, tree, path, WalkKind::kFile);
    ::unlinkat(dev_fd_, kGeneratedName, 0);
  }

  const Reporter& report_;
  const LaunchPlan& plan_;
  int root_fd_;
  int dev_fd_ = -1;
  int nodes_fd_ = -1;  // private device nodes, while they are bound
};

}  // namespace

void mount_system(const Reporter& report, const LaunchPlan& plan, int root_fd) {
  SystemMounts(report, plan, root_fd).run();
}

}  // namespace kasane::exec
