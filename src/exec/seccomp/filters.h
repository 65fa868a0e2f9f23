// The programs that a step loads, for what the user has chosen.
#pragma once

#include <linux/filter.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "exec/executor.h"
#include "exec/seccomp/profile.h"

namespace kasane::exec {

// For seccomp(2), in the order of loading; the kernel asks all, and the strictest answer
// holds. At most two.
using SeccompFilters = std::vector<std::vector<sock_filter>>;

// kDefault: the built-in filter, and the host's installed profile (installed_profile()) over
// it: that one is kept up to date by the distribution and changed by the administrator, but is
// written for containers that run, so it never allows what Docker's forbids. Its program is
// kept in the store, because libseccomp needs long to make it. Thread-safe.
Result<SeccompFilters> seccomp_filters(const std::string& store_directory,
                                       const SeccompChoice& choice);

// By libseccomp. kUnsupported when the rules contradict each other or are too many.
Result<std::vector<sock_filter>> compile_profile(const SeccompProfile& profile);

}  // namespace kasane::exec
