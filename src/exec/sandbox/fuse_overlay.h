// The merged root by fuse-overlayfs, where the kernel refuses its own overlayfs.
// Used between clone and exec, in a private mount namespace.
#pragma once

#include <sys/types.h>

#include "exec/sandbox/child_support.h"
#include "exec/sandbox/image_root.h"

namespace kasane::exec {

// A running fuse-overlayfs. What it prints is kept in memory and shown when it fails.
struct FuseDaemon {
  pid_t pid = -1;
  int log_fd = -1;
  // Below plan.work: the daemon looks its directories up by name before it answers, so
  // none of them may be behind its own mount.
  FixedText<4352> mount_point;
};

// Mounts below plan.work and starts `program` (absolute path) as a child. We open the device
// and mount ourselves, so fusermount, setuid or the host's /etc/fuse.conf play no part; every
// path it gets is a descriptor number. Ends the process on failure.
FuseDaemon start_fuse_overlay(const Reporter& report, const RootPlan& plan, int upper_fd,
                              const char* program);

// The root directory once the daemon answers.
int open_fuse_root(const Reporter& report, const FuseDaemon& daemon);

// Writes everything out, unmounts, ends the daemon. Fails when it had died before: the
// upper directory may lack writes of the step then.
void stop_fuse_overlay(const Reporter& report, int root_fd, const FuseDaemon& daemon);

}  // namespace kasane::exec
