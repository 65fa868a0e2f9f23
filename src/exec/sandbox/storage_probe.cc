// One trial of a storage mode in a child: mounts, whiteout, opaque mark, attribute, rename.
#include "exec/sandbox/storage_probe.h"

#include <fcntl.h>
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
#include "exec/blockers.h"
#include "exec/helpers.h"
#include "exec/sandbox/fuse_overlay.h"
#include "exec/sandbox/image_root.h"
#include "exec/sandbox/launcher.h"
#include "exec/sandbox/mount_calls.h"

namespace kasane::exec {
namespace {

// Directories of a probe mount, below the store's own file system.
struct ProbeTree {
  std::string root, lower, upper, work;
};

// What the child needs; prepared before clone.
struct ProbePlan {
  RootPlan root;
  Storage storage;
  const char* fuse_overlayfs;
  bool user_namespace;
  int status_fd = -1;
  int go_fd = -1;
};

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
  for (const char* name : {"/file", "/attribute", "/name"})
    TRY(replace_file(tree.lower + name, ""));
  return tree;
}

const char* attribute_of(const ProbePlan& plan) {
  return plan.root.userxattr ? "user.kasane.probe" : "trusted.kasane.probe";
}

void set_attribute(const Reporter& report, const ProbePlan& plan, int directory, const char* name) {
  int file = ::openat(directory, name, O_RDONLY | O_CLOEXEC);
  char value = 0;
  if (file < 0 || ::fsetxattr(file, attribute_of(plan), "v", 1, 0) != 0 ||
      ::fgetxattr(file, attribute_of(plan), &value, 1) != 1 || value != 'v')
    report.fail("set an extended attribute in", "the probe directory", errno);
  ::close(file);
}

bool is_whiteout(int directory, const char* name) {
  struct stat st;
  return ::fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode) &&
         st.st_rdev == makedev(0, 0);
}

