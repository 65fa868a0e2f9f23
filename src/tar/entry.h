// One member of a layer tar, normalised. OCI image-spec layer.md; pax(1), ustar.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"

namespace kasane::tar {

enum class EntryType : uint8_t {
  kFile = 0,
  kDirectory = 1,
  kSymlink = 2,
  kHardlink = 3,
  kCharDevice = 4,
  kBlockDevice = 5,
  kFifo = 6,
};

struct Xattr {
  std::string name;   // "security.capability"
  std::string value;  // raw bytes
  auto operator<=>(const Xattr&) const = default;
};

struct Entry {
  EntryType type = EntryType::kFile;
  // Relative, no leading or trailing '/', no "." or ".." component, no "//".
  // "" is the root directory itself. Bytes are kept exactly. Whiteouts keep their
  // ".wh." name; see tar/whiteout.h.
  std::string path;
  // kSymlink: the text as written. kHardlink: a normalised path like `path`.
  std::string link_target;
  uint32_t mode = 0644;  // permission bits with setuid/setgid/sticky (07777)
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t size = 0;  // kFile: length of the (expanded, for sparse) content; else 0
  Timespec mtime;
  uint32_t dev_major = 0;  // devices only
  uint32_t dev_minor = 0;
  std::vector<Xattr> xattrs;  // sorted by name, names unique
};

// Order of the canonical writer and of layer indexes: by path components, bytewise,
// so a directory comes right before everything below it ('/' sorts before all other
// bytes). <0, 0, >0.
int compare_paths(std::string_view a, std::string_view b);

}  // namespace kasane::tar
