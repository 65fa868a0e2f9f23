#include "exec/sandbox/launcher.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "exec/sandbox/memory_group.h"
#include "exec/sandbox/supervisor.h"
#include "exec/sandbox/terminal.h"
#include "exec/sandbox/user_network.h"

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
  UniqueFd pty_ours, pty_theirs;  // only with a terminal
  TerminalRelay* relay = nullptr;
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
                  {},
                  {},
                  nullptr,
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
  plan.pty_fd = channel.pty_theirs.get();
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
  channel.pty_theirs.reset();
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

// The part of the poll that belongs to an interactive step: its socket, the step's and
// the caller's terminal.
void prepare_terminal(const Channel& channel, pollfd* polls) {
  const TerminalRelay* relay = channel.relay;
  polls[0] = {relay == nullptr || relay->master_fd() >= 0 ? -1 : channel.pty_ours.get(), POLLIN, 0};
  polls[1] = {relay == nullptr ? -1 : relay->master_fd(), POLLIN, 0};
  polls[2] = {relay == nullptr ? -1 : relay->input_fd(), POLLIN, 0};
  if (relay != nullptr && relay->has_pending()) polls[1].events |= POLLOUT;
}

// True when the step's terminal had nothing to say though it was ready: no process holds
// it (yet, or any more).
bool serve_terminal(Channel& channel, const pollfd* polls) {
  TerminalRelay* relay = channel.relay;
  if (relay == nullptr) return false;
  if (polls[0].revents != 0) relay->receive_master(channel.pty_ours.get());
  relay->forward_window_size();
  if ((polls[1].revents & POLLOUT) != 0) relay->give_input();
  bool idle = (polls[1].revents & (POLLIN | POLLHUP)) != 0 && !relay->take_output();
  if (polls[2].revents != 0) relay->take_input();
  return idle;
}

// Moves output until the supervisor has ended. A pipe that reached its end is no longer
// polled; one that a process outside the sandbox still holds is not waited for.
Result<void> pump(Channel& channel, Child& child, const LogCallback& log) {
  constexpr int kOut = 0, kErr = 1, kStatus = 2, kStop = 3, kTerminal = 4, kCount = 7;
  pollfd polls[kCount] = {{channel.out.read_end.get(), POLLIN, 0},
                          {channel.err.read_end.get(), POLLIN, 0},
                          {channel.status.read_end.get(), POLLIN, 0},
                          {channel.stop_event.get(), POLLIN, 0},
                          {},
                          {},
                          {}};
  // A changed window is noticed at least so often: no signal handler is needed.
  const int timeout = channel.relay != nullptr ? 200 : -1;
  bool idle = false;
  for (;;) {
    prepare_terminal(channel, polls + kTerminal);
    // A hung-up master stays ready; it is looked at again after a pause.
    if (idle) polls[kTerminal + 1].fd = -1;
    if (::poll(polls, kCount, idle ? 20 : timeout) < 0) {
      if (errno == EINTR) continue;
      return Error::from_errno(errno, "poll the output of RUN");
    }
    idle = serve_terminal(channel, polls + kTerminal);
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
  for (int i = 0; i < kMaxReads && channel.relay != nullptr && channel.relay->take_output(); ++i) {
  }
  for (int i = 0; i < kMaxReads && drain_once(channel.out.read_end.get(), 1, log); ++i) {
  }
  for (int i = 0; i < kMaxReads && drain_once(channel.err.read_end.get(), 2, log); ++i) {
  }
}

Result<RunOutcome> outcome_of(const Channel& channel, const LogCallback& log,
                              const std::optional<MemoryGroup>& group) {
  if (channel.stopped) return Error(ErrorKind::kCancelled, "the step was stopped");
  if (channel.setup_error) return explain_setup_error(*channel.setup_error);
  RunOutcome outcome;
  std::optional<uint64_t> kills;
  if (group) kills = group->kills();
  if (!channel.exit) {
    if (group && kills.value_or(1) > 0) {  // nobody else kills it
      outcome.exit_status = 128 + SIGKILL;
      outcome.signal = SIGKILL;
      outcome.out_of_memory = true;
      return outcome;
    }
    return Error(ErrorKind::kIo, "the supervisor of the step was killed")
        .hint("look for the out-of-memory killer in the kernel log");
  }
  outcome.exit_status = channel.exit->exit_status;
  if (channel.exit->signal != 0) outcome.signal = channel.exit->signal;
  // Where the kernel does not count, a SIGKILL that we did not send tells.
  bool killed = outcome.signal == SIGKILL || outcome.exit_status == 128 + SIGKILL;
  outcome.out_of_memory = group && outcome.exit_status != 0 && (kills ? *kills > 0 : killed);
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

Result<RunOutcome> launch_step(LaunchPlan& plan, const IdMaps& maps, const LaunchOptions& options,
                               const LogCallback& log, std::stop_token stop) {
  auto start = std::chrono::steady_clock::now();
  std::optional<MemoryGroup> group;  // removed after the child is gone
  std::string limit_note;
  if (options.memory_limit_bytes != 0) {
    auto made = MemoryGroup::make(options.memory_limit_bytes);
    if (made)
      group.emplace(std::move(*made));
    else
      limit_note = made.error().full_message();
  }
  std::optional<TerminalRelay> relay;
  Channel channel = TRY(open_channel());
  if (options.terminal_fd) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
      return Error::from_errno(errno, "create a socket for the terminal of RUN");
    channel.pty_ours = UniqueFd(pair[0]);
    channel.pty_theirs = UniqueFd(pair[1]);
    channel.relay = &relay.emplace(*options.terminal_fd);
  }
  Child child = TRY(clone_supervisor(plan, channel));
  if (plan.user_namespace) TRY_CONTEXT(write_id_maps(child.pid(), maps), "map user ids");
  std::optional<UserNetwork> network;  // ends before the namespace that it serves
  if (plan.user_network)
    network = TRY_CONTEXT(UserNetwork::start(*plan.user_network, child.pid()), "prepare RUN");
  if (group) {
    Result<void> added = group->add(child.pid());
    if (!added) limit_note = added.error().full_message();
    if (!added) group.reset();
  }
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
  network.reset();
  drain_rest(channel, log);
  RunOutcome outcome = TRY(outcome_of(channel, log, group));
  outcome.limit_note = std::move(limit_note);
  outcome.wall_ns = static_cast<uint64_t>(
      std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count());
  return outcome;
}

}  // namespace kasane::exec
