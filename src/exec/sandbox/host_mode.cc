#include "exec/sandbox/host_mode.h"

#include "exec/sandbox/probe.h"

namespace kasane::exec {

Result<HostMode> choose_host_mode(const std::string& store_directory) {
  TRY(forced_storage());
  std::optional<SandboxSupport> support = cached_support(store_directory);
  if (!support) support = probe_sandbox(store_directory);
  if (support->mode == SandboxMode::kNone) return refusal(*support);
  IdMaps maps = support->mode == SandboxMode::kRoot ? IdMaps{} : load_id_maps();
  return HostMode{support->mode, support->storage_kind, std::move(maps)};
}

}  // namespace kasane::exec
