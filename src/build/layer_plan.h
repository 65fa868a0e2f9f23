// LayerPlan: what one COPY, ADD or WORKDIR will write, before anything is written: every
// entry of the new layer with its final metadata and where its bytes come from.
//
// The plan is the whole input of the layer, so its digest is the step's cache key: a COPY
// whose plan is the same hits even when the steps before it changed.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "build/source_tree.h"
#include "store/layer.h"
#include "store/rootfs_view.h"

namespace kasane::build {

struct PathLess {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const {
    return tar::compare_paths(a, b) < 0;
  }
};

struct PlannedEntry {
  tar::Entry entry;              // path and metadata as the layer will have them
  SourceTree* tree = nullptr;    // where a file's bytes come from; null when inline_content is used
  SourcePtr source;              // with tree
  std::optional<Sha256Digest> content;  // of a file with `tree`, when known
  std::optional<std::string> inline_content;  // heredocs
  // Files with the same non-zero group become hard links of the first of them (K14: one
  // group per inode and per source of the instruction).
  uint64_t link_group = 0;
  bool from_below = false;       // an existing directory, listed only as parent of a new entry
};

// Entries by path, laid over the root file system that the step starts from. Not thread-safe.
class LayerPlan {
 public:
  // `below` outlives the plan.
  explicit LayerPlan(const store::RootfsView& below) : below_(below) {}

  struct Seen {
    tar::Entry entry;
    bool planned = false;
  };
  // What stands at exactly this path once the plan is applied.
  std::optional<Seen> lookup(std::string_view path) const;
  // Follows symlinks in all components, the last one too; what is missing is appended.
  Result<std::string> resolve(std::string_view path) const;

  // Adds or replaces an entry and lists its existing parents. REQUIRES: parents exist.
  void put(PlannedEntry entry);
  // Drops what was planned below `path` (a directory that is being replaced).
  void erase_below(std::string_view path);
  // Creates `path` and its missing parents as directories with this metadata.
  // kInvalid when a component exists and is not a directory.
  Result<void> make_directories(std::string_view path, const tar::Entry& like);

  const std::map<std::string, PlannedEntry, PathLess>& entries() const { return entries_; }
  std::map<std::string, PlannedEntry, PathLess>& entries() { return entries_; }

 private:
  void put_parents(std::string_view path);
  const store::RootfsView& below_;
  std::map<std::string, PlannedEntry, PathLess> entries_;
};

// Turns link groups into hard links. Call once, when the plan is complete.
void link_groups(LayerPlan& plan);
// Clamps the mtime of everything later than `epoch` seconds.
void clamp_times(LayerPlan& plan, int64_t epoch);

// Digest over all entries without mtimes; reads what is not known yet.
Result<Sha256Digest> plan_digest(LayerPlan& plan);
// What plan_digest() takes of each entry, by path.
Result<std::vector<std::pair<std::string, Sha256Digest>>> entry_digests(LayerPlan& plan);
// True when most bytes of the plan have no known digest: then writing the layer at once and
// learning the digests on the way is one pass instead of two.
bool mostly_unread(const LayerPlan& plan);
// Writes all entries; fills in content digests that were unknown.
Result<void> write_plan(LayerPlan& plan, store::LayerWriter& writer,
                        const std::function<bool()>& cancelled);

}  // namespace kasane::build
