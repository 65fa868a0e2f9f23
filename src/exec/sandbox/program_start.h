// Finding and starting the program of a step, inside the image and as its user.
#pragma once

#include "exec/sandbox/child_support.h"
#include "exec/sandbox/launch_plan.h"

namespace kasane::exec {

// Looks argv[0] up in plan.path unless it has a slash, and executes it. Reports
// kExecError with a sentence that names the cause, and exits with 126 or 127.
[[noreturn]] void start_program(const Reporter& report, const LaunchPlan& plan);

}  // namespace kasane::exec
