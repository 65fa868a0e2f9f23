// Device nodes of the host for Security::kInsecure (reference R08).
#pragma once

#include "exec/sandbox/child_support.h"

namespace kasane::exec {

// Makes the character and block devices below the host directory `path` in `to_fd`, with
// owner and mode; what is there already stays, links and other mounts' trees (pts, shm,
// mqueue) are left out. Needs CAP_MKNOD. Used between clone and exec.
void copy_device_nodes(const Reporter& report, const char* path, int to_fd);

}  // namespace kasane::exec
