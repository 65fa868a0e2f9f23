// The new mount system calls, for code between clone and exec: no allocation, errors as
// -1 (or false) and errno. Every mount is detached until it is attached to a descriptor.
#pragma once

#include <sys/mount.h>

#include <cstddef>
#include <cstdint>

namespace kasane::exec {

inline constexpr uint64_t kInert = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
inline constexpr uint64_t kReadOnlyInert = kInert | MOUNT_ATTR_RDONLY;

struct Option {
  const char* key;
  const char* value;  // null: a flag
};

// A detached mount of a new file system.
int try_new_filesystem(const char* type, const Option* options, size_t count, uint64_t attributes);

// Puts a detached mount over what target_fd (O_PATH) is.
bool attach(int tree_fd, int target_fd);

// A detached copy of what `path` below dir_fd ("": dir_fd itself) shows, with
// `attributes` added. A final symlink is not followed.
int clone_tree(int dir_fd, const char* path, uint64_t attributes, bool recursive);

}  // namespace kasane::exec
