// The builder's side of one step: clone the supervisor, feed it, drain its pipes.
#pragma once

#include <utility>

#include "base/fd.h"
#include "exec/executor.h"
#include "exec/sandbox/launch_plan.h"
#include "exec/userns.h"

namespace kasane::exec {

// A cloned child of this process and how to reach it. The destructor kills and reaps.
class Child {
 public:
  Child() = default;
  Child(pid_t pid, int pidfd) : pid_(pid), pidfd_(pidfd) {}
  Child(Child&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)) {}
  Child& operator=(Child&& other) noexcept {
    std::swap(pid_, other.pid_);
    std::swap(pidfd_, other.pidfd_);
    return *this;
  }
  ~Child();
  pid_t pid() const { return pid_; }
  void kill();
  void wait();  // returns when the process and its namespaces are gone

 private:
  pid_t pid_ = -1;
  UniqueFd pidfd_;
};

// Runs `plan`, made from `spec`, with the id maps (only used with plan.user_namespace). See
// Executor::run. The calling thread must live until this returns: the supervisor dies with it.
Result<RunOutcome> launch_step(LaunchPlan& plan, const IdMaps& maps, const RunSpec& spec,
                               const LogCallback& log, std::stop_token stop);

// What a kSetupError means to the user, with a hint that names the missing setting.
Error explain_setup_error(const StatusMessage& message);
// The same for a failing clone(2) of the supervisor.
Error explain_clone_error(int error);

}  // namespace kasane::exec
