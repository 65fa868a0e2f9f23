// SIGINT and SIGTERM as requests to stop, and signals that are passed on to a program.
#pragma once

#include <chrono>
#include <memory>
#include <stop_token>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace kasane::cli {

// The first signal requests `token`: steps are asked to end (SIGTERM) and have
// exec::kStopGrace. A second signal, or kPatience after SIGINT, requests `kill_token`: what
// still runs is killed. Should the work itself not end kPatience after the second signal,
// the process ends with 128 + N as it is (the store survives that), and so it does at a
// third one. At most one watcher at a time per process. Restores the former handlers when
// destroyed. The handlers are real functions, so programs started meanwhile get the default action.
class InterruptWatcher {
 public:
  static Result<std::unique_ptr<InterruptWatcher>> start();
  ~InterruptWatcher();
  InterruptWatcher(const InterruptWatcher&) = delete;
  InterruptWatcher& operator=(const InterruptWatcher&) = delete;

  static constexpr std::chrono::milliseconds kPatience{1000};

  std::stop_token token() const { return source_.get_token(); }
  std::stop_token kill_token() const { return kill_.get_token(); }
  int signal() const;  // 0: none came

 private:
  InterruptWatcher() = default;
  void watch();
  std::stop_source source_, kill_;
  UniqueFd read_end_, write_end_;
  std::thread thread_;
  struct Saved;
  std::unique_ptr<Saved> saved_;
};

// Signals for a program that this process stands for: while one lives, those that docker's
// sig-proxy passes on are bytes in fd() and have no other effect. Signals of job control stop
// and continue this process as usual; faults of its own, SIGCHLD, SIGPIPE and SIGWINCH are
// its own. SIGHUP stays ignored under nohup. At most one at a time per process, not beside an
// InterruptWatcher.
class SignalRelay {
 public:
  static Result<std::unique_ptr<SignalRelay>> start();
  ~SignalRelay();
  SignalRelay(const SignalRelay&) = delete;
  SignalRelay& operator=(const SignalRelay&) = delete;
  int fd() const { return read_end_.get(); }

 private:
  SignalRelay();
  UniqueFd read_end_, write_end_;
  struct Saved;
  std::unique_ptr<Saved> saved_;
};

}  // namespace kasane::cli
