#include "exec/oci_runtime/runtime_keeper.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/magic.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "exec/oci_runtime/config_writer.h"
#include "exec/oci_runtime/keeper_messages.h"
#include "exec/sandbox/step.h"
#include "exec/sandbox/supervisor.h"

namespace kasane::exec {
namespace {

constexpr const char* kCgroups = "/sys/fs/cgroup";

// A process of which we are the parent, until it is reaped.
struct Watched {
  pid_t pid = -1;
  bool ended = false;
  int status = 0;
};

class RuntimeKeeper {
 public:
  RuntimeKeeper(const Reporter& report, const LaunchPlan& plan)
      : report_(report), plan_(plan), runtime_(*plan.runtime) {
    std::memset(&step_usage_, 0, sizeof step_usage_);
    std::memset(&message_, 0, sizeof message_);
  }

  [[noreturn]] void run() {
    prepare_host_view();
    watch_children();
    start_step_keeper();
    wait_for(KeeperMessage::Kind::kReady);
    prepare_bundle();
    create();
    send(KeeperMessage::Kind::kCreated);
    wait_for(KeeperMessage::Kind::kSealed);
    if (!plan_.insecure && !plan_.user_namespace) close_devices();
    if (!runtime_.probe) start();
    while (!runtime_.probe && !step_.ended) wait_once();
    if (!send_message(socket_, KeeperMessage::Kind::kEnded, step_.status, &step_usage_))
      ::_exit(125);
    for (;;) wait_once();  // ends with the step keeper
  }

 private:
  // This pid namespace needs a /proc of its own: runtimes look at /proc/<pid>.
  void prepare_host_view() {
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      report_.fail("make private", "the mounts", errno);
    if (::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0)
      report_.fail("mount new", "proc", errno);
  }

  // Limits are ours (memory_group.h) and devices are closed off by mounts, so the runtime has
  // no business in the cgroups: what it made there would stay when it is killed. crun gets
  // along without them but stops at a hybrid hierarchy, unless it sees another one; runc
  // wants to see the real ones and goes on when it may not write (fact 0.1).
  void hide_cgroups() {
    struct statfs fs;
    if (::statfs(kCgroups, &fs) != 0) return;
    if (runtime_.cover_cgroups && fs.f_type != CGROUP2_SUPER_MAGIC) {
      constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
      if (::mount("cgroup2", kCgroups, "cgroup2", kFlags, nullptr) != 0 &&
          ::mount("tmpfs", kCgroups, "tmpfs", kFlags, "size=4k") != 0)
        report_.fail("mount over", kCgroups, errno);
      return;
    }
    mount_attr attributes{};
    attributes.attr_set = MOUNT_ATTR_RDONLY;
    if (::mount_setattr(AT_FDCWD, kCgroups, AT_RECURSIVE, &attributes, sizeof attributes) != 0 &&
        errno != EINVAL)  // no mount of its own
      report_.fail("make read-only", kCgroups, errno);
  }

  void watch_children() {
    sigset_t child_signal;
    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    signals_ = ::signalfd(-1, &child_signal, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals_ < 0) report_.fail("create", "a signalfd", errno);
  }

  void start_step_keeper() {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
      report_.fail("create", "a socket", errno);
    keeper_.pid = clone_process(step_namespaces(plan_), nullptr);
    if (keeper_.pid < 0) report_.fail("make the namespaces of", "the step", errno);
    if (keeper_.pid == 0) {
      ::close(pair[0]);
      keep_step(plan_, pair[1]);
    }
    ::close(pair[1]);
    socket_ = pair[0];
  }

  // A tmpfs over the work directory, which overlayfs holds without a name: bundle, state
  // and standard input of the runtime, gone with this mount namespace.
  void prepare_bundle() {
    hide_cgroups();
    // Not nodev: null_device lies here.
    if (::mount("tmpfs", plan_.work, "tmpfs", MS_NOSUID, "mode=700") != 0)
      report_.fail("mount new tmpfs on", plan_.work, errno);
    write_config(report_, plan_, keeper_.pid);
  }

  // Runtimes give the standard streams to the user of the step, so /dev/null of the host
  // must not be one of them.
  int open_null() {
    const char* path = runtime_.null_device;
    if (::mknod(path, S_IFCHR | 0666, makedev(1, 3)) == 0) {
      int fd = ::open(path, O_RDONLY | O_CLOEXEC);
      if (fd >= 0) return fd;
      ::unlink(path);
    }
    // Where no device may be made, an empty file reads the same.
    int made = ::open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    if (made < 0 || fd < 0) report_.fail("create", path, errno);
    ::close(made);
    return fd;
  }

