// Storage without overlayfs: the merged file system of a step as a real copy, and the
// overlayfs-form difference afterwards.
// Purpose: where neither the kernel's overlayfs nor fuse-overlayfs works, RUN still does,
// and the layer it makes is the one that overlayfs would have made. Internal to
// exec/sandbox. Everything is opened relative to directory descriptors without following
// links. To be called where the owners of the trees exist (run_in_mapped_userns).
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace kasane::exec {

// What tells an object of the copy from another one at the same name, and a touched one
// from an untouched one: the kernel sets ctime on every change and nobody can set it back.
struct ObjectMark {
  uint64_t inode = 0;
  int64_t birth_sec = 0, change_sec = 0;
  uint32_t birth_nsec = 0, change_nsec = 0;
  bool same_object(const ObjectMark& other) const {
    return inode == other.inode && birth_sec == other.birth_sec && birth_nsec == other.birth_nsec;
  }
  bool operator==(const ObjectMark&) const = default;
};

// A copied tree as it was before the step.
struct CopiedNode {
  ObjectMark mark;
  bool directory = false;
  std::map<std::string, CopiedNode> children;
};

Result<ObjectMark> mark_of(int directory_fd, const char* name);

// One directory as the layers below show it: its parts, topmost first. Empty where they
// have no such directory.
class MergedDirectory {
 public:
  // `lowers`: lowest first.
  static Result<MergedDirectory> open(const std::vector<std::string>& lowers, bool userxattr);
  static MergedDirectory nothing() { return {}; }
  Result<MergedDirectory> child(const std::string& name) const;
  // What is there, if anything (no whiteout), and in which part.
  struct Found {
    int directory_fd;
    struct stat st;
  };
  Result<std::optional<Found>> find(const std::string& name) const;
  const std::vector<UniqueFd>& parts() const { return parts_; }

 private:
  std::vector<UniqueFd> parts_;
  bool userxattr_ = false;
};

// The merge of `lowers` (lowest first, overlayfs form) into the existing empty directory
// `target`, data shared where the file system can (reflink). Hard links of a layer become
// separate files, because overlayfs breaks them when one name is written to. Returns when
// the clock has moved past the last ctime, so that every later change shows.
Result<CopiedNode> copy_merged(const std::vector<std::string>& lowers, const std::string& target,
                               bool userxattr);

// Moves what differs from `before` out of `root` into the empty directory `upper`, in
// overlayfs form; `root` is of no use afterwards. `untouched`: inodes whose ctime changed
// by our own hands only.
Result<void> move_changes(const std::string& root, const CopiedNode& before,
                          const std::vector<uint64_t>& untouched, const std::string& upper,
                          bool userxattr);

// fuse-overlayfs notes deletions in more than one way, and some that delete nothing; layers
// know the kernel's form alone. `upper_fd`: the upper directory, `below`: what it covers.
Result<void> settle_fuse_upper(int upper_fd, const MergedDirectory& below, bool userxattr);

// Extended attributes of one open object are made those of another, without the marks of
// overlayfs. What the file system refuses (EPERM, ENOTSUP) is left out.
Result<void> copy_xattrs(int from_fd, int to_fd);

// `name` in directory_fd as text that the xattr calls take without following a link.
std::string proc_path(int directory_fd, const std::string& name);
bool is_overlay_xattr_name(std::string_view name);
Result<std::vector<std::string>> directory_names(int fd);

}  // namespace kasane::exec
