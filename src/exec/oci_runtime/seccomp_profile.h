// The system call filter of RUN in the form of an OCI runtime's configuration, made from
// the same table as the built-in one (sandbox/seccomp_table.h).
#pragma once

#include <string>

namespace kasane::exec {

// The value of linux.seccomp. Same verdicts as build_seccomp_filter(), but for what the form
// cannot say: calls younger than libseccomp are ENOSYS (so that libc falls back), also the
// few that the built-in filter allows by number, and so are personalities that are not
// allowed and address families above 63. Thread-safe.
std::string make_seccomp_profile();

}  // namespace kasane::exec