  void create() {
    int null = plan_.stdin_fd >= 0 ? plan_.stdin_fd : open_null();
    capture_[0] = plan_.stdout_read_fd;
    capture_[1] = plan_.stderr_read_fd;
    run_runtime(runtime_.create, null, plan_.stdout_fd, plan_.stderr_fd);
    if (run_.status != 0) refuse();
    capture_[0] = capture_[1] = -1;
    ::close(plan_.stdout_read_fd);
    ::close(plan_.stderr_read_fd);
    ::close(null);
    find_step();
  }

  // That device nodes in the image are dead, made by the step or found there, hangs on the
  // flag nodev of the root mount, and crun loses it: so it is set again in the mount namespace
  // that the runtime has made, before the step starts. User namespaces have no live devices.
  void close_devices() {
    struct stat root;
    if (::stat(plan_.upper, &root) != 0) report_.fail("stat", plan_.upper, errno);
    run_ = Watched();
    run_.pid = clone_process(0, nullptr);
    if (run_.pid < 0) report_.fail("fork", "a helper of the step", errno);
    if (run_.pid == 0) close_devices_in(root);
    while (!run_.ended) wait_once();
    if (run_.status != 0) ::_exit(125);  // it has reported
  }

  // Through /proc/PID/root: the root of the mount namespace is another one when all this
  // happens in a chroot.
  [[noreturn]] void close_devices_in(const struct stat& expected) {
    int mounts = open_of_step("/ns/mnt", O_RDONLY);
    int root_fd = open_of_step("/root", O_PATH | O_DIRECTORY);
    if (mounts < 0 || root_fd < 0 || ::setns(mounts, CLONE_NEWNS) != 0)
      report_.fail("enter the mount namespace of", "the step", errno);
    struct stat root;
    mount_attr attributes{};
    attributes.attr_set = MOUNT_ATTR_NODEV;
    if (::fstat(root_fd, &root) != 0) report_.fail("stat", "the root of the step", errno);
    if (root.st_dev != expected.st_dev || root.st_ino != expected.st_ino)
      report_.fail("find the image in", "the root of the step", EXDEV);
    if (::mount_setattr(root_fd, "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0)
      report_.fail("close devices in", "the root of the step", errno);
    ::_exit(0);
  }

  int open_of_step(const char* name, int flags) {
    FixedText<64> path;
    path.add("/proc/").add_number(static_cast<uint64_t>(step_.pid)).add(name);
    return ::open(path.c_str(), flags | O_CLOEXEC);
  }

  void start() {
    int pipe[2];
    if (::pipe2(pipe, O_CLOEXEC | O_NONBLOCK) != 0) report_.fail("create", "a pipe", errno);
    int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0) report_.fail("open", "/dev/null", errno);
    capture_[1] = pipe[0];
    report_.send(Reporter::make(StatusMessage::Kind::kStarted, "", ""));
    run_runtime(runtime_.start, null, pipe[1], pipe[1]);
    // A step that was killed before it could start is the step's end, not the runtime's.
    if (run_.status != 0 && !(step_.ended && WIFSIGNALED(step_.status))) refuse();
    ::close(pipe[0]);
    ::close(pipe[1]);
    ::close(null);
    capture_[1] = -1;
  }

  void run_runtime(char* const* argv, int in, int out, int err) {
    run_ = Watched();
    run_.pid = clone_process(0, nullptr);
    if (run_.pid < 0) report_.fail("fork", "the OCI runtime", errno);
    if (run_.pid == 0) execute(argv, in, out, err);
    while (!run_.ended) wait_once();
    take_output();
  }

  [[noreturn]] void execute(char* const* argv, int in, int out, int err) {
    int fds[] = {::fcntl(in, F_DUPFD_CLOEXEC, 3), ::fcntl(out, F_DUPFD_CLOEXEC, 3),
                 ::fcntl(err, F_DUPFD_CLOEXEC, 3)};
    for (int i = 0; i < 3; ++i)
      if (fds[i] < 0 || ::dup2(fds[i], i) < 0)
        report_.fail("duplicate", "a standard stream", errno);
    ::syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
    reset_signal_handlers();
    // What the runtime starts is born in them.
    enter_groups(report_, plan_, false);
    unblock_all_signals();
    ::execve(runtime_.program, argv, runtime_.environment);
    report_.fail("start the OCI runtime", runtime_.program, errno);
  }

  // The process that waits to become the step. Its parent has ended, so it is our child.
  void find_step() {
    char text[24] = {};
    int fd = ::open(runtime_.pid_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 ? -1 : ::read(fd, text, sizeof text - 1);
    if (n <= 0) report_.fail("read the pid file of", runtime_.program, fd < 0 ? errno : ENODATA);
    ::close(fd);
    pid_t pid = 0;
    for (const char* digit = text; *digit >= '0' && *digit <= '9' && pid < 100000000; ++digit)
      pid = pid * 10 + (*digit - '0');
    if (pid <= 1) report_.fail("read the pid file of", runtime_.program, EINVAL);
    step_.pid = pid;
    for (size_t i = 0; i < stranger_count_; ++i)
      if (strangers_[i].pid == pid) step_ = strangers_[i];
  }

  // Ends this process, and with it all others: the builder tells what was said.
  [[noreturn]] void refuse() {
    report_.send(
        Reporter::make(StatusMessage::Kind::kRuntimeError, "", {output_, output_size_}));
    ::_exit(125);
  }

  void send(KeeperMessage::Kind kind) {
    if (!send_message(socket_, kind)) ::_exit(125);
  }

  void wait_for(KeeperMessage::Kind kind) {
    while (message_.kind != kind || !received_) wait_once();
    received_ = false;
  }

  void wait_once() {
    pollfd polls[] = {{signals_, POLLIN, 0},
                      {plan_.builder_fd, POLLIN, 0},
                      {received_ ? -1 : socket_, POLLIN, 0},
                      {capture_[0], POLLIN, 0},
                      {capture_[1], POLLIN, 0},
                      {step_.pid < 0 || control_closed_ ? -1 : plan_.control_fd, POLLIN, 0}};
    if (::poll(polls, sizeof polls / sizeof polls[0], -1) < 0) return;
    if (polls[1].revents != 0) end_if_orphaned(plan_);
    if (polls[5].revents != 0) take_control();
    signalfd_siginfo info;
    while (::read(signals_, &info, sizeof info) > 0) {
    }
    reap();
    if (polls[2].revents != 0) received_ = receive_message(socket_, message_);
    take_output();
  }

  // Signals that the builder sends to the step: its pid 1 has to pass on those for all.
  void take_control() {
    uint8_t bytes[64];
    ssize_t n = ::read(plan_.control_fd, bytes, sizeof bytes);
    control_closed_ = n == 0;
    for (ssize_t i = 0; i < n; ++i)
      if ((bytes[i] & kControlAll) != 0)
        send_message(socket_, KeeperMessage::Kind::kSignal, bytes[i] & ~kControlAll);
      else if (!step_.ended)
        ::kill(step_.pid, bytes[i]);
  }

  void reap() {
    for (;;) {
      Watched ended;
      ended.ended = true;
      rusage usage;
      ended.pid = ::wait4(-1, &ended.status, WNOHANG, &usage);
      if (ended.pid < 0 && errno == EINTR) continue;
      if (ended.pid <= 0) return;
      if (ended.pid == keeper_.pid) ::_exit(0);  // it has reported
      if (ended.pid == run_.pid) run_ = ended;
      if (ended.pid == step_.pid) {
        step_ = ended;
        step_usage_ = usage;
      }
      if (step_.pid < 0 && stranger_count_ < sizeof strangers_ / sizeof strangers_[0])
        strangers_[stranger_count_++] = ended;
    }
  }

  // Keeps the end of what the runtime says.
  void take_output() {
    for (int fd : capture_) {
      ssize_t n;
      char piece[512];
      while (fd >= 0 && (n = ::read(fd, piece, sizeof piece)) > 0) {
        size_t size = static_cast<size_t>(n);
        if (output_size_ + size > sizeof output_) {
          size_t drop = output_size_ + size - sizeof output_;
          std::memmove(output_, output_ + drop, output_size_ - drop);
          output_size_ -= drop;
        }
        std::memcpy(output_ + output_size_, piece, size);
        output_size_ += size;
      }
    }
  }

  const Reporter& report_;
  const LaunchPlan& plan_;
  const RuntimePlan& runtime_;
  int signals_ = -1;
  int socket_ = -1;
  int capture_[2] = {-1, -1};
  Watched keeper_, run_, step_;
  rusage step_usage_;
  Watched strangers_[16];  // ended before the step was known
  size_t stranger_count_ = 0;
  KeeperMessage message_;
  bool received_ = false;
  bool control_closed_ = false;
  char output_[1000];
  size_t output_size_ = 0;
};

}  // namespace

void keep_runtime(const LaunchPlan& plan) {
  Reporter report(plan.status_fd);
  begin_supervision(report, plan);
  RuntimeKeeper(report, plan).run();
}

}  // namespace kasane::exec
