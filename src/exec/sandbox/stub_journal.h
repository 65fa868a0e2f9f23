// Mount points that the image does not have, made in the layer and taken away again
// (reference B21, B6; BuildKit restores parent times as well).
//
// Creating /etc/hosts in the merged view makes overlayfs copy /etc up into the upper
// directory. The journal remembers each such directory, restores its times before the
// step starts and notes the change time it then has. After the step, when no process of
// it lives, the stubs go, and so does every directory whose change time shows that the
// step never touched it. Used between clone and exec: no allocation. One thread.
#pragma once

#include <sys/stat.h>

#include <string_view>

#include "exec/executor.h"
#include "exec/sandbox/child_support.h"

namespace kasane::exec {

class StubJournal {
 public:
  // root_fd: the merged root (O_RDONLY); upper_fd: the upper directory itself. Both stay
  // open as long as the journal is used.
  // kCopy: root and upper directory are the same; nothing of the image is removed.
  void begin(const Reporter& report, int root_fd, int upper_fd, Storage storage);

  // Creates `name` as an empty file or a directory in the directory `parent_fd`, whose
  // symlink-free path in the image is `parent_path` ("" for the root). Recorded only
  // when that directory lies on the root mount itself.
  void create(const Reporter& report, int parent_fd, std::string_view parent_path, const char* name,
              bool directory);

  // After the last create: restores times, opens the upper side, notes change times.
  void seal(const Reporter& report);

  // Removes what is still an untouched stub. The tree must be quiet. `covered` are
  // names in the upper root that were made before the mount and were never visible.
  void clean_up(const char* const* covered, size_t covered_count);

  // After clean_up: writes the inode (uint64_t) of every directory whose change time moved
  // by our own hands only.
  void write_untouched(int fd) const;

 private:
  static constexpr size_t kMaxDirectories = 256;
  static constexpr size_t kMaxFiles = 128;

  struct Directory {
    size_t parent;
    char name[256];
    bool created;  // ours; otherwise copied up from a lower layer
    int merged_fd;
    int upper_fd;
    timespec mtime;      // to restore before the step (copied-up directories)
    struct stat sealed;  // upper side when the step starts
    struct stat found;   // upper side when the step has ended
  };
  struct File {
    size_t parent;
    char name[256];
  };

  size_t slot_for(const Reporter& report, std::string_view path);
  size_t add_directory(const Reporter& report, size_t parent, std::string_view name, bool created);
  bool remove_if_untouched(const Directory& directory);
  static bool is_untouched(const Directory& directory);
  void unmount_stubs();

  Directory directories_[kMaxDirectories];
  File files_[kMaxFiles];
  size_t directory_count_ = 0;
  size_t file_count_ = 0;
  uint64_t root_mount_id_ = 0;
  bool in_place_ = false;
  bool fuse_ = false;
};

}  // namespace kasane::exec
