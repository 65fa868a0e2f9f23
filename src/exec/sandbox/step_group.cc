#include "exec/sandbox/step_group.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <utility>

namespace kasane::exec {
namespace {

constexpr uint64_t kMaxControlBytes = 1 << 20;
constexpr std::string_view kPrefix = "kasane-";
constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

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

// "name value" lines.
std::optional<uint64_t> read_count(const std::string& path, std::string_view wanted) {
  auto text = read_file(path, kMaxControlBytes);
  if (!text) return std::nullopt;
  std::istringstream words(*text);
  std::string name;
  uint64_t value = 0;
  while (words >> name >> value)
    if (name == wanted) return value;
  return std::nullopt;
}

bool is_in_list(const std::string& list, std::string_view name) {
  return ("," + list + ",").find("," + std::string(name) + ",") != std::string::npos;
}

// Where this process is in the hierarchy of a v1 controller, or of v2 ("").
std::string own_group(std::string_view controller) {
  auto text = read_file("/proc/self/cgroup", kMaxControlBytes);
  if (!text) return "";
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    size_t first = line.find(':');
    size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string names = line.substr(first + 1, second - first - 1);
    if (names.empty() == controller.empty() && is_in_list(names, controller))
      return line.substr(second + 1);
  }
  return "";
}

// The mount point of a v1 controller, or of v2; "" when there is none.
std::string mount_point(bool v2, std::string_view controller) {
  auto text = read_file("/proc/self/mounts", kMaxControlBytes);
  if (!text) return "";
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string source, target, type, options;
    fields >> source >> target >> type >> options;
    if (v2 ? type == "cgroup2" : type == "cgroup" && is_in_list(options, controller)) return target;
  }
  return "";
}

// Directories that may hold the new group. v1: only our own, so that limits above it
// hold. v2: a group with processes cannot pass controllers on, so its parent is tried.
std::vector<std::string> parents(bool v2, const std::string& controller) {
  std::string mount = mount_point(v2, controller);
  std::string group = own_group(v2 ? "" : controller);
  if (mount.empty() || group.empty() || group.starts_with("/..")) return {};
  std::vector<std::string> found;
  std::filesystem::path own = mount + (group == "/" ? "" : group);
  if (!v2) return {own.string()};
  for (const auto& place : {own, own.parent_path()}) {
    if (place.string().size() < mount.size()) continue;
    auto passed_on = read_file(place.string() + "/cgroup.subtree_control", kMaxControlBytes);
    if (passed_on && has_word(*passed_on, controller)) found.push_back(place.string());
  }
  return found;
}

bool lock(int fd) { return ::flock(fd, LOCK_EX | LOCK_NB) == 0; }

// Groups whose builder and supervisor were both killed. Another builder may have made one
// a moment ago and not locked it yet: it finds it gone and makes another.
void sweep(const std::string& parent) {
  DIR* directory = ::opendir(parent.c_str());
  if (directory == nullptr) return;
  while (const dirent* entry = ::readdir(directory)) {
    if (!std::string_view(entry->d_name).starts_with(kPrefix)) continue;
    UniqueFd fd(::openat(::dirfd(directory), entry->d_name, kDirectoryFlags | O_CLOEXEC));
    if (fd && lock(fd.get())) ::unlinkat(::dirfd(directory), entry->d_name, AT_REMOVEDIR);
  }
  ::closedir(directory);
}

