// Tries one way to make a step's file system. Internal to probe.cc.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "exec/executor.h"
#include "exec/userns.h"

namespace kasane::exec {

struct ProbeOutcome {
  std::optional<Error> failure;  // this storage does not work; another one may
};

// Mounts and uses it in a child, below the nearest existing ancestor of the store, and
// leaves nothing behind. An error means that no RUN is possible whatever the storage:
// namespaces, id maps or a new /proc are refused, or the store cannot be written to.
Result<ProbeOutcome> probe_storage(const std::string& store_directory, SandboxMode mode,
                                   Storage storage, const IdMaps& maps);

}  // namespace kasane::exec
