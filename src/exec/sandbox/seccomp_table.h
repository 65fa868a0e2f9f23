// Data of the RUN filter. Facts of Docker's default profile.
#pragma once

#include <cstdint>
#include <span>

namespace kasane::exec {

// Names that are allowed whatever the arguments. A name that an architecture (or this
// libseccomp) does not know is skipped.
std::span<const char* const> always_allowed_syscalls();

// Allowed calls that are younger than Debian 12's libseccomp. Numbers from 424 on are
// the same on every architecture.
std::span<const uint32_t> allowed_modern_syscalls();

// The youngest call that was judged when the table was written.
inline constexpr uint32_t kLastJudgedSyscall = 469;

}  // namespace kasane::exec
