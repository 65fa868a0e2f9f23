// What `kasane info` says about this host beside the sandbox mode. Tries things out, so it
// is for info alone; a build never asks. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "exec/executor.h"

namespace kasane::exec {

// A limit that a step's own cgroup can have here.
struct LimitReport {
  bool possible = false;
  std::string how;  // "cgroup v1" or "cgroup v2"; when impossible: why, and what would help
};

struct HostReport {
  SandboxSupport sandbox;  // probed anew; the answer is kept for builds
  // Modes of --network that work with what is installed, and what is missing for others.
  std::vector<std::string> networks, missing_networks;
  std::string cgroup_version;  // "1", "2"; of a hybrid host that of its memory controller
  LimitReport memory, pids;
  std::string seccomp_profile;  // the file that holds besides the built-in one, or ""
  std::string seccomp;  // where the profile comes from; "none" without support in the kernel
};

HostReport report_host(const std::string& store_directory);

}  // namespace kasane::exec
