// probe_sandbox: what this host lets us do, found out by doing it in a child.
#include "exec/sandbox/probe.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/fd.h"
#include "exec/sandbox/image_root.h"
#include "exec/sandbox/launcher.h"

namespace kasane::exec {
namespace {

// Directories of a probe mount, below the store's own file system.
struct ProbeTree {
  std::string root, lower, upper, work;
};

// What the child needs; prepared before clone.
struct ProbePlan {
  RootPlan root;
  bool user_namespace;
  bool single_id;
  int status_fd;
  int go_fd;
};

bool has_capability(int capability) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return false;
  return (data[capability / 32].effective >> (capability % 32) & 1) != 0;
}

bool in_initial_user_namespace() {
  auto map = read_file("/proc/self/uid_map", 4096);
  return map && map->find("0          0 4294967295") != std::string::npos;
}

// The store may not exist yet: its nearest existing ancestor is on the same file system.
std::string existing_ancestor(const std::string& directory) {
  std::error_code error;
  std::filesystem::path path = std::filesystem::absolute(directory, error);
  while (!path.empty() && path != path.root_path() && !std::filesystem::is_directory(path, error))
    path = path.parent_path();
  return path.empty() ? "/" : path.string();
}

Result<ProbeTree> make_tree(const std::string& store_directory) {
  std::string root = existing_ancestor(store_directory) + "/.kasane-probe-XXXXXX";
  if (::mkdtemp(root.data()) == nullptr)
    return Error::from_errno(errno,
                             "create a probe directory in " + existing_ancestor(store_directory));
  ProbeTree tree{root, root + "/lower", root + "/upper", root + "/work"};
  for (const std::string& path : {tree.lower, tree.upper, tree.work, tree.lower + "/directory"})
    TRY(make_directories(path));
  TRY(replace_file(tree.lower + "/file", ""));
  return tree;
}

// In the mounted overlay: deleting makes a whiteout, replacing a directory an opaque one.
void exercise_overlay(const Reporter& report, const ProbePlan& plan, int upper_fd) {
  int merged = ::open(plan.root.upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (merged < 0) report.fail("open", "the probe overlay", errno);
  if (::unlinkat(merged, "file", 0) != 0) report.fail("delete in", "the probe overlay", errno);
  if (::unlinkat(merged, "directory", AT_REMOVEDIR) != 0 || ::mkdirat(merged, "directory", 0755))
    report.fail("replace a directory in", "the probe overlay", errno);
  struct stat st;
  if (::fstatat(upper_fd, "file", &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISCHR(st.st_mode) ||
      st.st_rdev != makedev(0, 0))
    report.fail("find the whiteout of", "the probe overlay", ENOTSUP);
  int directory = ::openat(upper_fd, "directory", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  char value;
  const char* name = plan.root.userxattr ? "user.overlay.opaque" : "trusted.overlay.opaque";
  if (directory < 0 || ::fgetxattr(directory, name, &value, 1) != 1 || value != 'y')
    report.fail("find the opaque mark of", "the probe overlay", ENOTSUP);
}

[[noreturn]] void probe_child(const ProbePlan& plan) {
  Reporter report(plan.status_fd);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  reset_signal_handlers();
  char byte;
  if (::read(plan.go_fd, &byte, 1) != 1) ::_exit(125);
  if (plan.user_namespace && (raw_setresgid(0) != 0 || raw_setresuid(0) != 0))
    report.fail("become", "root of the user namespace", errno);
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    report.fail("make private", "the mounts", errno);
  int upper_fd = ::open(plan.root.upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (upper_fd < 0) report.fail("open", plan.root.upper, errno);
  mount_overlay(report, plan.root, upper_fd, plan.root.upper);
  exercise_overlay(report, plan, upper_fd);
  report.send(Reporter::make(StatusMessage::Kind::kExit, "", ""));
  ::_exit(0);
}

Result<void> run_probe(ProbePlan& plan, const IdMaps& maps) {
  int status[2], go[2];
  if (::pipe2(status, O_CLOEXEC) != 0) return Error::from_errno(errno, "pipe");
  UniqueFd status_read(status[0]), status_write(status[1]);
  if (::pipe2(go, O_CLOEXEC) != 0) return Error::from_errno(errno, "pipe");
  UniqueFd go_read(go[0]), go_write(go[1]);
  plan.status_fd = status_write.get();
  plan.go_fd = go_read.get();
  uint64_t flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  int pidfd = -1;
  sigset_t old_mask;
  block_all_signals(&old_mask);
  pid_t pid = clone_process(flags | (plan.user_namespace ? CLONE_NEWUSER : 0), &pidfd);
  if (pid == 0) probe_child(plan);
  int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &old_mask, nullptr);
  if (pid < 0) return explain_clone_error(error);
  Child child(pid, pidfd);
  status_write.reset();
  go_read.reset();
  if (plan.user_namespace) TRY(write_id_maps(pid, maps));
  TRY(write_all(go_write.get(), std::string_view("g", 1), "pipe to the probe"));
  StatusMessage message;
  ssize_t n;
  while ((n = ::read(status_read.get(), &message, sizeof message)) < 0 && errno == EINTR) {
  }
  if (n != static_cast<ssize_t>(sizeof message))
    return Error(ErrorKind::kUnsupported, "the probe of the sandbox was killed");
  if (message.kind == StatusMessage::Kind::kExit) return {};
  return explain_setup_error(message);
}

Result<void> probe_mode(const std::string& store_directory, SandboxMode mode, const IdMaps& maps) {
  ProbeTree tree = TRY(make_tree(store_directory));
  const char* lowers[] = {tree.lower.c_str()};
  ProbePlan plan{{lowers, 1, tree.upper.c_str(), tree.work.c_str(), mode != SandboxMode::kRoot},
                 mode != SandboxMode::kRoot,
                 mode == SandboxMode::kSingleUid,
                 -1,
                 -1};
  Result<void> result = run_probe(plan, maps);
  (void)remove_tree(tree.root);
  return result;
}

void note_failure(SandboxSupport& support, const Error& error) {
  if (!support.reason.empty()) support.reason += "; ";
  support.reason += error.full_message();
  if (!error.hint_text().empty()) support.missing.push_back(error.hint_text());
}

}  // namespace

bool is_privileged_root() {
  return ::geteuid() == 0 && has_capability(CAP_SYS_ADMIN) && in_initial_user_namespace();
}

SandboxSupport probe_sandbox(const std::string& store_directory) {
  SandboxSupport support;
  if (is_privileged_root()) {
    auto result = probe_mode(store_directory, SandboxMode::kRoot, {});
    if (result) {
      support.mode = SandboxMode::kRoot;
      support.storage = "overlayfs";
    } else {
      note_failure(support, result.error());
    }
    return support;
  }
  IdMaps maps = load_id_maps();
  SandboxMode mode = maps.single ? SandboxMode::kSingleUid : SandboxMode::kRootlessRange;
  support.reason = maps.reason;
  support.missing = maps.missing;
  auto result = probe_mode(store_directory, mode, maps);
  if (result) {
    support.mode = mode;
    support.storage = "overlayfs (userxattr)";
  } else {
    note_failure(support, result.error());
  }
  return support;
}

}  // namespace kasane::exec
