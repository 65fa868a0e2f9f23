// Whiteouts: their names in a layer tar (OCI image-spec layer.md, "Whiteouts"), and their
// form in an overlayfs upper directory (Documentation/filesystems/overlayfs.rst). Reference
// X7, X8. Pure functions, thread-safe.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "tar/entry.h"

struct stat;

namespace kasane::tar {

inline constexpr std::string_view kWhiteoutPrefix = ".wh.";
inline constexpr std::string_view kOpaqueName = ".wh..wh..opq";

enum class WhiteoutKind {
  kNone,      // an ordinary member
  kWhiteout,  // `target` of the layers below is hidden
  kOpaque,    // everything below directory `target` in the layers below is hidden
  kIgnored,   // aufs book-keeping (/.wh..wh.aufs, .plnk, .orph and below); docker skips it too
};

struct Whiteout {
  WhiteoutKind kind = WhiteoutKind::kNone;
  std::string target;  // normalised path; "" is the root (kOpaque only)
};

// `path` is normalised (Entry::path). kInvalid for names that no one may write: ".wh."
// alone, ".wh.." and ".wh..." (they would delete "." or ".."), other ".wh..wh." names, and
// a member below a ".wh." component.
Result<Whiteout> classify_whiteout(std::string_view path);

// The same, and the type must fit: a whiteout is a regular file (or a hard link, which aufs
// made of them); its content means nothing. kInvalid for a directory, symlink, or device.
Result<Whiteout> classify_whiteout(const Entry& entry);

// "a/b" → "a/.wh.b". kUnsupported when the name would be longer than a component may be.
// kInternal for "" (the root cannot be deleted).
Result<std::string> whiteout_path(std::string_view target);
// "a" → "a/.wh..wh..opq"; "" → ".wh..wh..opq".
std::string opaque_path(std::string_view directory);

// A member with everything fixed as BuildKit has it: regular, empty, mode 0, owner 0,
// time 0; so equal deletions give equal bytes.
Entry whiteout_entry(std::string path);

// Overlayfs form. A whiteout is a character device 0:0.
bool is_overlay_whiteout(const struct stat& st);
// A tar member that would turn into a whiteout when created as it is; never create it.
bool is_overlay_whiteout(const Entry& entry);
// A directory with trusted.overlay.opaque or user.overlay.opaque = "y" among its xattrs.
bool is_overlay_opaque(std::span<const Xattr> xattrs);
// Names that steer overlayfs (trusted.overlay.*, user.overlay.*): never stored from a tar
// nor written to one.
bool is_overlay_xattr(std::string_view name);

}  // namespace kasane::tar
