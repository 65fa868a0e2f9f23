// Helper programs of the host: newuidmap, fuse-overlayfs, pasta and the like.
// Purpose: they run with our privileges, so they are found by a fixed list of directories
// of the host, never by $PATH and never inside an image. Thread-safe.
#pragma once

#include <string>

namespace kasane::exec {

// Absolute path of an executable file, or "" when it is not installed. Looked for in
// /usr/bin, /usr/sbin, /bin, /sbin, /usr/local/bin, /usr/local/sbin, /run/wrappers/bin.
std::string find_helper(const std::string& name);

// Changes with every other version of that file: inode, size and time. "-" when missing.
std::string file_version(const std::string& path);

}  // namespace kasane::exec
