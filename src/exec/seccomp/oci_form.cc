#include "exec/seccomp/oci_form.h"

#include <seccomp.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <set>
#include <string_view>

#include "exec/seccomp/table.h"
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

std::vector<std::string> all_architectures() {
  std::vector<std::string> names;
  for (const SeccompAbi& abi : seccomp_abis()) names.emplace_back(abi.oci_name);
  return names;
}

// Writes the JSON text.
class Writer {
 public:
  Writer(std::string_view default_action, uint32_t default_error,
         const std::vector<std::string>& architectures) {
    text_ = "{\"defaultAction\":\"" + std::string(default_action) + '"';
    if (default_action == "SCMP_ACT_ERRNO")
      text_ += ",\"defaultErrnoRet\":" + std::to_string(default_error);
    text_ += ",\"architectures\":[";
    add(architectures);
    text_ += "],\"syscalls\":[";
  }

  void allow(const Names& names) { write(names, "\"SCMP_ACT_ALLOW\"", {}); }
  void deny(const Names& names) { write(names, kDenial, {}); }
  void allow_if(const char* name, const char* operation, uint64_t value, uint64_t second = 0) {
    write(Names{name}, "\"SCMP_ACT_ALLOW\"", {{0, operation, value, second}});
  }
  // MASKED_EQ takes the mask first. The kernel reads an int from these arguments, so the
  // high half must not make a difference.
  void deny_if(const char* name, uint64_t mask, uint64_t value) {
    write(Names{name}, kDenial, {{0, "SCMP_CMP_MASKED_EQ", mask, value}});
  }
  // `action` is JSON: the action, and what belongs to it.
  template <class Texts>
  void write(const Texts& names, const std::string& action,
             const std::vector<SeccompComparison>& comparisons) {
    if (names.empty()) return;
    if (text_.back() != '[') text_ += ',';
    text_ += "{\"names\":[";
    add(names);
    text_ += "],\"action\":" + action;
    if (!comparisons.empty()) text_ += ",\"args\":[";
    for (const SeccompComparison& comparison : comparisons)
      text_.append(text_.back() == '[' ? "" : ",").append(argument(comparison));
    text_ += comparisons.empty() ? "}" : "]}";
  }
  std::string take() { return std::move(text_) + "]}"; }

 private:
  static constexpr const char* kDenial = "\"SCMP_ACT_ERRNO\",\"errnoRet\":1";  // EPERM

  template <class Texts>
  void add(const Texts& texts) {
    for (const std::string& text : texts) {
      if (text_.back() != '[') text_ += ',';
      oci::write_json_string(text_, text);
    }
  }

  static std::string argument(const SeccompComparison& comparison) {
    return "{\"index\":" + std::to_string(comparison.index) +
           ",\"value\":" + std::to_string(comparison.value) +
           ",\"valueTwo\":" + std::to_string(comparison.value_two) + ",\"op\":\"" +
           comparison.operation + "\"}";
  }

  std::string text_;
};

void add_clone(Writer& writer) {
  writer.allow_if("clone", "SCMP_CMP_MASKED_EQ", kCloneNamespaceFlags, 0);
  for (uint32_t bit = 1; bit != 0; bit <<= 1)
    if ((kCloneNamespaceFlags & bit) != 0) writer.deny_if("clone", bit, bit);
}

void add_socket(Writer& writer) {
  for (uint32_t family = 0; family <= kLastFamily; ++family) {
    bool denied = std::find(std::begin(kDeniedSocketFamilies), std::end(kDeniedSocketFamilies),
                            family) != std::end(kDeniedSocketFamilies);
    if (denied)
      writer.deny_if("socket", kLowHalf, family);
    else
      writer.allow_if("socket", "SCMP_CMP_EQ", family);
  }
}

// A profile as it is: what it holds has been chosen for this host already.
std::string written(const SeccompProfile& profile) {
  Writer writer(profile.default_action, profile.default_error.value_or(EPERM),
                profile.architectures);
  for (const SeccompRule& rule : profile.rules) {
    std::string action = '"' + rule.action + '"';
    if (rule.error && rule.action == "SCMP_ACT_ERRNO")
      action += ",\"errnoRet\":" + std::to_string(*rule.error);
    writer.write(rule.names, action, rule.comparisons);
  }
  return writer.take();
}

}  // namespace

Result<std::string> oci_seccomp(const SeccompChoice& choice) {
  using Kind = SeccompChoice::Kind;
  if (choice.kind == Kind::kUnconfined) return std::string();
  if (choice.kind == Kind::kFile) return written(TRY(SeccompProfile::parse(choice.document)));
  const std::string path = choice.kind == Kind::kDefault ? installed_profile() : "";
  if (path.empty()) return make_seccomp_profile(nullptr);
  const SeccompProfile installed = TRY(read_profile(path));
  return make_seccomp_profile(&installed);
}

std::string make_seccomp_profile(const SeccompProfile* installed) {
  const auto allows = [&](const std::string& name) {
    return installed == nullptr || installed->lets_through(name) ||
           (is_special(name) && installed->lets_through(name, true));
  };
  Writer writer("SCMP_ACT_ERRNO", ENOSYS, all_architectures());
  Names allowed = allowed_names();
  std::erase_if(allowed, [&](const std::string& name) { return !allows(name); });
  writer.allow(allowed);
  Names denied = denied_names(allowed);
  for (const char* name : {"clone", "personality", "socket"})
    if (!allows(name)) denied.insert(name);
  writer.deny(denied);
  if (allows("clone")) add_clone(writer);
  if (allows("personality"))
    for (uint32_t personality : kAllowedPersonalities)
      writer.allow_if("personality", "SCMP_CMP_EQ", personality);
  if (allows("socket")) add_socket(writer);
  return writer.take();
}

}  // namespace kasane::exec
