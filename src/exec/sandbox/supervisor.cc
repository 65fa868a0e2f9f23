#include "exec/sandbox/supervisor.h"

#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "exec/sandbox/fuse_overlay.h"
#include "exec/sandbox/image_root.h"
#include "exec/sandbox/step.h"
#include "exec/sandbox/system_mounts.h"
#include "exec/sandbox/terminal.h"
#include "exec/sandbox/tree_walk.h"

namespace kasane::exec {
namespace {

void keep_only_our_descriptors(const LaunchPlan& plan) {
  int keep[8 + 3 * kMaxStepGroups] = {};
  size_t count = 0;
  auto add = [&](int fd) {
    if (fd < 0) return;
    size_t at = count++;
    for (; at > 0 && keep[at - 1] > fd; --at) keep[at] = keep[at - 1];
    keep[at] = fd;
  };
  for (int fd : {plan.status_fd, plan.control_fd, plan.builder_fd, plan.stdin_fd, plan.stdout_fd,
                 plan.stderr_fd, plan.pty_fd})
    add(fd);
  for (size_t i = 0; i < plan.group_count; ++i)
    for (int fd : {plan.groups[i].enter_fd, plan.groups[i].directory_fd, plan.groups[i].parent_fd})
      add(fd);
  close_all_except(keep, count);
}

// Background children must not live on, nor hold the step's pipes (reference B21c).
void kill_the_rest() {
  ::kill(-1, SIGKILL);
  while (::waitpid(-1, nullptr, 0) > 0 || errno == EINTR) {
  }
}

// When the builder is dead nobody else takes the step's cgroups away.
void end_if_orphaned(const LaunchPlan& plan) {
  pollfd builder{plan.builder_fd, POLLIN, 0};
  if (::poll(&builder, 1, 0) <= 0) return;
  kill_the_rest();
  for (size_t i = 0; i < plan.group_count; ++i)
    // The kernel lets go of an ended process a moment after it was reaped.
    for (int tries = 0; tries < 200; ++tries) {
      if (::unlinkat(plan.groups[i].parent_fd, plan.groups[i].name, AT_REMOVEDIR) == 0 ||
          errno != EBUSY)
        break;
      ::poll(nullptr, 0, 5);
    }
  ::_exit(125);
}

// A signal handler can reach nothing but statics; this process has one plan.
const LaunchPlan* g_plan = nullptr;
void on_builder_death(int) {
  const int saved_errno = errno;
  end_if_orphaned(*g_plan);
  errno = saved_errno;
}

constexpr int kDeathSignal = SIGTERM;

void mask_death_signal(int how) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, kDeathSignal);
  ::pthread_sigmask(how, &set, nullptr);
}

// The kernel kills this process with the builder. Where something is left to be done then,
// it sends a signal that only has an effect when the builder is dead indeed.
void arm_death_signal(const Reporter& report, const LaunchPlan& plan) {
  const bool tidy = plan.group_count > 0;
  if (::prctl(PR_SET_PDEATHSIG, tidy ? kDeathSignal : SIGKILL) != 0)
    report.fail("arm", "the parent-death signal", errno);
  end_if_orphaned(plan);
}

void handle_death_signal(const LaunchPlan& plan) {
  if (plan.group_count == 0) return;
  g_plan = &plan;
  struct sigaction action;
  std::memset(&action, 0, sizeof action);
  action.sa_handler = on_builder_death;
  action.sa_flags = SA_RESTART;
  ::sigaction(kDeathSignal, &action, nullptr);
  mask_death_signal(SIG_UNBLOCK);
}

// The step can read /proc/1/cmdline whatever we forbid, so its memory is emptied.
void wipe_secrets(const LaunchPlan& plan) {
  for (uintptr_t at = plan.secrets_begin; at < plan.secrets_end; ++at)
    *reinterpret_cast<volatile char*>(at) = '\0';
}

