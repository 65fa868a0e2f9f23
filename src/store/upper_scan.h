// Listing an overlayfs upper directory as layer entries. Internal to store/.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <vector>

#include "base/result.h"
#include "tar/entry.h"

namespace kasane::store {

enum class UpperKind {
  kEntry,         // what the layer will hold
  kWhiteout,      // entry is the ".wh." member
  kOpaqueMarker,  // entry is the ".wh..wh..opq" member; overlayfs has an xattr
  kSocket,        // no layer can hold it
};

struct UpperNode {
  UpperKind kind = UpperKind::kEntry;
  tar::Entry entry;  // a file's xattrs are read with its content
  dev_t device = 0;
  ino_t inode = 0;
  uint64_t links = 1;
  bool opaque = false;   // directories
  bool removed = false;  // not part of the layer
  bool touched = false;  // its time on disk is not entry.mtime
};

// Everything below `root_fd` in compare_paths order, without the root itself. Symlinks are
// not followed. kUnsupported: names that only whiteouts may have, overlayfs features that
// make an upper directory incomplete (redirect_dir, metacopy).
Result<std::vector<UpperNode>> scan_upper(int root_fd);
// The same for a directory that is no upper directory: nothing in it means a deletion. The
// attributes of overlayfs are left out.
Result<std::vector<UpperNode>> scan_plain(int root_fd);

// Metadata of an entry from stat(2), without its type.
void set_metadata(const struct stat& st, UpperNode& node);

// Extended attributes, sorted, without those of the host (security.selinux). `name` null:
// of the descriptor itself, else of the entry of that directory, no link followed.
Result<std::vector<tar::Xattr>> read_xattrs(int fd, const char* name);

// Takes the overlayfs control attributes out; `opaque` (may be null) tells what they said.
Result<void> check_upper_xattrs(std::vector<tar::Xattr>& xattrs, bool* opaque);

}  // namespace kasane::store
