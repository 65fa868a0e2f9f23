// Turning a failed system call of the sandbox into a sentence and a hint.
#include <cerrno>
#include <string_view>

#include "exec/blockers.h"
#include "exec/sandbox/launcher.h"

namespace kasane::exec {
namespace {

Error unsupported(int error, std::string what) {
  // The kind says "not possible on this host" whatever the errno is.
  Error reason = Error::from_errno(error, what);
  return Error(ErrorKind::kUnsupported, reason.message());
}

// Which ids this user lacks, in a step that needs more than there are.
std::string id_hint() {
  IdMaps maps = load_id_maps();
  if (!maps.single)
    return "the id is outside of the ranges in /etc/subuid and /etc/subgid; give the user more "
           "ids there, or build as root";
  return "only one user id can be used here; missing: " + maps.remedy;
}

std::string_view hint_for(std::string_view action, int error) {
  if (action == "mount overlay on" && error == EINVAL)
    return "the store must lie on a file system that can hold an overlayfs upper directory "
           "(ext4, xfs, btrfs, tmpfs; not overlayfs, NFS or FAT); the kernel log has details";
  if (action == "mount overlay on" && error == EPERM)
    return "this kernel does not allow overlayfs here: Linux 5.11 or newer is needed without root";
  if (action == "mount overlay on" && error == ENODEV) return "load the kernel module \"overlay\"";
  if (action == "mount new" && error == EPERM)
    return "the container that kasane runs in masks /proc or forbids mount(2): run it with "
           "systempaths=unconfined and a seccomp profile that allows mount";
  if (error == ENOSYS)
    return "kasane needs Linux 5.12 or newer, and a seccomp profile that allows "
           "the mount system calls";
  if (error == EPERM && action == "load")
    return "CAP_SYS_ADMIN is missing: run as root, or as a user with user namespaces";
  return "";
}

}  // namespace

Error explain_setup_error(const StatusMessage& message) {
  std::string_view action = message.action;
  std::string what = message.action;
  if (message.text[0] != '\0') what.append(" ").append(message.text);
  if (action == "resolve user") {
    Error error(ErrorKind::kInvalid, what);
    if (message.error == 0) return error;
    return std::move(error).hint("the file could not be used: " +
                                 Error::from_errno(message.error, "read").message());
  }
  if (action.starts_with("switch to") && message.error == EINVAL)
    return unsupported(message.error, what)
        .hint(
            id_hint());
  if (action.starts_with("mount below /proc"))
    return Error(ErrorKind::kInvalid, "mount target " + std::string(message.text) +
                                          " lies below /proc or /sys, which is not allowed");
  if ((action == "set the owner of mount" || action == "mount new tmpfs for") &&
      message.error == EINVAL)
    return unsupported(message.error, what)
        .hint(
            id_hint() + ", or use uid=0 and gid=0");
  if (action == "set ulimit")
    return Error(ErrorKind::kInvalid, "ulimit " + std::string(message.text) +
                                          ": the value is above the hard limit of this host");
  if (action == "create mount point" && message.error == EROFS)
    return Error::from_errno(message.error, what)
        .context("prepare RUN")
        .hint(
            "it lies in another mount of the step that is read-only: mount that one with rw, or "
            "create the target in its source");
  std::string_view hint = hint_for(action, message.error);
  if (hint.empty()) return Error::from_errno(message.error, what).context("prepare RUN");
  return unsupported(message.error, what).context("prepare RUN").hint(std::string(hint));
}

Error explain_clone_error(int error) {
  Error reason = unsupported(error, "create namespaces for RUN");
  std::string blockers;
  for (const std::string& item : userns_blockers())
    blockers += (blockers.empty() ? "" : "; ") + item;
  if (!blockers.empty()) return std::move(reason).hint(std::move(blockers));
  if (error == ENOSPC)
    return std::move(reason).hint(
        "a limit in /proc/sys/user/max_*_namespaces is reached; raise it with sysctl");
  if (error == EPERM)
    return std::move(reason).hint(
        "CAP_SYS_ADMIN or unprivileged user namespaces are needed: run as root, or allow "
        "clone(CLONE_NEWUSER) in the seccomp profile of the container that kasane runs in");
  return reason;
}

}  // namespace kasane::exec
