// Over whole number ranges.
#include "exec/seccomp/builtin_filter.h"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/syscall.h>

#include <cerrno>
#include <set>

#include "exec/seccomp/filter_machine.h"
#include "exec/seccomp/table.h"

namespace kasane::exec {
namespace {

constexpr uint32_t kAllow = SECCOMP_RET_ALLOW;
constexpr uint32_t kEperm = SECCOMP_RET_ERRNO | EPERM;
constexpr uint32_t kEnosys = SECCOMP_RET_ERRNO | ENOSYS;

uint32_t ask(uint32_t arch, uint32_t number, uint64_t first_argument = 0) {
  static const std::vector<sock_filter> code = build_seccomp_filter();
  return filter_answer(code, arch, number, first_argument);
}

#if defined(__x86_64__)
TEST(SeccompFilter, AllowsExactlyTheTable) {
  struct Abi {
    uint32_t audit, library, base;
  };
  for (const Abi& abi : {Abi{AUDIT_ARCH_X86_64, SCMP_ARCH_X86_64, 0},
                         Abi{AUDIT_ARCH_X86_64, SCMP_ARCH_X32, 0x40000000},
                         Abi{AUDIT_ARCH_I386, SCMP_ARCH_X86, 0}}) {
    std::set<uint32_t> allowed;
    for (const char* name : always_allowed_syscalls()) {
      int number = seccomp_syscall_resolve_name_arch(abi.library, name);
      if (number >= 0) allowed.insert(static_cast<uint32_t>(number));
    }
    for (uint32_t number : allowed_modern_syscalls()) allowed.insert(number | abi.base);
    for (const char* name : {"clone", "socket", "personality"}) {
      int number = seccomp_syscall_resolve_name_arch(abi.library, name);
      if (number >= 0) allowed.insert(static_cast<uint32_t>(number));
    }
    for (uint32_t number = abi.base; number <= abi.base + kLastJudgedSyscall; ++number) {
      uint32_t expected = allowed.contains(number) ? kAllow : kEperm;
      if (number == abi.base + 435) expected = kEnosys;  // clone3
      EXPECT_EQ(ask(abi.audit, number), expected) << abi.base << "+" << number;
    }
    EXPECT_EQ(ask(abi.audit, abi.base + kLastJudgedSyscall + 1), kEnosys);
    EXPECT_EQ(ask(abi.audit, abi.base + 600), kEnosys);
  }
  EXPECT_EQ(ask(AUDIT_ARCH_AARCH64, 0), kEperm);
  EXPECT_EQ(ask(AUDIT_ARCH_X86_64, 0xffffffff), kEnosys);
}

TEST(SeccompFilter, JudgesArguments) {
  constexpr uint32_t kArch = AUDIT_ARCH_X86_64;
  EXPECT_EQ(ask(kArch, SYS_clone, 0x01200011), kAllow);
  for (uint64_t flag :
       {0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000})
    EXPECT_EQ(ask(kArch, SYS_clone, flag | 17), kEperm) << flag;
  for (uint64_t family = 0; family < 64; ++family)
    EXPECT_EQ(ask(kArch, SYS_socket, family), family == 38 || family == 40 ? kEperm : kAllow);
  EXPECT_EQ(ask(kArch, SYS_socket, 38 | (uint64_t{1} << 32)), kEperm);
  EXPECT_EQ(ask(kArch, SYS_personality, 0x20008), kAllow);
  EXPECT_EQ(ask(kArch, SYS_personality, 0x0040000), kEperm);
}
#endif

}  // namespace
}  // namespace kasane::exec
