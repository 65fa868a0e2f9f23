// Seccomp profiles in the JSON form that Docker and containers-common share: rules by names of
// system calls, some of them for certain capabilities, architectures or kernels only.
// Semantics: Docker's and runc's. Input is hostile: limits of oci::Json, and of kMaxProfile.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "exec/executor.h"

namespace kasane::exec {

inline constexpr uint64_t kMaxProfile = 1 << 20;  // bytes

struct SeccompComparison {
  uint32_t index = 0;     // of the argument, 0 to 5
  std::string operation;  // "SCMP_CMP_EQ"
  uint64_t value = 0, value_two = 0;
};

struct SeccompRule {
  std::vector<std::string> names;
  std::string action;             // "SCMP_ACT_ALLOW"
  std::optional<uint32_t> error;  // of SCMP_ACT_ERRNO; EPERM without
  std::vector<SeccompComparison> comparisons;
};

// What is left of a profile for the architecture and the kernel of this host and for the
// default capabilities of a step. Pure value.
struct SeccompProfile {
  std::string default_action;
  std::optional<uint32_t> default_error;
  std::vector<std::string> architectures;  // "SCMP_ARCH_X86_64", the native one among them
  std::vector<SeccompRule> rules;

  // kInvalid, kLimit; kUnsupported for an action that needs another process (trace, notify).
  static Result<SeccompProfile> parse(std::string_view document);

  // Whether a call is allowed whatever its arguments; `sometimes`: or with some.
  bool lets_through(std::string_view name, bool sometimes = false) const;
};

// The value of --security-opt seccomp=: "unconfined", "builtin", or a file, which is read and
// checked here.
Result<SeccompChoice> read_seccomp_choice(const std::string& text);

// The profile that the administrator or the distribution has installed for containers, or "".
std::string installed_profile();
// Reads and parses that file.
Result<SeccompProfile> read_profile(const std::string& path);

}  // namespace kasane::exec
