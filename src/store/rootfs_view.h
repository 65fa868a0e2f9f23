// RootfsView: the merged root file system of a stack of layers, answered from indexes
// alone (whiteouts, opaque directories, type changes as OCI layer.md and overlayfs say).
// Nothing is mounted. Immutable; thread-safe.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "store/layer.h"

namespace kasane::store {

// One visible entry: which layer, which index position. A hard link is reported as the
// file that it names (same layer), with its own path.
struct Found {
  const Layer* layer = nullptr;
  size_t position = 0;        // of the entry that has the content and metadata
  std::string path;           // the visible path (no leading '/')
  bool implicit = false;      // a parent directory that no layer lists: 0755 root, mtime 0
  EntryView view() const;     // REQUIRES: !implicit
  tar::EntryType type() const;
};

// Of a stack (lowest first) the layers whose trees a mount needs: those below a layer with
// an opaque root are left out. overlayfs itself does not look for the marker on the root
// of a lower directory (checked on Linux 6.18), so nobody else would hide them.
std::vector<LayerPtr> mounted_layers(const std::vector<LayerPtr>& layers);

class RootfsView {
 public:
  explicit RootfsView(std::vector<LayerPtr> layers);  // lowest first
  const std::vector<LayerPtr>& layers() const { return layers_; }

  // Exactly this path, no symlink followed. nullopt when hidden or absent. "" is the root.
  std::optional<Found> lookup(std::string_view path) const;

  // Follows symlinks in all components as a chroot would ("..", absolute targets
  // included), the last one too when follow_last. Result: the real path. Parents that do not exist
  // give kNotFound unless allow_missing, then the rest is appended literally
  // (cleaned). kInvalid with ELOOP text after 255 links.
  Result<std::string> resolve(std::string_view path, bool follow_last, bool allow_missing) const;

  // Visible children of a real directory path, sorted by name (names only, no path).
  std::vector<std::string> list(std::string_view directory) const;

  // Visits `directory`'s visible entries below it, depth first, parents before children,
  // compare_paths order. The callback's error stops the walk and is returned.
  Result<void> walk(std::string_view directory,
                    const std::function<Result<void>(const Found&)>& visit) const;

  // Content of a small regular file after resolve(); kNotFound, kLimit, kInvalid.
  Result<std::string> read_file(std::string_view path, uint64_t max_bytes) const;

 private:
  std::vector<LayerPtr> layers_;
};

}  // namespace kasane::store
