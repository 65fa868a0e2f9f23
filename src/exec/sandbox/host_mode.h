// How steps are run on this host: as root, or in which user namespace.
#pragma once

#include <string>

#include "base/result.h"
#include "exec/executor.h"
#include "exec/userns.h"

namespace kasane::exec {

struct HostMode {
  SandboxMode mode = SandboxMode::kRoot;
  Storage storage = Storage::kOverlay;
  IdMaps maps;  // unless kRoot
};

// Probes only when no kept answer still holds. kUnsupported, with a hint that names what is
// missing, when RUN is impossible.
Result<HostMode> choose_host_mode(const std::string& store_directory);

}  // namespace kasane::exec
