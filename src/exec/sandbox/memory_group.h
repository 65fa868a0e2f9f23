// A cgroup of a step's own that bounds its memory (RunSpec::memory_limit_bytes).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"

namespace kasane::exec {

// Made below the builder's own cgroup (v1 memory controller), or beside or below it (v2,
// where the controller is delegated). The destructor removes it; its processes must be
// gone by then. Not copyable, one thread.
class MemoryGroup {
 public:
  // An error says why no limit is possible here; the step may run without it.
  static Result<MemoryGroup> make(uint64_t limit_bytes);
  MemoryGroup(MemoryGroup&& other) noexcept;
  MemoryGroup& operator=(MemoryGroup&&) = delete;
  ~MemoryGroup();

  Result<void> add(pid_t pid) const;
  // How often the kernel killed a process of it for memory; nullopt when it does not say.
  std::optional<uint64_t> kills() const;

 private:
  MemoryGroup(std::string path, bool v2) : path_(std::move(path)), v2_(v2) {}
  std::string path_;
  bool v2_;
};

}  // namespace kasane::exec
