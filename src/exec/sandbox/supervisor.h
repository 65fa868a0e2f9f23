// Pid 1 of a step's namespaces: makes the sandbox, starts the step, reaps, and takes
// everything down with it. Entered right after clone(2).
#pragma once

#include <sys/resource.h>
#include <sys/time.h>

#include "exec/sandbox/launch_plan.h"

namespace kasane::exec {

// Namespaces that the clone of the supervisor asks for.
uint64_t supervisor_namespaces(const LaunchPlan& plan);

// Never returns. Waits for a byte on plan.control_fd (the parent has written the id maps),
// ends when the step or the builder has ended, whichever comes first. The parent-death
// signal alone would not do: a builder that dies before it is armed sends none.
[[noreturn]] void supervise(const LaunchPlan& plan);

// ---- The parts of it, for a supervisor of another kind (plan.supervisor).

// Namespaces of the step apart from its mount namespace.
uint64_t step_namespaces(const LaunchPlan& plan);

// From clone(2) until the parent has written the id maps: nothing of the builder is left.
void begin_supervision(const Reporter& report, const LaunchPlan& plan);

// When the builder is dead: ends all processes of this pid namespace, takes the step's cgroups
// away, which nobody else does then, and ends this process.
void end_if_orphaned(const LaunchPlan& plan);

// Mounts the image with all that belongs to it on plan.upper, enters it, finds the step's
// user. Returns the descriptor of the step's working directory. With plan.supervisor the
// caller's mount namespace keeps the mounts on plan.upper, and the caller goes on in a new one.
int make_sandbox(const Reporter& report, const LaunchPlan& plan);

// For pid 1 of the step's pid namespace when the step has ended: kills the rest, takes the
// stubs away, reports. `usage`: of what was not a child of this process. `untouched_fd`: takes
// the inodes of directories that only stubs had changed (LaunchPlan::untouched_file), or -1.
[[noreturn]] void end_supervision(const Reporter& report, const LaunchPlan& plan, int status,
                                  const rusage& usage, int untouched_fd = -1);

uint64_t nanoseconds(const timeval& time);

}  // namespace kasane::exec
