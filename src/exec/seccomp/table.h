// Data of the RUN filter. Facts of Docker's default profile.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <span>

namespace kasane::exec {

// Names that are allowed whatever the arguments. A name that an architecture (or this
// libseccomp) does not know is skipped.
std::span<const char* const> always_allowed_syscalls();

// Allowed calls that are younger than Debian 12's libseccomp. Numbers from 424 on are
// the same on every architecture.
std::span<const uint32_t> allowed_modern_syscalls();

// Checks of one argument. clone: none of CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID and NET;
// personality: PER_LINUX, PER_LINUX32, both with UNAME26, and "only ask"; socket: the family.
inline constexpr uint32_t kCloneNamespaceFlags = 0x7e020000;
inline constexpr uint32_t kAllowedPersonalities[] = {0x0, 0x8, 0x20000, 0x20008, 0xffffffff};
inline constexpr uint32_t kDeniedSocketFamilies[] = {AF_ALG, AF_VSOCK};

// An ABI of this kernel: what seccomp_data.arch says, and libseccomp's and OCI's names for
// it. x32 shares the audit value of x86-64 and differs by a bit of the number.
struct SeccompAbi {
  uint32_t audit_arch;
  uint32_t library_arch;
  uint32_t number_base;
  const char* oci_name;
};
std::span<const SeccompAbi> seccomp_abis();

// The youngest call that was judged when the table was written.
inline constexpr uint32_t kLastJudgedSyscall = 469;

}  // namespace kasane::exec
