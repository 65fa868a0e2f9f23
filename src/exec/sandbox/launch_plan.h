// Everything the supervisor and the step need, prepared by the builder before clone(2):
// plain pointers into memory that PreparedLaunch owns. The children read it (a copy of
// it, to be exact) and write only into the scratch parts.
#pragma once

#include <linux/filter.h>
#include <sys/resource.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "exec/executor.h"
#include "exec/sandbox/copied_trees.h"
#include "exec/sandbox/stub_journal.h"
#include "exec/sandbox/user_lookup.h"
#include "exec/seccomp/filters.h"

namespace kasane::exec {

struct MountPlan {
  Mount::Type type = Mount::Type::kBind;
  const char* source = nullptr;      // kBind, kSocket
  const char* target = nullptr;      // absolute
  const char* size_bytes = nullptr;  // kTmpfs: decimal text, or null
  bool read_only = true;
  bool no_exec = false;
  const char* mode_text = nullptr;  // kTmpfs: octal
  const char* uid_text = nullptr;   // kTmpfs: decimal
  const char* gid_text = nullptr;
  uint32_t mode = 0;  // kFile
  uint32_t uid = 0, gid = 0;
  std::string_view content;
  const char* const* lowers = nullptr;  // kOverlay: topmost first, with a spare slot
  size_t lower_count = 0;
  const char* sub_path = nullptr;
  const char* view_root = nullptr;  // a directory to show instead of an overlay
  const char* upper = nullptr;  // null when read-only
  const char* work = nullptr;
};

// One setrlimit(2) of the step.
struct LimitPlan {
  int resource;
  const char* name;
  rlim_t soft, hard;
};

// A cgroup of the step (step_group.h): how the step gets into it, and how the supervisor
// removes it should the builder die.
struct GroupPlan {
  const char* name;
  int enter_fd, directory_fd, parent_fd;
  bool v2;
};
inline constexpr size_t kMaxStepGroups = 2;

struct RuntimePlan;  // exec/oci_runtime

struct FilterPlan {
  const sock_filter* code;
  size_t size;
};

struct LaunchPlan {
  // What enters after clone(2), and never returns, in place of supervise(); null: that.
  void (*supervisor)(const LaunchPlan&) = nullptr;
  const RuntimePlan* runtime = nullptr;

  // Root file system.
  const char* const* lowers = nullptr;  // topmost first, as overlayfs wants them
  size_t lower_count = 0;
  const char* upper = nullptr;
  const char* work = nullptr;
  bool userxattr = false;
  bool read_only_root = false;
  Storage storage = Storage::kOverlay;
  const char* fuse_overlayfs = nullptr;  // kFuseOverlay: absolute path of the program
  const char* copied_root = nullptr;     // kCopy
  const char* untouched_file = nullptr;  // kCopy: where inodes of untouched directories go
  const MountPlan* mounts = nullptr;
  size_t mount_count = 0;
  const char* shm_size = nullptr;      // decimal text
  const char* secrets_size = nullptr;  // of the tmpfs for kFile, decimal text
  std::string_view hosts;
  std::string_view resolv_conf;
  int cpu_count = 0;

  // Namespaces.
  bool user_namespace = false;
  bool single_id = false;
  bool own_network = false;
  std::optional<Network> user_network;  // the helper that connects it
  const char* hostname = nullptr;

  // The step.
  std::string_view user;
  const char* cwd = nullptr;
  char* const* argv = nullptr;
  char** env = nullptr;  // null-terminated, with one spare slot
  size_t env_count = 0;
  bool add_home = false;
  std::string_view path;  // PATH for the lookup of argv[0]
  const FilterPlan* filters = nullptr;  // loaded in this order; the kernel asks all of them
  size_t filter_count = 0;
  bool insecure = false;
  const LimitPlan* limits = nullptr;
  size_t limit_count = 0;
  const GroupPlan* groups = nullptr;
  size_t group_count = 0;

  // The builder's argv and environment, wiped in the supervisor's copy: any process of
  // the step may read /proc/1/cmdline (reference B15).
  uintptr_t secrets_begin = 0;
  uintptr_t secrets_end = 0;

  // Descriptors as the child inherits them.
  int status_fd = -1;
  int control_fd = -1;  // pipe: kControlGo, then signals
  int builder_fd = -1;  // pidfd of the builder
  int stdin_fd = -1;    // -1: /dev/null
  int stdout_fd = -1;
  int stderr_fd = -1;
  int stdout_read_fd = -1;  // the builder's ends, with plan.supervisor only
  int stderr_read_fd = -1;
  int pty_fd = -1;  // socket that takes the master of the step's terminal; -1: none

  // Scratch.
  StubJournal* stubs = nullptr;
  UserIdentity* identity = nullptr;
  FixedText<4200>* home = nullptr;  // "HOME=..."
  int* pty_master = nullptr;        // null without a terminal
};

// Host facts that do not change while an executor lives.
struct HostFacts {
  SeccompFilters filters;
  std::string resolv_conf;
  SandboxMode mode = SandboxMode::kNone;
  bool userxattr = false;
  Storage storage = Storage::kOverlay;
  std::string fuse_overlayfs;
  int cpu_count = 0;
  uintptr_t secrets_begin = 0;
  uintptr_t secrets_end = 0;
};
Result<HostFacts> collect_host_facts(SandboxMode mode, Storage storage);

// Topmost first. An image may hold one layer several times, overlayfs no directory: all that
// a lower one shows is covered by the highest.
std::vector<std::string> topmost_trees(const std::vector<std::string>& lowest_first);

// kInvalid when the text holds a NUL byte, or the path is empty; relative ones are made
// absolute.
Result<void> check_text(std::string_view text, const char* what);
Result<std::string> absolute_path(const std::string& path, const char* what);

// Checks a RunSpec and turns it into a plan. Owns all memory of the plan; `facts` must
// outlive it. Not copyable, used by one thread.
class PreparedLaunch {
 public:
  // `copies` must outlive the launch.
  static Result<std::unique_ptr<PreparedLaunch>> make(const RunSpec& spec, const HostFacts& facts,
                                                      const CopiedTrees& copies);
  LaunchPlan& plan() { return plan_; }

 private:
  PreparedLaunch() = default;
  Result<void> prepare_root(const RunSpec& spec);
  void prepare_storage(const HostFacts& facts, const CopiedTrees& copies);
  Result<void> prepare_mounts(const RunSpec& spec);
  Result<void> prepare_mount(const Mount& mount, MountPlan& plan);
  Result<void> prepare_overlay(const Mount& mount, MountPlan& plan);
  Result<void> prepare_limits(const RunSpec& spec);
  Result<void> prepare_process(const RunSpec& spec);
  const char* keep(std::string text);

  LaunchPlan plan_;
  std::vector<std::string> lowers_;
  std::vector<const char*> lower_pointers_;
  std::string upper_, work_, hostname_, user_, cwd_, hosts_, path_, resolv_conf_;
  std::vector<MountPlan> mounts_;
  std::vector<std::unique_ptr<std::string>> texts_;
  std::vector<std::unique_ptr<std::vector<const char*>>> lists_;
  std::vector<LimitPlan> limits_;
  std::vector<FilterPlan> filters_;
  int pty_master_ = -1;
  std::vector<std::string> argv_, env_;
  std::vector<char*> argv_pointers_, env_pointers_;
  std::unique_ptr<StubJournal> stubs_;
  std::unique_ptr<UserIdentity> identity_;
  FixedText<4200> home_;
};

}  // namespace kasane::exec
