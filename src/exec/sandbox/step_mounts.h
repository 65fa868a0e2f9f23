// The mounts that a step asked for (reference RM1-RM8). Used between clone and exec,
// before the image's root is entered, so that host paths can be opened; every target is
// a descriptor found inside the image.
#pragma once

#include "exec/sandbox/launch_plan.h"
#include "exec/sandbox/tree_walk.h"

namespace kasane::exec {

// Makes plan.mounts in their order. plan.work, no longer needed by its name, becomes the
// place of private helper file systems that the step never sees.
void mount_requested(const Reporter& report, const LaunchPlan& plan, int root_fd);

// Puts the detached mount on `path` in the image, closes it. Missing parts of the path
// are made and recorded as stubs.
void attach_in_image(const Reporter& report, const LaunchPlan& plan, int root_fd, int tree,
                     const char* path, WalkKind kind);

}  // namespace kasane::exec
