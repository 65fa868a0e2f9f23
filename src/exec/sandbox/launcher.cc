#include "exec/sandbox/launcher.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "exec/sandbox/supervisor.h"

namespace kasane::exec {
namespace {

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};

Result<Pipe> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return Error::from_errno(errno, "create a pipe for RUN");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

void make_nonblocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

// The descriptors of one run, and what has come through them.
struct Channel {
  Pipe out, err, status, go;
  UniqueFd stop_event;
  UniqueFd builder;  // pidfd of this process
  std::optional<StatusMessage> setup_error;
  std::optional<StatusMessage> exec_error;
  std::optional<StatusMessage> exit;
  bool stopped = false;
};

Result<Channel> open_channel() {
  Channel channel{TRY(make_pipe()),
                  TRY(make_pipe()),
                  TRY(make_pipe()),
                  TRY(make_pipe()),
                  UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
                  UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0))),
                  {},
                  {},
                  {},
                  false};
  if (!channel.stop_event) return Error::from_errno(errno, "create an eventfd for RUN");
  if (!channel.builder) return Error::from_errno(errno, "open a pidfd of this process");
  make_nonblocking(channel.out.read_end.get());
  make_nonblocking(channel.err.read_end.get());
  return channel;
}

Result<Child> clone_supervisor(LaunchPlan& plan, Channel& channel) {
  plan.status_fd = channel.status.write_end.get();
  plan.go_fd = channel.go.read_end.get();
  plan.builder_fd = channel.builder.get();
  plan.stdout_fd = channel.out.write_end.get();
  plan.stderr_fd = channel.err.write_end.get();
  // No handler of ours may run in the child before it has reset them.
  sigset_t old_mask;
  block_all_signals(&old_mask);
  int pidfd = -1;
  pid_t pid = clone_process(supervisor_namespaces(plan), &pidfd);
  if (pid == 0) supervise(plan);
  int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &old_mask, nullptr);
  if (pid < 0) return explain_clone_error(error);
  channel.out.write_end.reset();
  channel.err.write_end.reset();
  channel.status.write_end.reset();
  channel.go.read_end.reset();
  return Child(pid, pidfd);
}

// One read of an output pipe; false at its end or when nothing is there.
bool drain_once(int fd, int stream, const LogCallback& log) {
  char buffer[65536];
  ssize_t n = ::read(fd, buffer, sizeof buffer);
  if (n < 0 && errno == EINTR) return true;
  if (n <= 0) return false;
  log(std::string_view(buffer, static_cast<size_t>(n)), stream);
  return true;
}

// False at the end of the status pipe: the supervisor is gone.
bool take_status(Channel& channel) {
  StatusMessage message;
  ssize_t n = ::read(channel.status.read_end.get(), &message, sizeof message);
  if (n < 0 && errno == EINTR) return true;
  if (n != static_cast<ssize_t>(sizeof message)) return false;
  if (message.kind == StatusMessage::Kind::kSetupError) channel.setup_error = message;
  if (message.kind == StatusMessage::Kind::kExecError) channel.exec_error = message;
  if (message.kind == StatusMessage::Kind::kExit) channel.exit = message;
  return true;
}

// Moves output until the supervisor has ended. A pipe that reached its end is no longer
// polled; one that a process outside the sandbox still holds is not waited for.
Result<void> pump(Channel& channel, Child& child, const LogCallback& log) {
  constexpr int kOut = 0, kErr = 1, kStatus = 2, kStop = 3;
  pollfd polls[4] = {{channel.out.read_end.get(), POLLIN, 0},
                     {channel.err.read_end.get(), POLLIN, 0},
                     {channel.status.read_end.get(), POLLIN, 0},
                     {channel.stop_event.get(), POLLIN, 0}};
  for (;;) {
    if (::poll(polls, 4, -1) < 0) {
      if (errno == EINTR) continue;
      return Error::from_errno(errno, "poll the output of RUN");
    }
    if ((polls[kStop].revents & POLLIN) != 0) {
      channel.stopped = true;
      child.kill();
      polls[kStop].fd = -1;
    }
    for (int i : {kOut, kErr})
      if (polls[i].revents != 0 && !drain_once(polls[i].fd, i + 1, log) &&
          (polls[i].revents & POLLHUP) != 0)
        polls[i].fd = -1;
    if (polls[kStatus].revents != 0 && !take_status(channel)) return {};
  }
}

void drain_rest(Channel& channel, const LogCallback& log) {
  // Bounded: what is in the pipe when all processes are dead, never an endless writer.
  constexpr int kMaxReads = 64;
  for (int i = 0; i < kMaxReads && drain_once(channel.out.read_end.get(), 1, log); ++i) {
  }
  for (int i = 0; i < kMaxReads && drain_once(channel.err.read_end.get(), 2, log); ++i) {
  }
}

Result<RunOutcome> outcome_of(const Channel& channel, const LogCallback& log) {
  if (channel.stopped) return Error(ErrorKind::kCancelled, "the step was stopped");
  if (channel.setup_error) return explain_setup_error(*channel.setup_error);
  RunOutcome outcome;
  if (!channel.exit) {
    return Error(ErrorKind::kIo, "the supervisor of the step was killed")
        .hint("look for the out-of-memory killer in the kernel log");
  }
  outcome.exit_status = channel.exit->exit_status;
  if (channel.exit->signal != 0) outcome.signal = channel.exit->signal;
  outcome.max_rss_bytes = channel.exit->max_rss_bytes;
  outcome.user_ns = channel.exit->user_ns;
  outcome.system_ns = channel.exit->system_ns;
  if (channel.exec_error) {
    outcome.exec_error = channel.exec_error->text;
    log(outcome.exec_error + "\n", 2);
  }
  return outcome;
}

}  // namespace

Child::~Child() {
  if (pid_ < 0) return;
  kill();
  wait();
}

void Child::kill() {
  if (pid_ >= 0) ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
}

void Child::wait() {
  if (pid_ < 0) return;
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

Result<RunOutcome> launch_step(LaunchPlan& plan, const IdMaps& maps, const LogCallback& log,
                               std::stop_token stop) {
  auto start = std::chrono::steady_clock::now();
  Channel channel = TRY(open_channel());
  Child child = TRY(clone_supervisor(plan, channel));
  if (plan.user_namespace) TRY_CONTEXT(write_id_maps(child.pid(), maps), "map user ids");
  TRY(write_all(channel.go.write_end.get(), std::string_view("g", 1), "pipe to the supervisor"));
  Result<void> pumped;
  {
    std::stop_callback on_stop(stop, [fd = channel.stop_event.get()] {
      uint64_t one = 1;
      (void)!::write(fd, &one, sizeof one);
    });
    pumped = pump(channel, child, log);
  }
  if (!pumped) return std::move(pumped.error());
  child.wait();
  drain_rest(channel, log);
  RunOutcome outcome = TRY(outcome_of(channel, log));
  outcome.wall_ns = static_cast<uint64_t>(
      std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count());
  return outcome;
}

}  // namespace kasane::exec
