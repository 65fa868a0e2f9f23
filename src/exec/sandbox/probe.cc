// probe_sandbox: what this host lets us do, found out by doing it in a child.
#include "exec/sandbox/probe.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/fd.h"
#include "exec/sandbox/storage_probe.h"

namespace kasane::exec {
namespace {

constexpr Storage kOrder[] = {Storage::kOverlay, Storage::kFuseOverlay, Storage::kCopy};

bool has_capability(int capability) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return false;
  return (data[capability / 32].effective >> (capability % 32) & 1) != 0;
}

bool in_initial_user_namespace() {
  auto map = read_file("/proc/self/uid_map", 4096);
  return map && map->find("0          0 4294967295") != std::string::npos;
}

std::string storage_name(Storage storage, SandboxMode mode) {
  if (storage == Storage::kOverlay)
    return mode == SandboxMode::kRoot ? "overlayfs" : "overlayfs (userxattr)";
  return storage == Storage::kFuseOverlay ? "fuse-overlayfs" : "copy";
}

void add_missing(SandboxSupport& support, const std::string& item) {
  auto& list = support.missing;
  if (!item.empty() && std::find(list.begin(), list.end(), item) == list.end())
    list.push_back(item);
}

void note_failure(SandboxSupport& support, const Error& error) {
  if (!support.reason.empty()) support.reason += "; ";
  support.reason += error.full_message();
  add_missing(support, error.hint_text());
}

// The best storage that works; what is missing for the better ones is noted.
void choose_storage(SandboxSupport& support, const std::string& store_directory, SandboxMode mode,
                    const IdMaps& maps) {
  Result<std::optional<Storage>> forced = forced_storage();
  if (!forced) return note_failure(support, forced.error());
  for (Storage storage : kOrder) {
    if (*forced && **forced != storage) continue;
    Result<ProbeOutcome> tried = probe_storage(store_directory, mode, storage, maps);
    if (!tried) return note_failure(support, tried.error());
    if (tried->failure) {
      note_failure(support, std::move(*tried->failure).context(storage_name(storage, mode)));
      continue;
    }
    support.mode = mode;
    support.storage_kind = storage;
    support.storage = storage_name(storage, mode);
    return;
  }
}

}  // namespace

bool is_privileged_root() {
  return ::geteuid() == 0 && has_capability(CAP_SYS_ADMIN) && in_initial_user_namespace();
}

Result<std::optional<Storage>> forced_storage() {
  const char* value = std::getenv("KASANE_STORAGE");
  const std::string_view word = value != nullptr ? value : "";
  if (word.empty()) return std::optional<Storage>();
  if (word == "overlay") return std::optional(Storage::kOverlay);
  if (word == "fuse-overlayfs") return std::optional(Storage::kFuseOverlay);
  if (word == "copy") return std::optional(Storage::kCopy);
  return Error(ErrorKind::kInvalid, "KASANE_STORAGE=" + std::string(word) + " is unknown")
      .hint("set it to overlay, fuse-overlayfs or copy, or not at all");
}

SandboxSupport probe_sandbox(const std::string& store_directory) {
  SandboxSupport support;
  SandboxMode mode = SandboxMode::kRoot;
  IdMaps maps;
  if (!is_privileged_root()) {
    maps = load_id_maps();
    mode = maps.single ? SandboxMode::kSingleUid : SandboxMode::kRootlessRange;
    support.reason = maps.reason;
    support.missing = maps.missing;
  }
  choose_storage(support, store_directory, mode, maps);
  keep_support(store_directory, support);
  return support;
}

Error refusal(const SandboxSupport& support) {
  std::string list;
  for (const std::string& item : support.missing) list += (list.empty() ? "" : "; ") + item;
  Error error(ErrorKind::kUnsupported, "RUN is not possible on this host: " + support.reason);
  return list.empty() ? std::move(error) : std::move(error).hint("missing: " + list);
}

}  // namespace kasane::exec
