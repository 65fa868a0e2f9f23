#include "exec/seccomp/filters.h"

#include <seccomp.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>

#include "base/fd.h"
#include "base/hash.h"
#include "exec/helpers.h"
#include "exec/seccomp/builtin_filter.h"
#include "exec/seccomp/table.h"

namespace kasane::exec {
namespace {

constexpr std::string_view kKeptFormat = "kasane seccomp 1\n";

struct ReleaseContext {
  void operator()(void* context) const { seccomp_release(context); }
};
using Context = std::unique_ptr<void, ReleaseContext>;

uint32_t action_value(const std::string& name, std::optional<uint32_t> error) {
  if (name == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(error.value_or(EPERM));
  if (name == "SCMP_ACT_TRAP") return SCMP_ACT_TRAP;
  if (name == "SCMP_ACT_LOG") return SCMP_ACT_LOG;
  return name == "SCMP_ACT_KILL_PROCESS" ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_KILL_THREAD;
}

scmp_arg_cmp comparison_of(const SeccompComparison& comparison) {
  static constexpr std::pair<std::string_view, scmp_compare> kNames[] = {
      {"SCMP_CMP_NE", SCMP_CMP_NE}, {"SCMP_CMP_LT", SCMP_CMP_LT},
      {"SCMP_CMP_LE", SCMP_CMP_LE}, {"SCMP_CMP_EQ", SCMP_CMP_EQ},
      {"SCMP_CMP_GE", SCMP_CMP_GE}, {"SCMP_CMP_GT", SCMP_CMP_GT},
      {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};
  scmp_arg_cmp result{comparison.index, SCMP_CMP_EQ, comparison.value, comparison.value_two};
  for (const auto& [name, value] : kNames)
    if (name == comparison.operation) result.op = value;
  return result;
}

Error refused(const std::string& what, int error) {
  return Error(ErrorKind::kUnsupported,
               "libseccomp refuses " + what + ": " + std::strerror(error));
}

// As runc reads a rule: all comparisons must hold, but several of one argument are
// alternatives, because libseccomp takes one of each.
std::vector<std::vector<scmp_arg_cmp>> alternatives_of(const SeccompRule& rule) {
  std::set<uint32_t> indexes;
  std::vector<scmp_arg_cmp> all;
  for (const SeccompComparison& comparison : rule.comparisons) {
    indexes.insert(comparison.index);
    all.push_back(comparison_of(comparison));
  }
  if (indexes.size() == all.size()) return {all};
  std::vector<std::vector<scmp_arg_cmp>> alternatives;
  for (const scmp_arg_cmp& comparison : all) alternatives.push_back({comparison});
  return alternatives;
}

Result<void> add_rule(const Context& context, const SeccompRule& rule, uint32_t default_action) {
  const uint32_t action = action_value(rule.action, rule.error);
  if (action == default_action) return {};
  const auto alternatives = alternatives_of(rule);
  for (const std::string& name : rule.names) {
    const int number = seccomp_syscall_resolve_name(name.c_str());
    if (number == __NR_SCMP_ERROR) continue;  // younger than libseccomp: the default answers
    for (const std::vector<scmp_arg_cmp>& comparisons : alternatives) {
      const int status = seccomp_rule_add_array(context.get(), action, number,
                                                static_cast<unsigned>(comparisons.size()),
                                                comparisons.data());
      if (status != 0 && status != -EEXIST) return refused("a rule for " + name, -status);
    }
  }
  return {};
}

Result<std::vector<sock_filter>> code_of(const Context& context) {
  UniqueFd file(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!file) return Error::from_errno(errno, "make a memory file");
  if (int status = seccomp_export_bpf(context.get(), file.get()); status != 0)
    return refused("the profile", -status);
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  std::vector<sock_filter> code(static_cast<size_t>(size) / sizeof(sock_filter));
  if (code.empty() || code.size() > BPF_MAXINSNS)
    return Error(ErrorKind::kUnsupported, "the seccomp profile makes a program of " +
                                              std::to_string(code.size()) + " instructions; " +
                                              std::to_string(BPF_MAXINSNS) + " are possible");
  if (::pread(file.get(), code.data(), static_cast<size_t>(size), 0) != size)
    return Error::from_errno(errno, "read a memory file");
  return code;
}

// Everything that the program of an installed profile depends on.
std::string kept_key(const std::string& path) {
  utsname name{};
  ::uname(&name);
  const scmp_version* library = seccomp_version();
  return sha256(path + "\n" + file_version(path) + "\n" + name.release + "\n" + KASANE_VERSION +
                "\n" + std::to_string(library->major) + "." + std::to_string(library->minor) + "." +
                std::to_string(library->micro))
      .hex();
}

std::string kept_file(const std::string& store_directory) {
  return store_directory + "/seccomp." + std::to_string(::geteuid());
}

struct InstalledFilter {
  std::vector<sock_filter> code;
  bool last = false;  // a filter can be loaded after this one only if it allows seccomp(2)
};

std::optional<InstalledFilter> kept_filter(const std::string& file, const std::string& key) {
  const size_t head = kKeptFormat.size() + key.size() + 1;
  auto text = read_file(file, head + BPF_MAXINSNS * sizeof(sock_filter));
  if (!text || text->size() <= head || !text->starts_with(std::string(kKeptFormat) + key))
    return std::nullopt;
  const std::string_view code = std::string_view(*text).substr(head);
  if (code.size() % sizeof(sock_filter) != 0) return std::nullopt;
  InstalledFilter filter;
  filter.last = (*text)[head - 1] == 'l';
  filter.code.resize(code.size() / sizeof(sock_filter));
  std::memcpy(filter.code.data(), code.data(), code.size());
  return filter;
}

// A read-only store keeps nothing; each build then compiles anew.
void keep_filter(const std::string& file, const std::string& key,
                 const InstalledFilter& filter) {
  std::string text = std::string(kKeptFormat) + key + (filter.last ? 'l' : 'f');
  text.append(reinterpret_cast<const char*>(filter.code.data()),
              filter.code.size() * sizeof(sock_filter));
  (void)replace_file(file, text, 0600);
}

Result<InstalledFilter> installed_filter(const std::string& store_directory,
                                         const std::string& path) {
  const std::string file = kept_file(store_directory), key = kept_key(path);
  if (auto kept = kept_filter(file, key)) return std::move(*kept);
  const SeccompProfile profile = TRY(read_profile(path));
  InstalledFilter filter;
  filter.code = TRY_CONTEXT(compile_profile(profile), "read " + path);
  filter.last = !profile.lets_through("seccomp");
  keep_filter(file, key, filter);
  return filter;
}

}  // namespace

Result<std::vector<sock_filter>> compile_profile(const SeccompProfile& profile) {
  const uint32_t action = action_value(profile.default_action, profile.default_error);
  Context context(seccomp_init(action));
  if (!context) return refused("the profile's default", EINVAL);
  for (const SeccompAbi& abi : seccomp_abis()) {
    const bool wanted = std::find(profile.architectures.begin(), profile.architectures.end(),
                                  abi.oci_name) != profile.architectures.end();
    const int status = wanted ? seccomp_arch_add(context.get(), abi.library_arch) : 0;
    if (status != 0 && status != -EEXIST) return refused(abi.oci_name, -status);
  }
  // A binary tree, where this libseccomp can make one: a list of 400 names is slow to walk.
  (void)seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
  for (const SeccompRule& rule : profile.rules) TRY(add_rule(context, rule, action));
  return code_of(context);
}

Result<SeccompFilters> seccomp_filters(const std::string& store_directory,
                                       const SeccompChoice& choice) {
  using Kind = SeccompChoice::Kind;
  if (choice.kind == Kind::kUnconfined) return SeccompFilters();
  if (choice.kind == Kind::kFile) {
    const SeccompProfile profile = TRY(SeccompProfile::parse(choice.document));
    return SeccompFilters{TRY_CONTEXT(compile_profile(profile), "read " + choice.path)};
  }
  const std::string path = choice.kind == Kind::kDefault ? installed_profile() : "";
  if (path.empty()) return SeccompFilters{build_seccomp_filter()};
  // Of two that forbid, the one that was loaded last says the error, which should be Docker's.
  SeccompFilters filters{build_seccomp_filter(true)};
  InstalledFilter installed = TRY(installed_filter(store_directory, path));
  filters.insert(installed.last ? filters.end() : filters.begin(), std::move(installed.code));
  return filters;
}

}  // namespace kasane::exec
