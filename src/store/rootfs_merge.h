// How the directories of several layers become one: ranges of the layers' indexes that
// together are one directory, and its visible children. OCI layer.md, "Applying
// Changesets"; overlayfs gives the same for trees. Internal to store/rootfs_view.cc.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/layer.h"

namespace kasane::store::rootfs {

// The entries [begin, end) of one layer that lie below the directory in question.
struct Part {
  const LayerIndex* index = nullptr;
  size_t layer = 0;  // position in the stack, lowest = 0
  size_t begin = 0;
  size_t end = 0;
};

Part root_part(const LayerIndex& index);

// One component further down in one layer.
struct Step {
  std::optional<size_t> position;  // of the entry itself, when it is listed
  Part below;                      // what lies below it; empty when nothing
  bool hides_lower = false;        // a whiteout of it, or its directory is opaque
};
// `prefix` is the length of the directory's path with its slash (0 for the root).
Step step_into(const Part& directory, size_t prefix, std::string_view name);

struct MergedDirectory {
  std::string path;
  std::vector<Part> parts;  // highest layer first
};
// nullopt when there is no such directory (a symlink is none).
std::optional<MergedDirectory> open_directory(const std::vector<LayerPtr>& layers,
                                              std::string_view path);

struct Child {
  std::string_view name;           // points into an index
  size_t layer = 0;                // that shows it
  std::optional<size_t> position;  // none: an implicit directory
  std::vector<Part> parts;         // directories only
};
// Visible children, sorted by name.
std::vector<Child> children_of(const MergedDirectory& directory);

bool has_whiteout_component(std::string_view path);

}  // namespace kasane::store::rootfs
