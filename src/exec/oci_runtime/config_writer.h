// Writing config.json between clone and exec, when the step's user is known.
#pragma once

#include <sys/types.h>

#include <string_view>

#include "exec/oci_runtime/runtime_plan.h"
#include "exec/sandbox/launch_plan.h"

namespace kasane::exec {

// A runtime's configuration is JSON, which holds nothing else. Also for the builder.
bool is_utf8(std::string_view text);

// Writes the file. `step_keeper`: whose namespaces the step gets, a pid of this process's /proc.
void write_config(const Reporter& report, const LaunchPlan& plan, pid_t step_keeper);

}  // namespace kasane::exec
