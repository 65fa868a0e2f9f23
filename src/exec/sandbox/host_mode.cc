#include "exec/sandbox/host_mode.h"

#include "exec/sandbox/probe.h"

namespace kasane::exec {

Result<HostMode> choose_host_mode(const std::string& store_directory) {
  // Root with the needed capability is not probed by a mount: the step itself is the
  // probe, and its errors carry the same hints.
  if (is_privileged_root()) return HostMode{};
  SandboxSupport support = probe_sandbox(store_directory);
  if (support.mode == SandboxMode::kNone) {
    Error error(ErrorKind::kUnsupported, "RUN is not possible on this host: " + support.reason);
    std::string hint;
    for (const std::string& item : support.missing) hint += (hint.empty() ? "" : "; ") + item;
    return hint.empty() ? std::move(error) : std::move(error).hint("missing: " + hint);
  }
  return HostMode{support.mode, load_id_maps()};
}

}  // namespace kasane::exec
