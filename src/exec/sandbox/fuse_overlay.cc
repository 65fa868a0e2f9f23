#include "exec/sandbox/fuse_overlay.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace kasane::exec {
namespace {

constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
constexpr size_t kMaxLowers = 500;

using Options = FixedText<16384>;

struct DaemonFiles {
  int lowers[kMaxLowers];
  size_t lower_count = 0;
  int upper = -1, work = -1, device = -1, log = -1;
};

void add_descriptor(Options& options, int fd) {
  options.add("/proc/self/fd/").add_number(static_cast<uint64_t>(fd));
}

// Above the standard streams, which the daemon gets anew.
int above_standard_streams(const Reporter& report, int fd) {
  int high = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (high < 0) report.fail("duplicate", "a descriptor for fuse-overlayfs", errno);
  return high;
}

bool keep_open(int fd) { return ::fcntl(fd, F_SETFD, 0) == 0; }

[[noreturn]] void run_daemon(const char* program, const DaemonFiles& files) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::setsid();
  ::umask(0);
  Options options;
  options.add("lowerdir=");
  for (size_t i = 0; i < files.lower_count; ++i) {
    options.add(i == 0 ? "" : ":");
    add_descriptor(options, files.lowers[i]);
  }
  options.add(",upperdir=");
  add_descriptor(options, files.upper);
  options.add(",workdir=");
  add_descriptor(options, files.work);
  FixedText<32> mount_point;
  mount_point.add("/dev/fd/").add_number(static_cast<uint64_t>(files.device));
  ::syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
  bool good = !options.overflowed() && keep_open(files.upper) && keep_open(files.work) &&
              keep_open(files.device);
  for (size_t i = 0; i < files.lower_count; ++i) good = good && keep_open(files.lowers[i]);
  int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  good = good && ::dup2(null, 0) == 0 && ::dup2(files.log, 1) == 1 && ::dup2(files.log, 2) == 2;
  if (!good) ::_exit(125);
  unblock_all_signals();
  const char* argv[] = {program, "-f", "-o", options.c_str(), mount_point.c_str(), nullptr};
  const char* env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", nullptr};
  ::execve(program, const_cast<char**>(argv), const_cast<char**>(env));
  ::_exit(126);
}

void mount_device(const Reporter& report, const RootPlan& plan, const char* mount_point,
                  int device) {
  // The type's suffix is what other programs recognise the file system by.
  FixedText<128> data;
  data.add("fd=").add_number(static_cast<uint64_t>(device));
  data.add(",rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions");
  unsigned long flags = plan.devices ? 0 : MS_NODEV;
  if (::mount("fuse-overlayfs", mount_point, "fuse.fuse-overlayfs", flags, data.c_str()) != 0)
    report.fail("mount fuse-overlayfs on", mount_point, errno);
}

// What the daemon said last, as part of an error.
[[noreturn]] void fail_with_log(const Reporter& report, const FuseDaemon& daemon) {
  char text[600];
  ssize_t n = ::pread(daemon.log_fd, text, sizeof text - 1, 0);
  std::string_view said(text, n > 0 ? static_cast<size_t>(n) : 0);
  while (!said.empty() && said.back() == '\n') said.remove_suffix(1);
  report.fail("run fuse-overlayfs:", said.empty() ? "it ended at once" : said, EIO);
}

}  // namespace

FuseDaemon start_fuse_overlay(const Reporter& report, const RootPlan& plan, int upper_fd,
                              const char* program) {
  DaemonFiles files;
  if (plan.lower_count > kMaxLowers) report.fail("mount too many layers on", plan.upper, E2BIG);
  for (; files.lower_count < plan.lower_count; ++files.lower_count) {
    int fd = ::open(plan.lowers[files.lower_count], O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) report.fail("open", plan.lowers[files.lower_count], errno);
    files.lowers[files.lower_count] = above_standard_streams(report, fd);
    ::close(fd);
  }
  files.upper = above_standard_streams(report, upper_fd);
  files.work = ::open(plan.work, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (files.work < 0) report.fail("open", plan.work, errno);
  files.work = above_standard_streams(report, files.work);
  files.device = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (files.device < 0) report.fail("open", "/dev/fuse", errno);
  int low_device = files.device;
  files.device = above_standard_streams(report, low_device);
  ::close(low_device);
  files.log = ::memfd_create("fuse-overlayfs", MFD_CLOEXEC);
  if (files.log < 0) report.fail("create", "a memory file", errno);
  files.log = above_standard_streams(report, files.log);
  FuseDaemon daemon;
  daemon.log_fd = files.log;
  daemon.mount_point.add(plan.work).add("/merged");
  if (daemon.mount_point.overflowed()) report.fail("mount below", plan.work, ENAMETOOLONG);
  if (::mkdir(daemon.mount_point.c_str(), 0700) != 0)
    report.fail("create", daemon.mount_point.view(), errno);
  mount_device(report, plan, daemon.mount_point.c_str(), files.device);
  daemon.pid = clone_process(0, nullptr);
  if (daemon.pid < 0) report.fail("fork", "fuse-overlayfs", errno);
  if (daemon.pid == 0) run_daemon(program, files);
  // With our copy closed, the death of the daemon ends the connection: nothing hangs.
  ::close(files.device);
  for (size_t i = 0; i < files.lower_count; ++i) ::close(files.lowers[i]);
  ::close(files.work);
  ::close(files.upper);
  return daemon;
}

int open_fuse_root(const Reporter& report, const FuseDaemon& daemon) {
  int fd = ::open(daemon.mount_point.c_str(), kDirectoryFlags);
  struct stat st;
  if (fd < 0 || ::fstat(fd, &st) != 0) fail_with_log(report, daemon);
  return fd;
}

void stop_fuse_overlay(const Reporter& report, int root_fd, const FuseDaemon& daemon) {
  if (::waitpid(daemon.pid, nullptr, WNOHANG) != 0) fail_with_log(report, daemon);
  if (::syncfs(root_fd) != 0) report.fail("write out", "fuse-overlayfs", errno);
  ::close(root_fd);
  ::umount2(daemon.mount_point.c_str(), MNT_DETACH);
  ::kill(daemon.pid, SIGKILL);
  while (::waitpid(daemon.pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  ::rmdir(daemon.mount_point.c_str());
}

}  // namespace kasane::exec
