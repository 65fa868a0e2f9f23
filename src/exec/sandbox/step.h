// The last part of a step's process: credentials, limits, filter, exec. Used between
// clone and exec.
#pragma once

#include "exec/sandbox/child_support.h"
#include "exec/sandbox/launch_plan.h"

namespace kasane::exec {

// The 14 capabilities that Docker and BuildKit give (reference N04).
uint64_t default_capabilities();

// Becomes the step. `cwd_fd` is the working directory inside the image; `in_group`: it is in
// the cgroup (v2) of the plan already. All signals are blocked. Failures before exec are
// kSetupError; a program that cannot be started is kExecError.
[[noreturn]] void run_step(const Reporter& report, const LaunchPlan& plan, int cwd_fd,
                           bool in_group);

}  // namespace kasane::exec
