#include "exec/sandbox/memory_group.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace kasane::exec {
namespace {

constexpr uint64_t kMaxControlBytes = 1 << 20;

Error impossible(std::string why) {
  return Error(ErrorKind::kUnsupported, "the memory limit was not applied: " + std::move(why));
}

Result<void> set(const std::string& path, const std::string& value) {
  UniqueFd fd = TRY(open_file(path, O_WRONLY));
  return write_all(fd.get(), value, path);
}

bool has_word(const std::string& text, std::string_view word) {
  std::istringstream words(text);
  for (std::string item; words >> item;)
    if (item == word) return true;
  return false;
}

// Where this process is in the hierarchy of the memory controller (v1) or of v2 ("").
std::string own_group(std::string_view controller) {
  auto text = read_file("/proc/self/cgroup", kMaxControlBytes);
  if (!text) return "";
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    size_t first = line.find(':');
    size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string names = line.substr(first + 1, second - first - 1);
    if (names == controller ||
        ("," + names + ",").find("," + std::string(controller) + ",") != std::string::npos)
      if (names.empty() == controller.empty()) return line.substr(second + 1);
  }
  return "";
}

// The mount point of the v1 memory controller or of v2; "" when there is none.
std::string mount_point(bool v2) {
  auto text = read_file("/proc/self/mounts", kMaxControlBytes);
  if (!text) return "";
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string source, target, type, options;
    fields >> source >> target >> type >> options;
    if (v2 && type == "cgroup2") return target;
    if (!v2 && type == "cgroup" && ("," + options + ",").find(",memory,") != std::string::npos)
      return target;
  }
  return "";
}

// Directories that may hold the new group. v1: only our own, so that limits above it
// hold. v2: a group with processes cannot pass controllers on, so its parent is tried.
std::vector<std::string> parents(bool v2) {
  std::string mount = mount_point(v2);
  std::string group = own_group(v2 ? "" : "memory");
  if (mount.empty() || group.empty() || group.starts_with("/..")) return {};
  std::vector<std::string> found;
  std::filesystem::path own = mount + (group == "/" ? "" : group);
  if (!v2) return {own.string()};
  for (const auto& place : {own, own.parent_path()}) {
    if (place.string().size() < mount.size()) continue;
    auto passed_on = read_file(place.string() + "/cgroup.subtree_control", kMaxControlBytes);
    if (passed_on && has_word(*passed_on, "memory")) found.push_back(place.string());
  }
  return found;
}

Result<void> set_limit(const std::string& path, bool v2, uint64_t bytes) {
  std::string text = std::to_string(bytes);
  TRY(set(path + (v2 ? "/memory.max" : "/memory.limit_in_bytes"), text));
  // With swap the limit would only slow the step down. Absent without swap accounting.
  (void)(v2 ? set(path + "/memory.swap.max", "0")
            : set(path + "/memory.memsw.limit_in_bytes", text));
  return {};
}

}  // namespace

Result<MemoryGroup> MemoryGroup::make(uint64_t limit_bytes) {
  std::string why =
      "neither cgroup v1 with the memory controller nor a delegated cgroup v2 is here";
  for (bool v2 : {false, true}) {
    std::vector<std::string> places = parents(v2);
    for (const std::string& parent : places) {
      std::string path = parent + "/kasane-XXXXXX";
      if (::mkdtemp(path.data()) == nullptr) {
        why = Error::from_errno(errno, "create " + path).message();
        continue;
      }
      MemoryGroup group(path, v2);
      Result<void> limited = set_limit(path, v2, limit_bytes);
      if (limited) return group;
      why = limited.error().full_message();
    }
  }
  return impossible(why);
}

MemoryGroup::MemoryGroup(MemoryGroup&& other) noexcept
    : path_(std::exchange(other.path_, "")), v2_(other.v2_) {}

MemoryGroup::~MemoryGroup() {
  if (path_.empty()) return;
  // The kernel lets go of an ended process a moment after it was reaped.
  for (int i = 0; i < 200 && ::rmdir(path_.c_str()) != 0 && errno == EBUSY; ++i) ::usleep(5000);
}

Result<void> MemoryGroup::add(pid_t pid) const {
  Result<void> moved = set(path_ + "/cgroup.procs", std::to_string(pid));
  if (!moved) return impossible(moved.error().full_message());
  return {};
}

std::optional<uint64_t> MemoryGroup::kills() const {
  auto text = read_file(path_ + (v2_ ? "/memory.events" : "/memory.oom_control"), kMaxControlBytes);
  if (!text) return std::nullopt;
  std::istringstream words(*text);
  std::string name;
  uint64_t value = 0;
  while (words >> name >> value)
    if (name == "oom_kill") return value;
  return std::nullopt;
}

}  // namespace kasane::exec