Result<StepGroup::Place> make_place(const std::string& parent, bool v2) {
  for (int attempt = 0;; ++attempt) {
    std::string path = parent + "/" + std::string(kPrefix) + "XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) return Error::from_errno(errno, "create " + path);
    StepGroup::Place place;
    place.parent = parent;
    place.name = path.substr(parent.size() + 1);
    place.v2 = v2;
    auto directory = open_file(path, kDirectoryFlags);
    if (directory) {
      place.directory = std::move(*directory);
      if (!lock(place.directory.get())) return Error::from_errno(errno, "lock " + path);
      auto enter = open_file(path + (v2 ? "/cgroup.procs" : "/tasks"), O_WRONLY);
      auto above = open_file(parent, O_PATH | O_DIRECTORY);
      if (enter && above) {
        place.enter = std::move(*enter);
        place.parent_directory = std::move(*above);
        return place;
      }
      directory = !enter ? std::move(enter) : std::move(above);
    }
    ::rmdir(path.c_str());
    if (attempt == 3 || directory.error().errno_value() != ENOENT)
      return std::move(directory.error());
  }
}

void remove(const StepGroup::Place& place) {
  // The kernel lets go of an ended process a moment after it was reaped.
  const std::string path = place.path();
  for (int i = 0; i < 200 && ::rmdir(path.c_str()) != 0 && errno == EBUSY; ++i) ::usleep(5000);
}

Result<void> set_memory(const StepGroup::Place& place, uint64_t bytes) {
  std::string text = std::to_string(bytes);
  TRY(set(place.path() + (place.v2 ? "/memory.max" : "/memory.limit_in_bytes"), text));
  // With swap the limit would only slow the step down. Absent without swap accounting.
  (void)(place.v2 ? set(place.path() + "/memory.swap.max", "0")
                  : set(place.path() + "/memory.memsw.limit_in_bytes", text));
  return {};
}

}  // namespace

Result<void> StepGroup::limit(bool memory, uint64_t value) {
  const std::string controller = memory ? "memory" : "pids";
  Error why(ErrorKind::kUnsupported, "neither cgroup v1 with the " + controller +
                                         " controller nor a delegated cgroup v2 is here");
  auto apply = [&](Place& place) -> Result<void> {
    TRY(memory ? set_memory(place, value) : set(place.path() + "/pids.max", std::to_string(value)));
    (memory ? place.memory : place.pids) = true;
    return {};
  };
  for (bool v2 : {false, true}) {
    std::vector<std::string> found = parents(v2, controller);
    for (const std::string& parent : found) {
      Place* shared = nullptr;
      for (Place& place : places_)
        if (place.parent == parent) shared = &place;
      if (shared != nullptr) return apply(*shared);
      sweep(parent);
      Result<Place> place = make_place(parent, v2);
      Result<void> applied = place ? apply(*place) : Result<void>(place.error());
      if (applied) {
        places_.push_back(std::move(*place));
        return {};
      }
      if (place) remove(*place);
      why = applied.error();
    }
  }
  return why;
}

StepGroup StepGroup::make(const Limits& limits, Notes& notes) {
  StepGroup group;
  auto apply = [&](bool memory, uint64_t value, std::string& note) {
    if (value == 0) return;
    if (Result<void> done = group.limit(memory, value); !done)
      note = std::string("the ") + (memory ? "memory" : "pids") +
             " limit was not applied: " + done.error().full_message();
  };
  apply(true, limits.memory_bytes, notes.memory);
  apply(false, limits.pids, notes.pids);
  return group;
}

StepGroup::~StepGroup() {
  for (const Place& place : places_) remove(place);
}

Result<void> StepGroup::add(pid_t pid) const {
  for (const Place& place : places_) TRY(set(place.path() + "/cgroup.procs", std::to_string(pid)));
  return {};
}

bool StepGroup::limits_memory() const {
  for (const Place& place : places_)
    if (place.memory) return true;
  return false;
}

std::optional<uint64_t> StepGroup::memory_kills() const {
  for (const Place& place : places_)
    if (place.memory)
      return read_count(place.path() + (place.v2 ? "/memory.events" : "/memory.oom_control"),
                        "oom_kill");
  return std::nullopt;
}

uint64_t StepGroup::pids_refusals() const {
  for (const Place& place : places_)
    if (place.pids) return read_count(place.path() + "/pids.events", "max").value_or(0);
  return 0;
}

}  // namespace kasane::exec
