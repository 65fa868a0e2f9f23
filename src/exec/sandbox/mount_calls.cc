#include "exec/sandbox/mount_calls.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace kasane::exec {

int try_new_filesystem(const char* type, const Option* options, size_t count, uint64_t attributes) {
  int context = ::fsopen(type, FSOPEN_CLOEXEC);
  if (context < 0) return -1;
  bool good = true;
  for (size_t i = 0; i < count && good; ++i)
    good =
        ::fsconfig(context, options[i].value != nullptr ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG,
                   options[i].key, options[i].value, 0) == 0;
  good = good && ::fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0;
  int mounted = -1;
  if (good) mounted = ::fsmount(context, FSMOUNT_CLOEXEC, static_cast<unsigned>(attributes));
  int error = errno;
  ::close(context);
  errno = error;
  return mounted;
}

bool attach(int tree_fd, int target_fd) {
  return ::move_mount(tree_fd, "", target_fd, "",
                      MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0;
}

int clone_tree(int dir_fd, const char* path, uint64_t attributes, bool recursive) {
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW;
  if (path[0] == '\0') flags |= AT_EMPTY_PATH;
  if (recursive) flags |= AT_RECURSIVE;
  int tree = ::open_tree(dir_fd, path, flags);
  if (tree < 0) return -1;
  mount_attr attr{};
  attr.attr_set = attributes;
  unsigned set_flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
  if (attributes != 0 && ::mount_setattr(tree, "", set_flags, &attr, sizeof attr) != 0) {
    int error = errno;
    ::close(tree);
    errno = error;
    return -1;
  }
  return tree;
}

}  // namespace kasane::exec
