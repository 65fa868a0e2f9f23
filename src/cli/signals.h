// SIGINT and SIGTERM as a stop request: the first asks the work to stop, the second ends the
// process at once.
#pragma once

#include <memory>
#include <stop_token>
#include <thread>

#include "base/fd.h"
#include "base/result.h"

namespace kasane::cli {

// At most one at a time per process. Restores the former handlers when destroyed. The
// handlers are real functions, so programs started meanwhile get the default action.
class InterruptWatcher {
 public:
  static Result<std::unique_ptr<InterruptWatcher>> start();
  ~InterruptWatcher();
  InterruptWatcher(const InterruptWatcher&) = delete;
  InterruptWatcher& operator=(const InterruptWatcher&) = delete;

  std::stop_token token() const { return source_.get_token(); }
  int signal() const;  // 0: none came

 private:
  InterruptWatcher() = default;
  void watch();
  std::stop_source source_;
  UniqueFd read_end_, write_end_;
  std::thread thread_;
  struct Saved;
  std::unique_ptr<Saved> saved_;
};

}  // namespace kasane::cli