void wait_for_parent(const LaunchPlan& plan) {
  char byte;
  ssize_t n;
  while ((n = ::read(plan.control_fd, &byte, 1)) < 0 && errno == EINTR) {
  }
  if (n == 1) return;
  end_if_orphaned(plan);  // end of file: the builder is dead
  ::_exit(125);
}

// Becomes root of the user namespace, if there is one, and closes its own doors.
void settle(const Reporter& report, const LaunchPlan& plan) {
  if (plan.user_namespace) {
    if (!plan.single_id && raw_setgroups(0, nullptr) != 0)
      report.fail("drop", "supplementary groups", errno);
    if (raw_setresgid(0) != 0 || raw_setresuid(0) != 0)
      report.fail("become", "root of the user namespace", errno);
  }
  // A change of credentials clears the parent-death signal, so it is set (again) here.
  arm_death_signal(report, plan);
  // Not dumpable: /proc/1/{exe,environ,mem,fd,root} are closed to the step.
  ::prctl(PR_SET_DUMPABLE, 0);
  ::setsid();
  ::umask(022);
  rlimit files;  // one descriptor per layer
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
}

void bring_loopback_up(const Reporter& report) {
  int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) report.fail("open", "a socket for the loopback interface", errno);
  ifreq request;
  std::memset(&request, 0, sizeof request);
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(fd, SIOCSIFFLAGS, &request) != 0)
    report.fail("bring up", "the loopback interface", errno);
  ::close(fd);
}

// Contents of /etc/passwd or /etc/group of the image: regular files only, never a FIFO
// that blocks, never more than the limit. Empty with an errno otherwise (X15).
std::string_view read_user_file(const char* path, int& error) {
  error = 0;
  int fd = child_open_in_root(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  struct stat st;
  if (fd < 0 || ::fstat(fd, &st) != 0) {
    error = errno;
    return {};
  }
  if (!S_ISREG(st.st_mode)) error = EINVAL;
  if (S_ISREG(st.st_mode) && st.st_size > static_cast<off_t>(kMaxUserFileBytes)) error = EFBIG;
  std::string_view text;
  if (error == 0) {
    void* memory = ::mmap(nullptr, kMaxUserFileBytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      error = errno;
    } else {
      ssize_t n = ::read(fd, memory, kMaxUserFileBytes);
      if (n < 0) error = errno;
      text = std::string_view(static_cast<char*>(memory), n > 0 ? static_cast<size_t>(n) : 0);
    }
  }
  ::close(fd);
  return text;
}

// The working directory must be the image's root here.
void find_user(const Reporter& report, const LaunchPlan& plan) {
  int passwd_error, group_error;
  std::string_view passwd = read_user_file("etc/passwd", passwd_error);
  std::string_view group = read_user_file("etc/group", group_error);
  LookupStatus status = resolve_user(plan.user, passwd, group, *plan.identity);
  if (status == LookupStatus::kOk) return;
  FixedText<512> what;
  what.add(plan.user).add(": ").add(describe(status));
  int error = status == LookupStatus::kUnknownGroup ? group_error : passwd_error;
  report.fail("resolve user", what.view(), error);
}

void add_home(const LaunchPlan& plan) {
  if (!plan.add_home) return;
  plan.home->add("HOME=").add(plan.identity->home);
  plan.env[plan.env_count] = const_cast<char*>(plan.home->c_str());
  plan.env[plan.env_count + 1] = nullptr;
}

RootPlan root_plan_of(const LaunchPlan& plan) {
  RootPlan root{plan.lowers, plan.lower_count, plan.upper, plan.work, plan.userxattr};
  root.devices = plan.insecure && !plan.user_namespace;
  root.copied_root = plan.copied_root;
  return root;
}

void make_mounts_private(const Reporter& report) {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    report.fail("make private", "the mounts", errno);
}

// Returns the descriptor of the step's working directory.
int make_sandbox(const Reporter& report, const LaunchPlan& plan, const ImageRoot& root) {
  plan.stubs->begin(report, root.root_fd, root.upper_fd, plan.storage);
  mount_system(report, plan, root.root_fd);
  enter_image_root(report, root.root_fd);
  if (::sethostname(plan.hostname, std::strlen(plan.hostname)) != 0)
    report.fail("set host name", plan.hostname, errno);
  if (plan.own_network) bring_loopback_up(report);
  find_user(report, plan);
  add_home(plan);
  int cwd_fd = walk_and_create(report, root.root_fd, plan.cwd, WalkKind::kDirectory, nullptr);
  if (plan.read_only_root) {
    mount_attr attributes;
    std::memset(&attributes, 0, sizeof attributes);
    attributes.attr_set = MOUNT_ATTR_RDONLY;
    if (::syscall(SYS_mount_setattr, root.root_fd, "", AT_EMPTY_PATH, &attributes,
                  sizeof attributes) != 0)
      report.fail("make read-only", "the root of the image", errno);
  }
  return cwd_fd;
}

// Reaps what has ended; true when the step itself was among it.
bool reap(pid_t step, int& step_status) {
  bool ended = false;
  for (;;) {
    int status = 0;
    pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) return ended;
    if (pid != step) continue;
    step_status = status;
    ended = true;
  }
}

