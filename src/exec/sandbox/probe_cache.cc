// The result of the last probe, kept in the store so that a build does not pay for one.
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/fd.h"
#include "base/hash.h"
#include "exec/helpers.h"
#include "exec/sandbox/probe.h"

namespace kasane::exec {
namespace {

constexpr uint64_t kMaxBytes = 64 << 10;
constexpr std::string_view kFormat = "kasane sandbox 1";
// Settings and facts of this process that can forbid what the probe found to work.
constexpr const char* kReadForKey[] = {"/proc/self/uid_map",
                                       "/proc/self/gid_map",
                                       "/proc/self/attr/current",
                                       "/proc/sys/kernel/random/boot_id",
                                       "/proc/sys/user/max_user_namespaces",
                                       "/proc/sys/kernel/unprivileged_userns_clone",
                                       "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"};
constexpr const char* kHelpers[] = {"newuidmap", "newgidmap", "fuse-overlayfs"};

std::string file_for(const std::string& store_directory) {
  return store_directory + "/sandbox." + std::to_string(::geteuid());
}

// Capabilities and the seccomp mode of this process.
std::string own_status() {
  auto text = read_file("/proc/self/status", kMaxBytes);
  if (!text) return "";
  size_t caps = text->find("\nCapInh:"), end = text->find("\nCpus_allowed:");
  return caps == std::string::npos ? "" : text->substr(caps, end - caps);
}

std::string key_of(const std::string& store_directory) {
  utsname name{};
  ::uname(&name);
  struct stat st {};
  if (::stat(store_directory.c_str(), &st) != 0) return "";
  std::string facts = std::string(name.release) + "\n" + name.version + "\n" +
                      std::to_string(st.st_dev) + "\n" + std::to_string(::geteuid()) + ":" +
                      std::to_string(::getegid()) + "\n" + own_status() + "\n";
  for (const char* path : kReadForKey) {
    auto text = read_file(path, 4096);
    facts += (text ? *text : "-") + "\n";
  }
  for (const char* helper : kHelpers) facts += file_version(find_helper(helper)) + "\n";
  for (const char* path : {"/etc/subuid", "/etc/subgid", "/dev/fuse"})
    facts += file_version(path) + "\n";
  const char* forced = std::getenv("KASANE_STORAGE");
  return sha256(facts + (forced != nullptr ? forced : "")).hex();
}

std::string_view take_line(std::string_view& rest) {
  size_t end = rest.find('\n');
  std::string_view line = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return line;
}

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

std::optional<SandboxSupport> cached_support(const std::string& store_directory) {
  auto text = read_file(file_for(store_directory), kMaxBytes);
  if (!text) return std::nullopt;
  std::string_view rest = *text;
  if (take_line(rest) != kFormat || take_line(rest) != key_of(store_directory)) return std::nullopt;
  int mode = -1, storage = -1;
  const std::string_view numbers = take_line(rest);
  if (numbers.size() != 3) return std::nullopt;
  std::from_chars(numbers.data(), numbers.data() + 1, mode);
  std::from_chars(numbers.data() + 2, numbers.data() + 3, storage);
  if (mode < 0 || mode >= static_cast<int>(SandboxMode::kNone) || storage < 0 ||
      storage > static_cast<int>(Storage::kCopy))
    return std::nullopt;
  SandboxSupport support;
  support.mode = static_cast<SandboxMode>(mode);
  support.storage_kind = static_cast<Storage>(storage);
  support.storage = take_line(rest);
  support.reason = take_line(rest);
  while (!rest.empty()) support.missing.emplace_back(take_line(rest));
  return support;
}

void keep_support(const std::string& store_directory, const SandboxSupport& support) {
  const std::string path = file_for(store_directory);
  struct stat st {};
  if (::stat(store_directory.c_str(), &st) != 0) return;
  if (support.mode == SandboxMode::kNone) {
    ::unlink(path.c_str());
    return;
  }
  std::string text = std::string(kFormat) + "\n" + key_of(store_directory) + "\n" +
                     std::to_string(static_cast<int>(support.mode)) + " " +
                     std::to_string(static_cast<int>(support.storage_kind)) + "\n" +
                     support.storage + "\n" + one_line(support.reason) + "\n";
  for (const std::string& item : support.missing) text += one_line(item) + "\n";
  (void)replace_file(path, text, 0600);
}

}  // namespace kasane::exec
