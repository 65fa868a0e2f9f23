// Cgroups of a step's own that bound its memory and its number of processes
// (RunSpec::memory_limit_bytes, RunSpec::pids_limit).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace kasane::exec {

// One directory with v2; one for each controller with v1. Made below the builder's own
// cgroup (v1), or beside or below it (v2, where controllers are delegated). The destructor
// removes them; their processes must be gone by then. A directory is locked as long as its
// step lives, and make() removes those that a killed builder left. Not copyable, one thread.
class StepGroup {
 public:
  struct Limits {
    uint64_t memory_bytes = 0;  // 0 = none
    uint64_t pids = 0;
  };
  // Applies what is possible here; the notes say why something is not.
  struct Notes {
    std::string memory, pids;
  };
  static StepGroup make(const Limits& limits, Notes& notes);

  struct Place {
    std::string parent, name;
    bool v2 = false;
    bool memory = false, pids = false;
    UniqueFd directory;  // holds the lock
    UniqueFd parent_directory;
    // Writing "0" moves the (single-threaded) writer in. With v1 that is the file "tasks":
    // unlike cgroup.procs it needs no lock of the kernel that takes an RCU grace period,
    // which is 10 ms on an idle machine and half a second on a busy one.
    UniqueFd enter;
    std::string path() const { return parent + "/" + name; }
  };
  const std::vector<Place>& places() const { return places_; }

  StepGroup(StepGroup&&) noexcept = default;
  StepGroup& operator=(StepGroup&&) = delete;
  ~StepGroup();

  // Moves a process in, slowly (see Place::enter): for runtimes that take no descriptors.
  Result<void> add(pid_t pid) const;
  bool limits_memory() const;
  // How often the kernel killed a process of it for memory; nullopt when it does not say.
  std::optional<uint64_t> memory_kills() const;
  // How often a process could not be made because of the limit.
  uint64_t pids_refusals() const;

 private:
  StepGroup() = default;
  Result<void> limit(bool memory, uint64_t value);
  std::vector<Place> places_;
};

}  // namespace kasane::exec