// Signals that the builder sends to the step; false when it can send no more.
bool take_control(const LaunchPlan& plan, pid_t step) {
  uint8_t bytes[64];
  ssize_t n = ::read(plan.control_fd, bytes, sizeof bytes);
  for (ssize_t i = 0; i < n; ++i)
    ::kill((bytes[i] & kControlAll) != 0 ? -1 : step, bytes[i] & ~kControlAll);
  return n > 0 || (n < 0 && errno == EINTR);
}

// Returns the step's wait status; ends this process, and with it the pid namespace,
// when the builder has died. SIGCHLD is blocked, so none is lost.
// control_fd -1: another process takes the builder's signals.
int wait_for_step(const Reporter& report, const LaunchPlan& plan, pid_t step, int control_fd) {
  sigset_t child_signal;
  sigemptyset(&child_signal);
  sigaddset(&child_signal, SIGCHLD);
  int signals = ::signalfd(-1, &child_signal, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) report.fail("create", "a signalfd", errno);
  pollfd polls[3] = {
      {signals, POLLIN, 0}, {plan.builder_fd, POLLIN, 0}, {control_fd, POLLIN, 0}};
  int status = 0;
  while (!reap(step, status)) {
    if (::poll(polls, 3, -1) < 0) continue;
    if (polls[1].revents != 0) end_if_orphaned(plan);
    if (polls[2].revents != 0 && !take_control(plan, step)) polls[2].fd = -1;
    signalfd_siginfo info;
    while (::read(signals, &info, sizeof info) > 0) {
    }
  }
  return status;
}

// Signals stay blocked in it until it has default actions for all of them.
pid_t start_step(const Reporter& report, const LaunchPlan& plan, int cwd_fd) {
  mask_death_signal(SIG_BLOCK);
  pid_t step = -1;
  for (size_t i = 0; i < plan.group_count && step < 0; ++i)
    if (plan.groups[i].v2) step = clone_process_into(plan.groups[i].directory_fd);
  const bool in_group = step >= 0;
  if (step < 0) step = clone_process(0, nullptr);
  if (step < 0) report.fail("fork", "the step", errno);
  if (step == 0) run_step(report, plan, cwd_fd, in_group);
  if (plan.group_count > 0) mask_death_signal(SIG_UNBLOCK);
  return step;
}

uint64_t nanoseconds(const timeval& time) {
  return static_cast<uint64_t>(time.tv_sec) * 1000000000 +
         static_cast<uint64_t>(time.tv_usec) * 1000;
}

// Takes the stubs away and says which directories only they had changed.
void clean_up_stubs(const LaunchPlan& plan, int untouched_fd) {
  const bool copied = plan.copied_root != nullptr;
  plan.stubs->clean_up(kShapedDirectories,
                       copied ? 0 : sizeof kShapedDirectories / sizeof kShapedDirectories[0]);
  if (untouched_fd >= 0) plan.stubs->write_untouched(untouched_fd);
}