bool exists(int directory, const char* name) {
  struct stat st;
  return ::fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

bool is_opaque(const ProbePlan& plan, int upper_fd) {
  int directory = ::openat(upper_fd, "directory", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  char value = 0;
  const char* name = plan.root.userxattr ? "user.overlay.opaque" : "trusted.overlay.opaque";
  bool marked = directory >= 0 && ::fgetxattr(directory, name, &value, 1) == 1 && value == 'y';
  if (plan.storage == Storage::kFuseOverlay)  // it has names of its own for the mark
    marked = marked || exists(directory, ".wh..wh..opq");
  ::close(directory);
  return marked;
}

// Deleting makes a whiteout, replacing a directory an opaque one; the upper directory
// must say so in a form that we know.
void exercise_merged(const Reporter& report, const ProbePlan& plan, int upper_fd, int merged) {
  if (::unlinkat(merged, "file", 0) != 0) report.fail("delete in", "the probe overlay", errno);
  if (::unlinkat(merged, "directory", AT_REMOVEDIR) != 0 || ::mkdirat(merged, "directory", 0755))
    report.fail("replace a directory in", "the probe overlay", errno);
  set_attribute(report, plan, merged, "attribute");
  if (::renameat(merged, "name", merged, "other name") != 0)
    report.fail("rename in", "the probe overlay", errno);
  const bool fuse = plan.storage == Storage::kFuseOverlay;
  if (!is_whiteout(upper_fd, "file") && !(fuse && exists(upper_fd, ".wh.file")))
    report.fail("find the whiteout of", "the probe overlay", ENOTSUP);
  if (!is_opaque(plan, upper_fd))
    report.fail("find the opaque mark of", "the probe overlay", ENOTSUP);
  if (!exists(upper_fd, "other name") || !exists(upper_fd, "attribute"))
    report.fail("find the changes of", "the probe overlay", ENOTSUP);
}

// A copy needs no mount, but its difference is written in the same form.
void exercise_copy(const Reporter& report, const ProbePlan& plan, int upper_fd) {
  int tree = clone_tree(AT_FDCWD, plan.root.upper, MOUNT_ATTR_NODEV, false);
  if (tree < 0 || !attach(tree, upper_fd)) report.fail("bind", "the probe directory", errno);
  ::close(tree);
  if (::mknodat(upper_fd, "file", S_IFCHR, makedev(0, 0)) != 0 || !is_whiteout(upper_fd, "file"))
    report.fail("make a whiteout in", "the probe directory", errno);
  if (::mkdirat(upper_fd, "directory", 0755) != 0)
    report.fail("make a directory in", "the probe directory", errno);
  int directory = ::openat(upper_fd, "directory", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const char* name = plan.root.userxattr ? "user.overlay.opaque" : "trusted.overlay.opaque";
  if (directory < 0 || ::fsetxattr(directory, name, "y", 1, 0) != 0)
    report.fail("make an opaque mark in", "the probe directory", errno);
  set_attribute(report, plan, upper_fd, "directory");
  if (::renameat(upper_fd, "directory", upper_fd, "other name") != 0)
    report.fail("rename in", "the probe directory", errno);
}

int open_merged(const Reporter& report, const ProbePlan& plan) {
  int merged = ::open(plan.root.upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (merged < 0) report.fail("open", "the probe overlay", errno);
  return merged;
}

void exercise(const Reporter& report, const ProbePlan& plan) {
  int upper_fd = ::open(plan.root.upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (upper_fd < 0) report.fail("open", plan.root.upper, errno);
  switch (plan.storage) {
    case Storage::kOverlay:
      mount_overlay(report, plan.root, upper_fd, plan.root.upper);
      return exercise_merged(report, plan, upper_fd, open_merged(report, plan));
    case Storage::kFuseOverlay: {
      FuseDaemon daemon = start_fuse_overlay(report, plan.root, upper_fd, plan.fuse_overlayfs);
      int root = open_fuse_root(report, daemon);
      exercise_merged(report, plan, upper_fd, root);
      return stop_fuse_overlay(report, root, daemon);
    }
    case Storage::kCopy:
      return exercise_copy(report, plan, upper_fd);
  }
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
  // Refused where the container around us masks parts of its own /proc.
  int proc = try_new_filesystem("proc", nullptr, 0, kInert);
  if (proc < 0) report.fail("mount new", "proc", errno);
  ::close(proc);
  exercise(report, plan);
  report.send(Reporter::make(StatusMessage::Kind::kExit, "", ""));
  ::_exit(0);
}

bool concerns_storage(const StatusMessage& message) {
  const std::string_view action = message.action;
  return action != "become" && action != "make private" && action != "mount new";
}

Result<ProbeOutcome> run_probe(ProbePlan& plan, const IdMaps& maps) {
  Pipe status = TRY(make_pipe()), go = TRY(make_pipe());
  plan.status_fd = status.write_end.get();
  plan.go_fd = go.read_end.get();
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
  status.write_end.reset();
  go.read_end.reset();
  if (plan.user_namespace) TRY(write_id_maps(pid, maps));
  TRY(write_all(go.write_end.get(), std::string_view("g", 1), "pipe to the probe"));
  StatusMessage message;
  ssize_t n;
  while ((n = ::read(status.read_end.get(), &message, sizeof message)) < 0 && errno == EINTR) {
  }
  if (n != static_cast<ssize_t>(sizeof message))
    return Error(ErrorKind::kUnsupported, "the probe of the sandbox was killed");
  if (message.kind == StatusMessage::Kind::kExit) return ProbeOutcome{};
  if (!concerns_storage(message)) return explain_setup_error(message);
  return ProbeOutcome{explain_setup_error(message)};
}

}  // namespace

Result<ProbeOutcome> probe_storage(const std::string& store_directory, SandboxMode mode,
                                   Storage storage, const IdMaps& maps) {
  const std::string program =
      storage == Storage::kFuseOverlay ? find_helper("fuse-overlayfs") : std::string();
  if (storage == Storage::kFuseOverlay && program.empty())
    return ProbeOutcome{Error(ErrorKind::kUnsupported, "fuse-overlayfs is not installed")
                            .hint("fuse-overlayfs (package fuse-overlayfs)")};
  if (storage == Storage::kFuseOverlay)
    if (std::string why = fuse_blocker(); !why.empty())
      return ProbeOutcome{Error(ErrorKind::kUnsupported, "/dev/fuse cannot be used").hint(why)};
  ProbeTree tree = TRY(make_tree(store_directory));
  const char* lowers[] = {tree.lower.c_str()};
  RootPlan root{lowers, 1, tree.upper.c_str(), tree.work.c_str(), mode != SandboxMode::kRoot};
  ProbePlan plan{root, storage, program.c_str(), mode != SandboxMode::kRoot};
  Result<ProbeOutcome> result = run_probe(plan, maps);
  if (result && result->failure && storage == Storage::kOverlay)
    if (std::string why = upper_directory_blocker(tree.root); !why.empty())
      result->failure = Error(result->failure->kind(), result->failure->full_message()).hint(why);
  if (!remove_tree(tree.root))  // overlayfs makes a directory that belongs to the mapped root
    (void)run_in_mapped_userns([&] { return remove_tree(tree.root) ? 0 : 1; });
  return result;
}

}  // namespace kasane::exec
