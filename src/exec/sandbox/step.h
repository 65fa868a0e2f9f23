// The last part of a step's process: credentials, limits, filter, exec. Used between
// clone and exec.
#pragma once

#include <sys/resource.h>

#include "exec/sandbox/child_support.h"
#include "exec/sandbox/launch_plan.h"

namespace kasane::exec {

// RLIMIT_NOFILE of a step that asks for none, under the builder's. RLIMIT_CORE is 0 then.
rlimit default_file_limit(rlimit inherited);

// Moves this process, which has one thread, into the plan's cgroups, apart from those of v2 when
// it is in them already (`in_group`). What cannot be applied is told as kLimitNote.
void enter_groups(const Reporter& report, const LaunchPlan& plan, bool in_group);

// Becomes the step. `cwd_fd` is the working directory inside the image; `in_group`: it is in
// the cgroup (v2) of the plan already. All signals are blocked. Failures before exec are
// kSetupError; a program that cannot be started is kExecError.
[[noreturn]] void run_step(const Reporter& report, const LaunchPlan& plan, int cwd_fd,
                           bool in_group);

}  // namespace kasane::exec
