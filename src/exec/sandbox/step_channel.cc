#include "exec/sandbox/step_channel.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

namespace kasane::exec {
namespace {

using Clock = std::chrono::steady_clock;

void make_nonblocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

// One read of an output pipe; false at its end or when nothing is there.
bool drain_once(int fd, int stream, const LogCallback& log) {
  char buffer[65536];
  ssize_t n = ::read(fd, buffer, sizeof buffer);
  if (n < 0 && errno == EINTR) return true;
  if (n <= 0) return false;
  log(std::string_view(buffer, static_cast<size_t>(n)), stream);
  return true;
}

// From the caller's standard input into the step's. Read only while nothing waits to be
// written, so that no more than a buffer is taken from a caller who may want the rest.
class InputRelay {
 public:
  InputRelay(int source, UniqueFd* target) : source_(source), target_(target) {}
  int source_fd() const { return *target_ && pending_.empty() ? source_ : -1; }
  int target_fd() const { return target_->get(); }
  bool has_pending() const { return !pending_.empty(); }
  void take() {
    char buffer[65536];
    ssize_t n = ::read(source_, buffer, sizeof buffer);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (n <= 0) return target_->reset();  // the step reads the end of the file
    pending_.assign(buffer, static_cast<size_t>(n));
    give();
  }
  void give() {
    ssize_t n = ::write(target_->get(), pending_.data(), pending_.size());
    if (n >= 0) pending_.erase(0, static_cast<size_t>(n));
    if (n < 0 && errno != EAGAIN && errno != EINTR) close();  // nobody reads any more
  }
  void close() {
    pending_.clear();
    target_->reset();
  }

 private:
  int source_;
  UniqueFd* target_;
  std::string pending_;
};

void send_control(Channel& channel, uint8_t byte) {
  (void)!::write(channel.control.write_end.get(), &byte, 1);
}

Result<UniqueFd> open_event() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return Error::from_errno(errno, "create an eventfd for RUN");
  return fd;
}

// Requests of other threads. They are carried out at once, by those threads, since the pump
// may wait for a reader of the output; then the pump hears of them through fd().
class StopRequests {
 public:
  StopRequests(UniqueFd fd, const PumpOptions& options, Channel& channel,
               const std::function<void()>& kill_supervisor)
      : fd_(std::move(fd)),
        on_stop_(options.stop,
                 [this, &channel] {
                   send_control(channel, control_byte(SIGTERM, true));
                   notify();
                 }),
        on_kill_(options.kill, [this, &kill_supervisor] {
          kill_supervisor();
          notify();
        }) {}
  int fd() const { return fd_.get(); }
  void take() {
    uint64_t value;
    (void)!::read(fd_.get(), &value, sizeof value);
  }

 private:
  void notify() {
    const uint64_t one = 1;
    (void)!::write(fd_.get(), &one, sizeof one);
  }
  UniqueFd fd_;
  std::stop_callback<std::function<void()>> on_stop_, on_kill_;
};

// Passes the caller's signals on, on a thread of its own for the same reason.
class SignalForwarder {
 public:
  SignalForwarder(int source, UniqueFd wake, Channel& channel)
      : source_(source), wake_(std::move(wake)), channel_(channel), thread_([this] { run(); }) {}
  SignalForwarder(const SignalForwarder&) = delete;
  SignalForwarder& operator=(const SignalForwarder&) = delete;
  ~SignalForwarder() {
    const uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);
    thread_.join();
  }