void send_exit(const Reporter& report, int status) {
  rusage usage;
  std::memset(&usage, 0, sizeof usage);
  ::getrusage(RUSAGE_CHILDREN, &usage);
  StatusMessage message = Reporter::make(StatusMessage::Kind::kExit, "", "");
  message.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  message.exit_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  message.user_ns = nanoseconds(usage.ru_utime);
  message.system_ns = nanoseconds(usage.ru_stime);
  message.max_rss_bytes = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
  report.send(message);
}

// Everything from the merged root on. Ends the process, which is pid 1 of the step.
[[noreturn]] void run_in_root(const Reporter& report, const LaunchPlan& plan,
                              const ImageRoot& root) {
  int untouched_fd = -1;
  if (plan.untouched_file != nullptr) {
    untouched_fd = ::open(plan.untouched_file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (untouched_fd < 0) report.fail("create", plan.untouched_file, errno);
  }
  int cwd_fd = make_sandbox(report, plan, root);
  if (plan.pty_master != nullptr && !send_master(plan.pty_fd, *plan.pty_master))
    report.fail("hand over", "the terminal of the step", errno);
  pid_t step = start_step(report, plan, cwd_fd);
  if (plan.stdin_fd >= 0) ::close(plan.stdin_fd);
  if (plan.pty_master != nullptr) ::close(*plan.pty_master);
  int status = wait_for_step(report, plan, step, plan.control_fd);
  kill_the_rest();
  clean_up_stubs(plan, untouched_fd);
  end_if_orphaned(plan);
  send_exit(report, status);
  ::_exit(0);
}

// fuse-overlayfs serves from here, where the host's root is still "/", and the step gets
// a pid and a mount namespace of its own below: it cannot see or end its file system.
[[noreturn]] void serve_fuse_root(const Reporter& report, const LaunchPlan& plan) {
  RootPlan root = root_plan_of(plan);
  int upper_fd = prepare_upper(report, root);
  const char* empty_lower[] = {plan.upper};
  if (root.lower_count == 0) {
    mount_empty_lower(report, plan.upper);
    root.lowers = empty_lower;
    root.lower_count = 1;
  }
  FuseDaemon daemon = start_fuse_overlay(report, root, upper_fd, plan.fuse_overlayfs);
  int root_fd = open_fuse_root(report, daemon);
  pid_t inner = clone_process(CLONE_NEWPID | CLONE_NEWNS, nullptr);
  if (inner < 0) report.fail("fork", "the supervisor of the step", errno);
  if (inner == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::setsid();
    make_mounts_private(report);
    // Opened anew: a mount of the other namespace cannot become "/" of this one.
    run_in_root(report, plan, {open_fuse_root(report, daemon), upper_fd});
  }
  if (plan.stdin_fd >= 0) ::close(plan.stdin_fd);
  int status = wait_for_step(report, plan, inner, -1);
  stop_fuse_overlay(report, root_fd, daemon);
  ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 125);
}

}  // namespace

uint64_t supervisor_namespaces(const LaunchPlan& plan) {
  uint64_t flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  if (plan.user_namespace) flags |= CLONE_NEWUSER;
  if (plan.own_network) flags |= CLONE_NEWNET;
  return flags;
}

void supervise(const LaunchPlan& plan) {
  Reporter report(plan.status_fd);
  reset_signal_handlers();
  handle_death_signal(plan);
  arm_death_signal(report, plan);
  keep_only_our_descriptors(plan);
  wipe_secrets(plan);
  wait_for_parent(plan);
  settle(report, plan);
  make_mounts_private(report);
  if (plan.storage == Storage::kFuseOverlay) serve_fuse_root(report, plan);
  run_in_root(report, plan, mount_image_root(report, root_plan_of(plan)));
}

}  // namespace kasane::exec
