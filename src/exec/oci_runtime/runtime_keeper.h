// The two processes that stand between the builder and a step of an OCI runtime.
//
//   builder -> runtime keeper -> step keeper
//                            \-> runtime (create, start) -> step
//
// The runtime keeper is pid 1 of a pid and mount namespace that runtime and step live in,
// so `kill -9` of the builder takes everything with it (fact 0.4), and the state directory
// of the runtime lies on a tmpfs of that mount namespace. The step keeper is pid 1 of the
// pid namespace that the step sees: it mounts the image, checks that the program can be
// started, reaps and cleans up, exactly as the supervisor of the built-in sandbox. The
// runtime is left with what it is needed for: entering namespaces and root, limits,
// capabilities, filter, user, exec. It mounts nothing, and nothing of the image reaches
// its configuration but the user's ids, HOME, and what the Dockerfile says.
#pragma once

#include "exec/oci_runtime/runtime_plan.h"
#include "exec/sandbox/launch_plan.h"

namespace kasane::exec {

// For LaunchPlan::supervisor. Used between clone and exec; never returns.
void keep_runtime(const LaunchPlan& plan);

}  // namespace kasane::exec
