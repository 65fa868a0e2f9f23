#include "cli/signals.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <utility>

namespace kasane::cli {
namespace {

// A signal handler can reach nothing but statics. Set while a watcher lives.
std::atomic<int> g_signal_pipe{-1};
std::atomic<int> g_signal{0};
std::atomic<int> g_count{0};

void on_signal(int number) {
  constexpr int kTooMany = 3;
  const int saved_errno = errno;
  g_signal = number;
  if (++g_count >= kTooMany) _exit(128 + number);
  const uint8_t byte = static_cast<uint8_t>(number);
  (void)!write(g_signal_pipe.load(), &byte, 1);
  errno = saved_errno;
}

std::atomic<int> g_relay_pipe{-1};

void on_relayed_signal(int number) {
  const int saved_errno = errno;
  const uint8_t byte = static_cast<uint8_t>(number);
  (void)!write(g_relay_pipe.load(), &byte, 1);
  errno = saved_errno;
}

// The number of the next signal; 0: the watcher ends; -1: none came for that long.
int next_signal(int fd, int timeout_ms) {
  for (;;) {
    pollfd ready{fd, POLLIN, 0};
    int count = poll(&ready, 1, timeout_ms);
    if (count == 0) return -1;
    uint8_t byte = 0;
    ssize_t n = count < 0 ? -1 : read(fd, &byte, 1);
    if (n < 0 && errno == EINTR) continue;
    return n == 1 ? byte : 0;
  }
}

}  // namespace

struct InterruptWatcher::Saved {
  struct sigaction interrupt, terminate;
};

Result<std::unique_ptr<InterruptWatcher>> InterruptWatcher::start() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Error::from_errno(errno, "pipe for signals");
  std::unique_ptr<InterruptWatcher> watcher(new InterruptWatcher);
  watcher->read_end_ = UniqueFd(ends[0]);
  watcher->write_end_ = UniqueFd(ends[1]);
  g_signal = 0;
  g_count = 0;
  g_signal_pipe = ends[1];
  watcher->thread_ = std::thread([raw = watcher.get()] { raw->watch(); });
  watcher->saved_ = std::make_unique<Saved>();
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, &watcher->saved_->interrupt);
  sigaction(SIGTERM, &action, &watcher->saved_->terminate);
  return watcher;
}

InterruptWatcher::~InterruptWatcher() {
  if (saved_) {
    sigaction(SIGINT, &saved_->interrupt, nullptr);
    sigaction(SIGTERM, &saved_->terminate, nullptr);
  }
  g_signal_pipe = -1;
  write_end_.reset();  // ends the thread's read
  if (thread_.joinable()) thread_.join();
}

void InterruptWatcher::watch() {
  constexpr int kPatienceMs = static_cast<int>(kPatience.count());
  const int first = next_signal(read_end_.get(), -1);
  if (first == 0) return;
  source_.request_stop();
  // Whoever sits at the keyboard is not made to wait for a step that ignores signals.
  const int second = next_signal(read_end_.get(), first == SIGINT ? kPatienceMs : -1);
  if (second == 0) return;
  kill_.request_stop();
  if (second < 0) return;
  if (next_signal(read_end_.get(), kPatienceMs) < 0) _exit(128 + g_signal.load());
}

int InterruptWatcher::signal() const { return g_signal.load(); }

struct SignalRelay::Saved {
  std::vector<std::pair<int, struct sigaction>> actions;
};

SignalRelay::SignalRelay() : saved_(std::make_unique<Saved>()) {}

Result<std::unique_ptr<SignalRelay>> SignalRelay::start() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return Error::from_errno(errno, "pipe for signals");
  std::unique_ptr<SignalRelay> relay(new SignalRelay);
  relay->read_end_ = UniqueFd(ends[0]);
  relay->write_end_ = UniqueFd(ends[1]);
  g_relay_pipe = ends[1];
  std::vector<int> numbers{SIGHUP,  SIGINT,  SIGQUIT,   SIGUSR1, SIGUSR2, SIGALRM,
                           SIGTERM, SIGPROF, SIGVTALRM, SIGIO,   SIGPWR,  SIGXCPU};
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) numbers.push_back(number);
  for (int number : numbers) {
    struct sigaction old = {}, action = {};
    sigaction(number, nullptr, &old);
    if (number == SIGHUP && old.sa_handler == SIG_IGN) continue;
    action.sa_handler = on_relayed_signal;
    action.sa_flags = SA_RESTART;
    if (sigaction(number, &action, nullptr) == 0) relay->saved_->actions.emplace_back(number, old);
  }
  return relay;
}

SignalRelay::~SignalRelay() {
  for (const auto& [number, action] : saved_->actions) sigaction(number, &action, nullptr);
  g_relay_pipe = -1;
}

}  // namespace kasane::cli
