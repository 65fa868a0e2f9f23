// Pid 1 of a step's namespaces: makes the sandbox, starts the step, reaps, and takes
// everything down with it. Entered right after clone(2).
#pragma once

#include "exec/sandbox/launch_plan.h"

namespace kasane::exec {

// Namespaces that the clone of the supervisor asks for.
uint64_t supervisor_namespaces(const LaunchPlan& plan);

// Never returns. Waits for a byte on plan.go_fd (the parent has written the id maps),
// dies with the thread that cloned it, ends when the step has ended.
[[noreturn]] void supervise(const LaunchPlan& plan);

}  // namespace kasane::exec
