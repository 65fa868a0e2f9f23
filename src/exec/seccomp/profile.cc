#include "exec/seccomp/profile.h"

#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <span>
#include <utility>

#include "base/fd.h"
#include "exec/capabilities.h"
#include "exec/seccomp/table.h"
#include "oci/json.h"
#include "oci/platform.h"

namespace kasane::exec {
namespace {

constexpr std::string_view kWhat = "seccomp profile";
constexpr const char* kInstalled[] = {"/etc/containers/seccomp.json",
                                      "/usr/share/containers/seccomp.json"};
constexpr std::string_view kActions[] = {
    "SCMP_ACT_ALLOW",        "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP",  "SCMP_ACT_LOG"};
constexpr std::string_view kOperations[] = {"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE",
                                            "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT",
                                            "SCMP_CMP_MASKED_EQ"};
constexpr uint32_t kLastError = 4095;  // MAX_ERRNO of the kernel

bool holds(std::span<const std::string_view> list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool holds(const std::vector<std::string>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

Error invalid(const std::string& what) {
  return Error(ErrorKind::kInvalid, std::string(kWhat) + ": " + what);
}

std::span<const oci::Json> items_of(const oci::Json* array_or_null) {
  return array_or_null != nullptr ? std::span(array_or_null->items) : std::span<const oci::Json>();
}

Result<uint64_t> number_of(const oci::Json& object, std::string_view key) {
  const oci::Json* value = object.find(key);
  if (value == nullptr || value->is_null()) return 0;
  uint64_t number = 0;
  const char* end = value->text.data() + value->text.size();
  auto [rest, error] = std::from_chars(value->text.data(), end, number);
  if (value->type != oci::Json::Type::kNumber || error != std::errc() || rest != end)
    return invalid(std::string(key) + " is not a whole number below 2^64");
  return number;
}

// The number in `number_key`, or the name ("EPERM") in `name_key`.
Result<std::optional<uint32_t>> error_of(const oci::Json& object, std::string_view number_key,
                                         std::string_view name_key) {
  if (const oci::Json* value = object.find(number_key); value != nullptr && !value->is_null()) {
    const uint64_t number = TRY(number_of(object, number_key));
    if (number > kLastError) return invalid(std::string(number_key) + " is no error number");
    return std::optional(static_cast<uint32_t>(number));
  }
  const oci::Json* name = object.find(name_key);
  if (name == nullptr || !name->is_string() || name->text.empty()) return std::optional<uint32_t>();
  for (uint32_t number = 1; number < 256; ++number) {
    const char* known = ::strerrorname_np(static_cast<int>(number));
    if (known != nullptr && name->text == known) return std::optional(number);
  }
  return invalid(std::string(name_key) + " " + name->text + " is no error of this system");
}

Result<std::string> action_of(const oci::Json& object, std::string_view key) {
  const oci::Json* action = object.find(key);
  if (action == nullptr || !action->is_string()) return invalid(std::string(key) + " is missing");
  if (action->text == "SCMP_ACT_TRACE" || action->text == "SCMP_ACT_NOTIFY")
    return Error(ErrorKind::kUnsupported, std::string(kWhat) + ": " + action->text +
                                              " needs a process that answers, and there is none");
  if (!holds(std::span(kActions), action->text))
    return invalid("unknown action " + action->text);
  return action->text;
}

// Where a rule holds: members arches, caps and minKernel of "includes" and "excludes".
struct Conditions {
  std::vector<std::string> arches, caps;
  std::string min_kernel;

  static Result<Conditions> parse(const oci::Json& rule, std::string_view key) {
    Conditions conditions;
    oci::JsonReader reader(rule, kWhat);
    const oci::Json* object = TRY(reader.object(key));
    if (object == nullptr) return conditions;
    oci::JsonReader members(*object, kWhat);
    TRY(members.get("arches", conditions.arches));
    TRY(members.get("caps", conditions.caps));
    TRY(members.get("minKernel", conditions.min_kernel));
    return conditions;
  }
};

// This host, as the conditions see it.
struct Host {
  std::string arch;  // Go's name
  std::vector<std::string> caps;
  std::pair<unsigned, unsigned> kernel;

  static Host here() {
    utsname name{};
    ::uname(&name);
    return {oci::Platform::host().architecture, capability_names(default_capabilities()),
            version(name.release)};
  }
  static std::pair<unsigned, unsigned> version(std::string_view text) {
    unsigned major = 0, minor = 0;
    auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), major);
    if (error == std::errc() && rest != text.data() + text.size() && *rest == '.')
      std::from_chars(rest + 1, text.data() + text.size(), minor);
    return {major, minor};
  }

  bool includes(const Conditions& wanted) const {
    if (!wanted.arches.empty() && !holds(wanted.arches, arch)) return false;
    for (const std::string& cap : wanted.caps)
      if (!holds(caps, cap)) return false;
    return wanted.min_kernel.empty() || kernel >= version(wanted.min_kernel);
  }
  bool excludes(const Conditions& wanted) const {
    if (holds(wanted.arches, arch)) return true;
    for (const std::string& cap : wanted.caps)
      if (holds(caps, cap)) return true;
    return !wanted.min_kernel.empty() && kernel >= version(wanted.min_kernel);
  }
};

Result<std::vector<SeccompComparison>> comparisons_of(const oci::Json& rule) {
  std::vector<SeccompComparison> comparisons;
  const oci::Json* args = TRY(oci::JsonReader(rule, kWhat).array("args"));
  for (const oci::Json& arg : items_of(args)) {
    if (!arg.is_object()) return invalid("an argument of a rule is no object");
    SeccompComparison comparison;
    const uint64_t index = TRY(number_of(arg, "index"));
    if (index > 5) return invalid("a system call has the arguments 0 to 5, not " + std::to_string(index));
    comparison.index = static_cast<uint32_t>(index);
    comparison.value = TRY(number_of(arg, "value"));
    comparison.value_two = TRY(number_of(arg, "valueTwo"));
    TRY(oci::JsonReader(arg, kWhat).get("op", comparison.operation));
    if (!holds(std::span(kOperations), comparison.operation))
      return invalid("unknown comparison " + comparison.operation);
    comparisons.push_back(std::move(comparison));
  }
  return comparisons;
}

// Nothing where the rule is for other hosts or capabilities.
Result<std::optional<SeccompRule>> rule_of(const oci::Json& json, const Host& host) {
  if (!json.is_object()) return invalid("a rule is no object");
  const Conditions includes = TRY(Conditions::parse(json, "includes"));
  const Conditions excludes = TRY(Conditions::parse(json, "excludes"));
  SeccompRule rule;
  oci::JsonReader reader(json, kWhat);
  TRY(reader.get("names", rule.names));
  std::string name;  // the old form
  TRY(reader.get("name", name));
  if (!name.empty()) rule.names.push_back(name);
  rule.action = TRY(action_of(json, "action"));
  rule.error = TRY(error_of(json, "errnoRet", "errno"));
  rule.comparisons = TRY(comparisons_of(json));
  if (!host.includes(includes) || host.excludes(excludes)) return std::optional<SeccompRule>();
  return std::optional(std::move(rule));
}

std::string native_architecture() { return seccomp_abis()[0].oci_name; }

Result<std::vector<std::string>> architectures_of(const oci::Json& profile) {
  std::vector<std::string> wanted;
  oci::JsonReader reader(profile, kWhat);
  TRY(reader.get("architectures", wanted));
  const oci::Json* map = TRY(reader.array("archMap"));
  for (const oci::Json& entry : items_of(map)) {
    if (!entry.is_object()) return invalid("an entry of archMap is no object");
    oci::JsonReader members(entry, kWhat);
    std::string name;
    std::vector<std::string> with;
    TRY(members.get("architecture", name));
    TRY(members.get("subArchitectures", with));
    if (name == native_architecture()) wanted.insert(wanted.end(), with.begin(), with.end());
  }
  std::vector<std::string> known;  // to this kernel
  for (const SeccompAbi& abi : seccomp_abis())
    if (abi.oci_name == native_architecture() || holds(wanted, abi.oci_name))
      known.emplace_back(abi.oci_name);
  return known;
}

}  // namespace

Result<SeccompProfile> SeccompProfile::parse(std::string_view document) {
  const oci::Json json = TRY(oci::Json::parse(document, kWhat));
  if (!json.is_object()) return invalid("it is no object");
  SeccompProfile profile;
  profile.default_action = TRY(action_of(json, "defaultAction"));
  profile.default_error = TRY(error_of(json, "defaultErrnoRet", "defaultErrno"));
  profile.architectures = TRY(architectures_of(json));
  const oci::Json* rules = TRY(oci::JsonReader(json, kWhat).array("syscalls"));
  const Host host = Host::here();
  for (const oci::Json& item : items_of(rules)) {
    std::optional<SeccompRule> rule = TRY(rule_of(item, host));
    if (rule) profile.rules.push_back(std::move(*rule));
  }
  return profile;
}

bool SeccompProfile::lets_through(std::string_view name, bool sometimes) const {
  bool allowed = default_action == "SCMP_ACT_ALLOW";
  for (const SeccompRule& rule : rules)
    if (holds(rule.names, name) && (sometimes || rule.comparisons.empty()))
      allowed = rule.action == "SCMP_ACT_ALLOW" || (sometimes && allowed);
  return allowed;
}

Result<SeccompChoice> read_seccomp_choice(const std::string& text) {
  if (text == "unconfined") return SeccompChoice{SeccompChoice::Kind::kUnconfined, "", ""};
  if (text == "builtin") return SeccompChoice{SeccompChoice::Kind::kBuiltin, "", ""};
  SeccompChoice choice{SeccompChoice::Kind::kFile, text, ""};
  choice.document = TRY_CONTEXT(read_file(text, kMaxProfile),
                                "--security-opt seccomp=FILE|builtin|unconfined");
  TRY_CONTEXT(SeccompProfile::parse(choice.document), "read " + text);
  return choice;
}

std::string installed_profile() {
  for (const char* path : kInstalled)
    if (::access(path, R_OK) == 0) return path;
  return "";
}

Result<SeccompProfile> read_profile(const std::string& path) {
  const std::string document = TRY(read_file(path, kMaxProfile));
  return TRY_CONTEXT(SeccompProfile::parse(document), "read " + path);
}

}  // namespace kasane::exec
