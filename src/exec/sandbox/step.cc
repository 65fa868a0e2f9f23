#include "exec/sandbox/step.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "exec/capabilities.h"
#include "exec/sandbox/program_start.h"

namespace kasane::exec {
namespace {

// Never above what we inherited; a limit that cannot be set is left alone.
void set_default_limits() {
  rlimit core{0, 0};
  ::setrlimit(RLIMIT_CORE, &core);
  rlimit files;
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files = default_file_limit(files);
  ::setrlimit(RLIMIT_NOFILE, &files);
}

void set_limits(const Reporter& report, const LaunchPlan& plan) {
  set_default_limits();
  for (size_t i = 0; i < plan.limit_count; ++i) {
    const LimitPlan& limit = plan.limits[i];
    rlimit value{limit.soft, limit.hard};
    if (::setrlimit(static_cast<__rlimit_resource>(limit.resource), &value) != 0)
      report.fail("set ulimit", limit.name, errno);
  }
}

// The terminal becomes the three standard streams and controls the new session.
void set_terminal(const Reporter& report, const LaunchPlan& plan) {
  int slave = ::ioctl(*plan.pty_master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
  if (slave < 0) report.fail("open", "the terminal of the step", errno);
  if (::ioctl(slave, TIOCSCTTY, 0) != 0) report.fail("take", "the controlling terminal", errno);
  (void)!::fchown(slave, plan.identity->uid, static_cast<gid_t>(-1));
  int high = ::fcntl(slave, F_DUPFD_CLOEXEC, 3);
  if (high < 0 || ::dup2(high, 0) < 0 || ::dup2(high, 1) < 0 || ::dup2(high, 2) < 0)
    report.fail("duplicate", "the terminal of the step", errno);
}

void set_stdio(const Reporter& report, const LaunchPlan& plan) {
  int source = plan.stdin_fd >= 0 ? plan.stdin_fd : ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (source < 0) report.fail("open", "/dev/null", errno);
  // Above 2 first: the builder may have been started with a standard stream closed.
  int out = ::fcntl(plan.stdout_fd, F_DUPFD_CLOEXEC, 3);
  int err = ::fcntl(plan.stderr_fd, F_DUPFD_CLOEXEC, 3);
  int in = ::fcntl(source, F_DUPFD_CLOEXEC, 3);
  if (out < 0 || err < 0 || in < 0) report.fail("duplicate", "a standard stream", errno);
  // /dev/stdout opens the pipe anew, so the user of the step must own it.
  if (plan.stdin_fd >= 0) (void)!::fchown(in, plan.identity->uid, static_cast<gid_t>(-1));
  (void)!::fchown(out, plan.identity->uid, static_cast<gid_t>(-1));
  (void)!::fchown(err, plan.identity->uid, static_cast<gid_t>(-1));
  if (::dup2(in, 0) < 0 || ::dup2(out, 1) < 0 || ::dup2(err, 2) < 0)
    report.fail("duplicate", "a standard stream", errno);
}

void drop_bounding_set(const Reporter& report, uint64_t keep) {
  for (int cap = 0; cap < 64; ++cap) {
    if ((keep >> cap & 1) != 0) continue;
    int held = ::prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
    if (held < 0) return;  // past the last capability of this kernel
    if (held == 1 && ::prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
      report.fail("drop", "a capability of the bounding set", errno);
  }
}

void set_capabilities(const Reporter& report, uint64_t wanted) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2];
  std::memset(data, 0, sizeof data);
  if (::syscall(SYS_capget, &header, data) != 0) report.fail("read", "capabilities", errno);
  uint64_t held = data[0].permitted | static_cast<uint64_t>(data[1].permitted) << 32;
  uint64_t kept = held & wanted;
  for (int half = 0; half < 2; ++half) {
    data[half].permitted = data[half].effective = static_cast<uint32_t>(kept >> (32 * half));
    data[half].inheritable = 0;
  }
  if (::syscall(SYS_capset, &header, data) != 0) report.fail("set", "capabilities", errno);
}

void set_groups(const Reporter& report, const LaunchPlan& plan) {
  const UserIdentity& id = *plan.identity;
  // A single-id namespace has given setgroups up; only its own group exists there.
  if (!plan.single_id && raw_setgroups(id.group_count, id.groups) != 0)
    report.fail("set the supplementary groups of user", plan.user, errno);
  if (raw_setresgid(id.gid) != 0) report.fail("switch to the group of user", plan.user, errno);
}

void load_filters(const Reporter& report, const LaunchPlan& plan) {
  for (size_t i = 0; i < plan.filter_count; ++i) {
    const FilterPlan& filter = plan.filters[i];
    sock_fprog program{static_cast<unsigned short>(filter.size),
                       const_cast<sock_filter*>(filter.code)};
    if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
      report.fail("load", "the seccomp filter", errno);
  }
}

// The order matters: the bounding set needs CAP_SETPCAP, groups CAP_SETGID, the filter
// CAP_SYS_ADMIN (no_new_privs stays off, so that sudo works), and all of them are gone
// after the switch of the user.
void take_identity(const Reporter& report, const LaunchPlan& plan) {
  const UserIdentity& id = *plan.identity;
  ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr, 0, 0, 0);
  uint64_t wanted = plan.insecure ? ~uint64_t{0} : default_capabilities();
  drop_bounding_set(report, wanted);
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  set_groups(report, plan);
  if (!plan.insecure) {
    if (plan.single_id) ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    load_filters(report, plan);
  }
  if (raw_setresuid(id.uid) != 0) report.fail("switch to user", plan.user, errno);
  set_capabilities(report, id.uid == 0 ? wanted : 0);
}

}  // namespace

rlimit default_file_limit(rlimit inherited) {
  constexpr rlim_t kHard = 1048576;
  constexpr rlim_t kSoft = 1024;
  rlimit files;
  files.rlim_max = inherited.rlim_max < kHard ? inherited.rlim_max : kHard;
  files.rlim_cur = files.rlim_max < kSoft ? files.rlim_max : kSoft;
  return files;
}

void enter_groups(const Reporter& report, const LaunchPlan& plan, bool in_group) {
  for (size_t i = 0; i < plan.group_count; ++i) {
    const GroupPlan& group = plan.groups[i];
    if ((group.v2 && in_group) || ::write(group.enter_fd, "0", 1) == 1) continue;
    FixedText<256> note;
    note.add("a limit was not applied: the step could not enter the cgroup ").add(group.name);
    note.add(": error ").add_number(static_cast<uint64_t>(errno));
    report.send(Reporter::make(StatusMessage::Kind::kLimitNote, "", note.view()));
  }
}

void run_step(const Reporter& report, const LaunchPlan& plan, int cwd_fd, bool in_group) {
  reset_signal_handlers();
  enter_groups(report, plan, in_group);
  // They look like the root of the hierarchy to the step then.
  if (plan.group_count > 0) (void)::unshare(CLONE_NEWCGROUP);
  ::setsid();
  set_limits(report, plan);
  if (::fchdir(cwd_fd) != 0) report.fail("enter working directory", plan.cwd, errno);
  // A directory outside the root would show as "(unreachable)...".
  char cwd[4096];
  if (::syscall(SYS_getcwd, cwd, sizeof cwd) < 0 || cwd[0] != '/')
    report.fail("enter working directory", plan.cwd, EXDEV);
  ::umask(022);
  if (plan.pty_master != nullptr)
    set_terminal(report, plan);
  else
    set_stdio(report, plan);
  take_identity(report, plan);
  ::syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
  unblock_all_signals();
  start_program(report, plan);
}

}  // namespace kasane::exec
