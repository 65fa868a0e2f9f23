// Internals of probe_sandbox that make_sandbox_executor shares.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "exec/executor.h"

namespace kasane::exec {

// Effective uid 0 in the initial user namespace with CAP_SYS_ADMIN: trusted xattrs and
// device nodes work, overlayfs needs no userxattr.
bool is_privileged_root();

// $KASANE_STORAGE: overlay, fuse-overlayfs or copy. kInvalid for another word.
Result<std::optional<Storage>> forced_storage();

// What the last probe_sandbox() found, as long as nothing that it depends on is another:
// kernel, store's file system, user and maps, helper programs and their settings. Only
// modes in which RUN works are kept, in <store>/sandbox.<uid>; a file that cannot be read
// or written is no error.
std::optional<SandboxSupport> cached_support(const std::string& store_directory);
void keep_support(const std::string& store_directory, const SandboxSupport& support);

// The error for a RUN that is not possible, with all that is missing.
Error refusal(const SandboxSupport& support);

}  // namespace kasane::exec