 private:
  void run() {
    pollfd polls[2] = {{source_, POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    while (::poll(polls, 2, -1) < 0 || polls[1].revents == 0) {
      uint8_t numbers[64];
      ssize_t n = polls[0].revents != 0 ? ::read(source_, numbers, sizeof numbers) : -1;
      if (n == 0) polls[0].fd = -1;
      for (ssize_t i = 0; i < n; ++i) send_control(channel_, control_byte(numbers[i], false));
    }
  }
  int source_;
  UniqueFd wake_;
  Channel& channel_;
  std::thread thread_;
};

class Pump {
 public:
  Pump(Channel& channel, const PumpOptions& options, const LogCallback& log,
       const std::function<void()>& kill_supervisor, StopRequests& requests, TerminalRelay* relay)
      : channel_(channel),
        options_(options),
        log_(log),
        kill_supervisor_(kill_supervisor),
        requests_(requests),
        relay_(relay),
        input_(options.stdin_fd.value_or(-1), &channel.in.write_end) {
    poll_outputs();
    polls_[kStatus] = {channel.status.read_end.get(), POLLIN, 0};
    polls_[kStop] = {requests.fd(), POLLIN, 0};
    if (options.time_limit_ns != 0)
      time_limit_ = Clock::now() + std::chrono::nanoseconds(options.time_limit_ns);
  }

  Result<void> run() {
    for (;;) {
      prepare();
      if (::poll(polls_, kCount, timeout()) < 0) {
        if (errno == EINTR) continue;
        return Error::from_errno(errno, "poll the output of RUN");
      }
      idle_ = serve_terminal();
      serve_input();
      if (polls_[kStop].revents != 0) stop();
      watch_clock();
      for (int i : {kOut, kErr})
        if (polls_[i].revents != 0 && !drain_once(polls_[i].fd, i + 1, log_) &&
            (polls_[i].revents & POLLHUP) != 0)
          polls_[i].fd = -1;
      const bool before = channel_.started;
      if (polls_[kStatus].revents != 0 && !take_status()) break;
      if (channel_.started && !before) poll_outputs();
    }
    // Killed by another thread before this one had seen the request.
    if (!channel_.exit && (options_.stop.stop_requested() || options_.kill.stop_requested()))
      channel_.stopped = true;
    drain_rest();
    return {};
  }

 private:
  enum { kOut, kErr, kStatus, kStop, kInput, kStepInput, kPty, kMaster, kTyped, kCount };

  void poll_outputs() {
    polls_[kOut] = {channel_.started ? channel_.out.read_end.get() : -1, POLLIN, 0};
    polls_[kErr] = {channel_.started ? channel_.err.read_end.get() : -1, POLLIN, 0};
  }

  void prepare() {
    polls_[kInput] = {input_.source_fd(), POLLIN, 0};
    polls_[kStepInput] = {input_.target_fd(),
                          static_cast<short>(input_.has_pending() ? POLLOUT : 0), 0};
    polls_[kPty] = {-1, POLLIN, 0};
    polls_[kMaster] = {-1, POLLIN, 0};
    polls_[kTyped] = {-1, POLLIN, 0};
    if (relay_ == nullptr) return;
    if (relay_->master_fd() < 0) polls_[kPty].fd = channel_.pty_ours.get();
    // A hung-up master stays ready; it is looked at again after a pause.
    if (!idle_) polls_[kMaster].fd = relay_->master_fd();
    if (relay_->has_pending()) polls_[kMaster].events |= POLLOUT;
    polls_[kTyped].fd = relay_->input_fd();
  }

  // Milliseconds; -1: until something happens.
  int timeout() const {
    // A changed window is noticed at least so often: no signal handler is needed.
    int64_t wait = idle_ ? 20 : relay_ != nullptr ? 200 : INT32_MAX;
    for (const auto& moment : {time_limit_, kill_at_}) {
      if (!moment) continue;
      auto rest = std::chrono::ceil<std::chrono::milliseconds>(*moment - Clock::now()).count();
      wait = std::clamp<int64_t>(rest, 0, wait);
    }
    return wait == INT32_MAX ? -1 : static_cast<int>(wait);
  }

  // True when the step's terminal had nothing to say though it was ready: no process
  // holds it (yet, or any more).
  bool serve_terminal() {
    if (relay_ == nullptr) return false;
    if (polls_[kPty].revents != 0) relay_->receive_master(channel_.pty_ours.get());
    relay_->forward_window_size();
    if ((polls_[kMaster].revents & POLLOUT) != 0) relay_->give_input();
    bool idle = (polls_[kMaster].revents & (POLLIN | POLLHUP)) != 0 && !relay_->take_output();
    if (polls_[kTyped].revents != 0) relay_->take_input();
    return idle;
  }

  void serve_input() {
    if ((polls_[kStepInput].revents & POLLERR) != 0) return input_.close();
    if ((polls_[kStepInput].revents & POLLOUT) != 0) input_.give();
    if (polls_[kInput].revents != 0) input_.take();
  }

  void expect_end() {
    if (!kill_at_) kill_at_ = Clock::now() + kStopGrace;
  }

  void stop() {
    requests_.take();
    channel_.stopped = true;
    expect_end();
  }

  void watch_clock() {
    auto now = Clock::now();
    if (time_limit_ && now >= *time_limit_) {
      time_limit_.reset();
      channel_.timed_out = !channel_.exit.has_value();
      if (channel_.timed_out && !kill_at_) send_control(channel_, control_byte(SIGTERM, true));
      if (channel_.timed_out) expect_end();
    }
    if (!kill_at_ || now < *kill_at_) return;
    // A step that timed out is kept to be looked at: the supervisor tidies its files up. It
    // has as long as the step had.
    if (channel_.timed_out && !channel_.stopped && !killed_)
      send_control(channel_, control_byte(SIGKILL, true));
    else
      kill_supervisor_();
    killed_ = true;
    kill_at_ = now + kStopGrace;
  }

  // False at the end of the status pipe: the supervisor is gone.
  bool take_status() {
    StatusMessage message;
    ssize_t n = ::read(channel_.status.read_end.get(), &message, sizeof message);
    if (n < 0 && errno == EINTR) return true;
    if (n != static_cast<ssize_t>(sizeof message)) return false;
    if (message.kind == StatusMessage::Kind::kSetupError) channel_.setup_error = message;
    if (message.kind == StatusMessage::Kind::kExecError) channel_.exec_error = message;
    if (message.kind == StatusMessage::Kind::kLimitNote) channel_.limit_note = message;
    if (message.kind == StatusMessage::Kind::kRuntimeError) channel_.runtime_error = message;
    if (message.kind == StatusMessage::Kind::kStarted) channel_.started = true;
    if (message.kind == StatusMessage::Kind::kExit) channel_.exit = message;
    return true;
  }

  // Bounded: what is in the pipes when all processes are dead, never an endless writer.
  void drain_rest() {
    if (!channel_.started) return;
    constexpr int kMaxReads = 64;
    for (int i = 0; i < kMaxReads && relay_ != nullptr && relay_->take_output(); ++i) {
    }
    for (int i = 0; i < kMaxReads && drain_once(channel_.out.read_end.get(), 1, log_); ++i) {
    }
    for (int i = 0; i < kMaxReads && drain_once(channel_.err.read_end.get(), 2, log_); ++i) {
    }
  }

  Channel& channel_;
  const PumpOptions& options_;
  const LogCallback& log_;
  const std::function<void()>& kill_supervisor_;
  StopRequests& requests_;
  TerminalRelay* relay_;
  InputRelay input_;
  pollfd polls_[kCount] = {};
  bool idle_ = false, killed_ = false;
  std::optional<Clock::time_point> time_limit_, kill_at_;
};

}  // namespace

Result<Channel> open_channel(const RunSpec& spec) {
  Channel channel;
  channel.out = TRY(make_pipe());
  channel.err = TRY(make_pipe());
  channel.status = TRY(make_pipe());
  channel.control = TRY(make_pipe());
  if (spec.stdin_fd && !spec.terminal) channel.in = TRY(make_pipe());
  channel.builder = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (!channel.builder) return Error::from_errno(errno, "open a pidfd of this process");
  for (int fd : {channel.out.read_end.get(), channel.err.read_end.get(),
                 channel.control.write_end.get(), channel.in.write_end.get()})
    if (fd >= 0) make_nonblocking(fd);
  if (!spec.terminal) return channel;
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    return Error::from_errno(errno, "create a socket for the terminal of RUN");
  channel.pty_ours = UniqueFd(pair[0]);
  channel.pty_theirs = UniqueFd(pair[1]);
  return channel;
}

Result<void> pump(Channel& channel, const PumpOptions& options, const LogCallback& log,
                  const std::function<void()>& kill_supervisor) {
  std::optional<TerminalRelay> relay;
  if (options.terminal) relay.emplace(*options.terminal);
  StopRequests requests(TRY(open_event()), options, channel, kill_supervisor);
  std::optional<SignalForwarder> signals;
  if (options.signal_fd) signals.emplace(*options.signal_fd, TRY(open_event()), channel);
  return Pump(channel, options, log, kill_supervisor, requests, relay ? &*relay : nullptr).run();
}

}  // namespace kasane::exec
