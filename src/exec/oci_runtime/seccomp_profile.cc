#include "exec/oci_runtime/seccomp_profile.h"

#include <seccomp.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <set>
#include <string_view>

#include "exec/sandbox/seccomp_table.h"
#include "oci/json.h"

namespace kasane::exec {
namespace {

using Names = std::set<std::string>;

// Those with rules about arguments, or (clone3) with the answer ENOSYS.
constexpr std::string_view kSpecial[] = {"clone", "clone3", "socket", "personality"};
constexpr uint32_t kLastFamily = 63;  // far above AF_MAX
constexpr uint64_t kLowHalf = 0xffffffff;

bool is_special(std::string_view name) {
  return std::find(std::begin(kSpecial), std::end(kSpecial), name) != std::end(kSpecial);
}

// Names that the runtime would not know are left out: some refuse them.
Names allowed_names() {
  Names names;
  for (const char* name : always_allowed_syscalls())
    for (const SeccompAbi& abi : seccomp_abis())
      if (seccomp_syscall_resolve_name_arch(abi.library_arch, name) >= 0) names.insert(name);
  return names;
}

// All others that libseccomp knows. They are listed because the default is another answer.
Names denied_names(const Names& allowed) {
  Names names;
  for (const SeccompAbi& abi : seccomp_abis())
    for (uint32_t number = 0; number <= kLastJudgedSyscall + 128; ++number) {  // x32: from 512
      char* name = seccomp_syscall_resolve_num_arch(abi.library_arch,
                                                    static_cast<int>(number | abi.number_base));
      if (name == nullptr) continue;
      if (!allowed.contains(name) && !is_special(name)) names.insert(name);
      std::free(name);
    }
  return names;
}

class Profile {
 public:
  Profile() {
    text_ = "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":" + std::to_string(ENOSYS) +
            ",\"architectures\":[";
    for (const SeccompAbi& abi : seccomp_abis()) {
      if (text_.back() != '[') text_ += ',';
      oci::write_json_string(text_, abi.oci_name);
    }
    text_ += "],\"syscalls\":[";
  }

  void allow(const Names& names) { rule(names, "\"SCMP_ACT_ALLOW\""); }
  void deny(const Names& names) { rule(names, kDenial); }
  void allow_if(const char* name, const char* operation, uint64_t value, uint64_t second = 0) {
    rule({name}, "\"SCMP_ACT_ALLOW\"", argument(operation, value, second));
  }
  // MASKED_EQ takes the mask first. The kernel reads an int from these arguments, so the
  // high half must not make a difference.
  void deny_if(const char* name, uint64_t mask, uint64_t value) {
    rule({name}, kDenial, argument("SCMP_CMP_MASKED_EQ", mask, value));
  }
  std::string take() { return std::move(text_) + "]}"; }

 private:
  static constexpr const char* kDenial = "\"SCMP_ACT_ERRNO\",\"errnoRet\":1";  // EPERM

  static std::string argument(const char* operation, uint64_t value, uint64_t second) {
    return ",\"args\":[{\"index\":0,\"value\":" + std::to_string(value) +
           ",\"valueTwo\":" + std::to_string(second) + ",\"op\":\"" + operation + "\"}]";
  }

  void rule(const Names& names, const char* action, const std::string& arguments = "") {
    if (text_.back() != '[') text_ += ',';
    text_ += "{\"names\":[";
    for (const std::string& name : names) {
      if (text_.back() != '[') text_ += ',';
      oci::write_json_string(text_, name);
    }
    text_.append("],\"action\":").append(action).append(arguments).append("}");
  }

  std::string text_;
};

}  // namespace

std::string make_seccomp_profile() {
  Profile profile;
  Names allowed = allowed_names();
  profile.allow(allowed);
  profile.deny(denied_names(allowed));
  profile.allow_if("clone", "SCMP_CMP_MASKED_EQ", kCloneNamespaceFlags, 0);
  for (uint32_t bit = 1; bit != 0; bit <<= 1)
    if ((kCloneNamespaceFlags & bit) != 0) profile.deny_if("clone", bit, bit);
  for (uint32_t personality : kAllowedPersonalities)
    profile.allow_if("personality", "SCMP_CMP_EQ", personality);
  for (uint32_t family = 0; family <= kLastFamily; ++family) {
    bool denied = std::find(std::begin(kDeniedSocketFamilies), std::end(kDeniedSocketFamilies),
                            family) != std::end(kDeniedSocketFamilies);
    if (denied)
      profile.deny_if("socket", kLowHalf, family);
    else
      profile.allow_if("socket", "SCMP_CMP_EQ", family);
  }
  return profile.take();
}

}  // namespace kasane::exec
