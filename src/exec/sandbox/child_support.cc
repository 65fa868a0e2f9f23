#include "exec/sandbox/child_support.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace kasane::exec {
namespace {

void copy_cut(char* to, size_t capacity, std::string_view from) {
  size_t n = from.size() < capacity - 1 ? from.size() : capacity - 1;
  std::memcpy(to, from.data(), n);
  to[n] = '\0';
}

int open_resolved(int dir_fd, const char* path, int flags, uint64_t resolve) {
  open_how how;
  std::memset(&how, 0, sizeof how);
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.resolve = resolve;
  for (int attempt = 0;; ++attempt) {
    long fd = ::syscall(SYS_openat2, dir_fd, path, &how, sizeof how);
    if (fd >= 0 || (errno != EINTR && errno != EAGAIN) || attempt >= 64)
      return static_cast<int>(fd);
  }
}

}  // namespace

StatusMessage Reporter::make(StatusMessage::Kind kind, std::string_view action,
                             std::string_view text) {
  StatusMessage message;
  std::memset(&message, 0, sizeof message);
  message.kind = kind;
  copy_cut(message.action, sizeof message.action, action);
  copy_cut(message.text, sizeof message.text, text);
  return message;
}

void Reporter::send(const StatusMessage& message) const {
  static_assert(sizeof(StatusMessage) < 4096, "one atomic pipe write");
  while (::write(fd_, &message, sizeof message) < 0 && errno == EINTR) {
  }
}

void Reporter::fail(const char* action, std::string_view object, int error) const {
  StatusMessage message = make(StatusMessage::Kind::kSetupError, action, object);
  message.error = error;
  send(message);
  ::_exit(125);
}

pid_t clone_process(uint64_t namespace_flags, int* pidfd) {
  unsigned long flags = namespace_flags | SIGCHLD;
  if (pidfd != nullptr) flags |= CLONE_PIDFD;
#if defined(__s390__)
#error "clone(2) takes its arguments in another order here"
#endif
  // clone rather than clone3: container engines answer ENOSYS to the latter.
  return static_cast<pid_t>(::syscall(SYS_clone, flags, nullptr, pidfd, nullptr, nullptr));
}

pid_t clone_process_into(int cgroup_fd) {
#if defined(CLONE_INTO_CGROUP) && defined(SYS_clone3)
  clone_args args;
  std::memset(&args, 0, sizeof args);
  args.flags = CLONE_INTO_CGROUP;
  args.exit_signal = SIGCHLD;
  args.cgroup = static_cast<uint64_t>(cgroup_fd);
  return static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
#else
  (void)cgroup_fd;
  errno = ENOSYS;
  return -1;
#endif
}

// Not by sigaction(3), which leaves the signals that glibc uses itself as the builder's
// caller had them.
void reset_signal_handlers() {
  constexpr int kSignals = 64;
  // As the kernel lays it out: handler SIG_DFL, no flags, no restorer, empty mask.
  const uint64_t action[4] = {};
  for (int number = 1; number <= kSignals; ++number)
    ::syscall(SYS_rt_sigaction, number, action, nullptr, sizeof(uint64_t));
}

void block_all_signals(void* old_mask_or_null) {
  sigset_t all;
  sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, static_cast<sigset_t*>(old_mask_or_null));
}

void unblock_all_signals() {
  sigset_t none;
  sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
}

int raw_setgroups(size_t count, const uint32_t* groups) {
  return static_cast<int>(::syscall(SYS_setgroups, count, groups));
}

int raw_setresgid(uint32_t gid) {
  return static_cast<int>(::syscall(SYS_setresgid, gid, gid, gid));
}

int raw_setresuid(uint32_t uid) {
  return static_cast<int>(::syscall(SYS_setresuid, uid, uid, uid));
}

void close_all_except(const int* keep, size_t count) {
  unsigned next = 0;
  for (size_t i = 0; i < count; ++i) {
    unsigned fd = static_cast<unsigned>(keep[i]);
    if (fd > next) ::syscall(SYS_close_range, next, fd - 1, 0);
    next = fd + 1;
  }
  ::syscall(SYS_close_range, next, ~0u, 0);
}

int child_open_in_root(int root_fd, const char* path, int flags) {
  return open_resolved(root_fd, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int child_open_without_magic(const char* path, int flags) {
  return open_resolved(AT_FDCWD, path, flags, RESOLVE_NO_MAGICLINKS);
}

}  // namespace kasane::exec
