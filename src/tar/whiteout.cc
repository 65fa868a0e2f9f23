#include "tar/whiteout.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "tar/path.h"

namespace kasane::tar {
namespace {

constexpr std::string_view kMetaPrefix = ".wh..wh.";

// aufs keeps these in the root of a branch; they came into layers made by old dockers.
bool is_aufs_meta(std::string_view name) {
  return name == ".wh..wh.aufs" || name == ".wh..wh.plnk" || name == ".wh..wh.orph";
}

Error bad_whiteout(std::string_view path, std::string_view why) {
  return Error(ErrorKind::kInvalid,
               "whiteout '" + std::string(path) + "' is not valid: " + std::string(why))
      .hint("no tool writes such a layer; take the image from another source");
}

bool below_whiteout(std::string_view directory) {
  while (!directory.empty()) {
    if (base_name(directory).starts_with(kWhiteoutPrefix)) return true;
    directory = parent_path(directory);
  }
  return false;
}

std::string join(std::string_view directory, std::string_view name) {
  std::string path(directory);
  if (!path.empty()) path += '/';
  path += name;
  return path;
}

}  // namespace

Result<Whiteout> classify_whiteout(std::string_view path) {
  if (path.find(kWhiteoutPrefix) == std::string_view::npos) return Whiteout{};
  if (is_aufs_meta(path.substr(0, path.find('/')))) return Whiteout{WhiteoutKind::kIgnored, {}};
  const std::string_view directory = parent_path(path);
  if (below_whiteout(directory)) return bad_whiteout(path, "it lies below a whiteout name");
  std::string_view name = base_name(path);
  if (!name.starts_with(kWhiteoutPrefix)) return Whiteout{};
  if (name == kOpaqueName) return Whiteout{WhiteoutKind::kOpaque, std::string(directory)};
  if (name.starts_with(kMetaPrefix)) return bad_whiteout(path, "the name is reserved");
  name.remove_prefix(kWhiteoutPrefix.size());
  if (name.empty()) return bad_whiteout(path, "it names nothing");
  if (name == "." || name == "..") return bad_whiteout(path, "it would delete its own directory");
  return Whiteout{WhiteoutKind::kWhiteout, join(directory, name)};
}

Result<Whiteout> classify_whiteout(const Entry& entry) {
  Whiteout whiteout = TRY(classify_whiteout(entry.path));
  const bool deletes =
      whiteout.kind == WhiteoutKind::kWhiteout || whiteout.kind == WhiteoutKind::kOpaque;
  if (deletes && entry.type != EntryType::kFile && entry.type != EntryType::kHardlink)
    return bad_whiteout(entry.path, "it is not a regular file");
  return whiteout;
}

Result<std::string> whiteout_path(std::string_view target) {
  if (target.empty()) return Error(ErrorKind::kInternal, "the root directory cannot be deleted");
  const std::string_view name = base_name(target);
  if (name.starts_with(kWhiteoutPrefix))
    return Error(ErrorKind::kUnsupported, "the deletion of '" + std::string(target) +
                                              "' cannot be stored in a layer: the name is reserved "
                                              "for whiteouts");
  if (name.size() + kWhiteoutPrefix.size() > kMaxComponentBytes ||
      target.size() + kWhiteoutPrefix.size() > kMaxPathBytes)
    return Error(ErrorKind::kUnsupported,
                 "the deletion of '" + std::string(target) +
                     "' cannot be stored in a layer: its name is too long");
  return join(parent_path(target), std::string(kWhiteoutPrefix) + std::string(name));
}

std::string opaque_path(std::string_view directory) { return join(directory, kOpaqueName); }

Entry whiteout_entry(std::string path) {
  Entry entry;
  entry.path = std::move(path);
  entry.mode = 0;
  return entry;
}

bool is_overlay_whiteout(const struct stat& st) {
  return S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0);
}

bool is_overlay_whiteout(const Entry& entry) {
  return entry.type == EntryType::kCharDevice && entry.dev_major == 0 && entry.dev_minor == 0;
}

bool is_overlay_opaque(std::span<const Xattr> xattrs) {
  for (const Xattr& xattr : xattrs)
    if ((xattr.name == "trusted.overlay.opaque" || xattr.name == "user.overlay.opaque") &&
        xattr.value == "y")
      return true;
  return false;
}

bool is_overlay_xattr(std::string_view name) {
  return name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.");
}

}  // namespace kasane::tar
