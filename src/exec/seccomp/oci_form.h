// The system call filter of RUN in the form of an OCI runtime's configuration: the same
// choices as seccomp/filters.h, from the same tables and profiles.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "exec/executor.h"
#include "exec/seccomp/profile.h"

namespace kasane::exec {

// The value of linux.seccomp, "" for none. Thread-safe.
Result<std::string> oci_seccomp(const SeccompChoice& choice);

// The built-in rules, without what `installed` (null: nothing) does not allow. Same verdicts as
// build_seccomp_filter(), but for what the form cannot say: calls younger than libseccomp are
// ENOSYS (so that libc falls back), also the few that the built-in filter allows by number, and
// so are personalities that are not allowed and address families above 63.
std::string make_seccomp_profile(const SeccompProfile* installed);

}  // namespace kasane::exec
