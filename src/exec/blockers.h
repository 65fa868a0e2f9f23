// What stands in the way of a better sandbox, as sentences that name the exact setting,
// package or file and the command that changes it. Reads files only; thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kasane::exec {

// Why this process may not make user namespaces, all reasons that can be seen: settings of
// the kernel, a chroot, the seccomp filter or AppArmor profile of a container around us.
std::vector<std::string> userns_blockers();

// Why /dev/fuse cannot be used; "" when it can.
std::string fuse_blocker();

// Why the helpers that write id maps may not work though they are installed: no setuid bit
// and no file capabilities, a nosuid file system, no_new_privs. "" when nothing is seen.
std::string map_helper_blocker(const std::string& path);

// The first range of 65536 ids from 100000 on that no line of `subids` (the text of
// /etc/subuid or /etc/subgid) takes: "name:100000:65536".
std::string free_range_line(std::string_view subids, const std::string& user);

// "the store /x lies on overlayfs, ...": why an upper directory is refused there; "".
std::string upper_directory_blocker(const std::string& directory);

}  // namespace kasane::exec
