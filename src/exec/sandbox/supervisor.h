// Pid 1 of a step's namespaces: makes the sandbox, starts the step, reaps, and takes
// everything down with it. Entered right after clone(2).
#pragma once

#include "exec/sandbox/launch_plan.h"

namespace kasane::exec {

// Namespaces that the clone of the supervisor asks for.
uint64_t supervisor_namespaces(const LaunchPlan& plan);

// Never returns. Waits for a byte on plan.go_fd (the parent has written the id maps),
// ends when the step or the builder has ended, whichever comes first. The parent-death
// signal alone would not do: a builder that dies before it is armed sends none.
[[noreturn]] void supervise(const LaunchPlan& plan);

}  // namespace kasane::exec
