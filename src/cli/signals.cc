#include "cli/signals.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace kasane::cli {
namespace {

// A signal handler can reach nothing but statics. Set while a watcher lives.
std::atomic<int> g_signal_pipe{-1};
std::atomic<int> g_signal{0};

void on_signal(int number) {
  const int saved_errno = errno;
  if (g_signal.exchange(number) != 0) _exit(128 + number);
  const char byte = 1;
  (void)!write(g_signal_pipe.load(), &byte, 1);
  errno = saved_errno;
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
  char byte;
  ssize_t count;
  do {
    count = read(read_end_.get(), &byte, 1);
  } while (count < 0 && errno == EINTR);
  if (count == 1) source_.request_stop();
}

int InterruptWatcher::signal() const { return g_signal.load(); }

}  // namespace kasane::cli
