// /proc, /sys, /dev, masked and read-only paths, generated files and the mounts of the
// step (reference reliability.md section 4, dockerfile.md N02, N03). Used between clone
// and exec, before the image's root is entered, so that host sources can be opened;
// every target is a descriptor found inside the image.
#pragma once

#include "exec/sandbox/child_support.h"
#include "exec/sandbox/launch_plan.h"

namespace kasane::exec {

// Mounts all of it below root_fd; stubs are recorded in plan.stubs and sealed.
void mount_system(const Reporter& report, const LaunchPlan& plan, int root_fd);

}  // namespace kasane::exec
