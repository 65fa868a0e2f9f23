// Pid 1 of the namespaces that a step of an OCI runtime sees.
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "exec/oci_runtime/config_writer.h"
#include "exec/oci_runtime/keeper_messages.h"
#include "exec/sandbox/step.h"
#include "exec/sandbox/supervisor.h"

namespace kasane::exec {
namespace {

constexpr int kSetupFailed = 125;  // of Reporter::fail

// The runtime enters the directory by its path, and its own descriptors lie below
// /proc/self/fd then (CVE-2024-21626). No directory of /proc is one to work in.
void refuse_kernel_directory(const Reporter& report, const LaunchPlan& plan, int cwd_fd) {
  struct statfs fs;
  if (::fstatfs(cwd_fd, &fs) != 0) report.fail("enter working directory", plan.cwd, errno);
  int again = child_open_without_magic(plan.cwd, O_PATH | O_DIRECTORY);
  if (again < 0) report.fail("enter working directory", plan.cwd, errno);
  if (fs.f_type == PROC_SUPER_MAGIC) report.fail("enter working directory", plan.cwd, EPERM);
  ::close(again);
}

void refuse_odd_home(const Reporter& report, const LaunchPlan& plan) {
  if (plan.add_home && !is_utf8(plan.home->view()))
    report.fail("resolve user", "with an OCI runtime: its home directory is not valid UTF-8", 0);
}

// runc opens these files of the image though the configuration has only numbers: a FIFO
// would stop it for ever, and an endless file keep it busy (reference X15).
void refuse_odd_user_file(const Reporter& report, const char* path) {
  int fd = child_open_in_root(AT_FDCWD, path, O_PATH);
  if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) return;
  struct stat st;
  struct statfs fs;
  bool good = fd >= 0 && ::fstat(fd, &st) == 0 && ::fstatfs(fd, &fs) == 0 &&
              S_ISREG(st.st_mode) && st.st_size <= static_cast<off_t>(kMaxUserFileBytes) &&
              fs.f_type != PROC_SUPER_MAGIC && fs.f_type != SYSFS_MAGIC;
  if (fd >= 0) ::close(fd);
  if (good) return;
  FixedText<128> what;
  what.add("with an OCI runtime: /").add(path);
  report.fail("resolve user",
              what.add(" of the image is no regular file of at most 1 MiB").view(), 0);
}

// Everything that the runtime is about to do, done once by the code of the built-in
// sandbox up to the execve, under a tracer that lets no instruction of the program
// happen: so a missing program, interpreter, permission or id is told in the same words
// and with the same status. Returns the status to end with, or -1: go on.
int rehearse(const Reporter& report, const LaunchPlan& plan, int cwd_fd) {
  constexpr int kImpossible = 124;
  pid_t child = clone_process(0, nullptr);
  if (child < 0) report.fail("fork", "the step", errno);
  if (child == 0) {
    // Some containers forbid it. The runtime's own message has to do then.
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(kImpossible);
    run_step(report, plan, cwd_fd, false);
  }
  int status = 0;
  for (;;) {
    if (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    if (!WIFSTOPPED(status)) break;
    ::kill(child, SIGKILL);
    // What stops it before the execve would have killed it.
    bool started = WSTOPSIG(status) == SIGTRAP;
    while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
    if (!started) report.fail("rehearse", "the start of the program", EINTR);
    return -1;
  }
  if (WIFSIGNALED(status)) report.fail("rehearse", "the start of the program", EINTR);
  if (WEXITSTATUS(status) == kSetupFailed) ::_exit(kSetupFailed);
  return WEXITSTATUS(status) == kImpossible ? -1 : status;
}

void reap_orphans() {
  for (;;) {
    pid_t pid = ::waitpid(-1, nullptr, WNOHANG);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) return;
  }
}

void wait_for_end(const Reporter& report, int socket_fd, KeeperMessage& message) {
  sigset_t child_signal;
  sigemptyset(&child_signal);
  sigaddset(&child_signal, SIGCHLD);
  int signals = ::signalfd(-1, &child_signal, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) report.fail("create", "a signalfd", errno);
  pollfd polls[2] = {{signals, POLLIN, 0}, {socket_fd, POLLIN, 0}};
  for (;;) {
    reap_orphans();
    ::poll(polls, 2, -1);
    signalfd_siginfo info;
    while (::read(signals, &info, sizeof info) > 0) {
    }
    if (polls[1].revents == 0) continue;
    if (!receive_message(socket_fd, message)) ::_exit(kSetupFailed);
    if (message.kind == KeeperMessage::Kind::kSignal) ::kill(-1, message.status);
    if (message.kind == KeeperMessage::Kind::kEnded) return;
  }
}

}  // namespace

void keep_step(const LaunchPlan& plan, int socket_fd) {
  Reporter report(plan.status_fd);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // It is in the step's cgroups, so that they are the root of what the step sees: the runtime
  // joins the cgroup namespace of this process.
  enter_groups(report, plan, false);
  if (plan.group_count > 0) (void)::unshare(CLONE_NEWCGROUP);
  int cwd_fd = make_sandbox(report, plan);
  refuse_kernel_directory(report, plan, cwd_fd);
  refuse_odd_home(report, plan);
  for (const char* path : {"etc/passwd", "etc/group"}) refuse_odd_user_file(report, path);
  KeeperMessage message;
  std::memset(&message, 0, sizeof message);
  if (!plan.runtime->probe) {
    int status = rehearse(report, plan, cwd_fd);
    if (status >= 0) end_supervision(report, plan, status, message.usage);
  }
  // The runtime has to get at /proc/1/ns. In a user namespace that takes a process that is
  // dumpable; nothing of the image runs yet.
  if (plan.user_namespace) ::prctl(PR_SET_DUMPABLE, 1);
  if (!send_message(socket_fd, KeeperMessage::Kind::kReady) ||
      !receive_message(socket_fd, message))
    ::_exit(kSetupFailed);
  ::prctl(PR_SET_DUMPABLE, 0);
  if (!send_message(socket_fd, KeeperMessage::Kind::kSealed)) ::_exit(kSetupFailed);
  wait_for_end(report, socket_fd, message);
  end_supervision(report, plan, message.status, message.usage);
}

bool send_message(int socket_fd, KeeperMessage::Kind kind, int status, const rusage* usage) {
  KeeperMessage message;
  std::memset(&message, 0, sizeof message);
  message.kind = kind;
  message.status = status;
  if (usage != nullptr) message.usage = *usage;
  ssize_t n;
  while ((n = ::send(socket_fd, &message, sizeof message, MSG_NOSIGNAL)) < 0 && errno == EINTR) {
  }
  return n == static_cast<ssize_t>(sizeof message);
}

bool receive_message(int socket_fd, KeeperMessage& message) {
  ssize_t n;
  while ((n = ::recv(socket_fd, &message, sizeof message, 0)) < 0 && errno == EINTR) {
  }
  return n == static_cast<ssize_t>(sizeof message);
}

}  // namespace kasane::exec
