#include "store/layer_rewrite.h"

#include <algorithm>
#include <map>
#include <unordered_set>
#include <utility>

#include "store/layer_contents.h"
#include "store/rootfs_view.h"
#include "tar/path.h"
#include "tar/whiteout.h"

namespace kasane::store {
namespace {

// One member of the new layer.
struct Planned {
  tar::Entry entry;
  const Layer* layer = nullptr;  // files: where the content is
  size_t position = 0;
};

// Sorts and writes. Of several names of one file the first becomes the file, because a
// canonical layer has the target before its links.
class NewLayer {
 public:
  void add(tar::Entry entry) { members_.push_back({std::move(entry), nullptr, 0}); }
  // A name of the file at `position` of `layer`, with the metadata of that file.
  void add_name(std::string path, const Layer* layer, size_t position) {
    Planned planned{layer->index().at(position).to_entry(), layer, position};
    planned.entry.path = std::move(path);
    members_.push_back(std::move(planned));
  }

  template <class Change>
  void for_each(Change change) {
    for (Planned& member : members_) change(member.entry);
  }

  // REQUIRES: all layers added from outlive the call.
  Result<LayerPtr> write(Store& store) {
    std::sort(members_.begin(), members_.end(), [](const Planned& a, const Planned& b) {
      return tar::compare_paths(a.entry.path, b.entry.path) < 0;
    });
    std::unique_ptr<LayerWriter> writer = TRY(new_layer(store));
    for (Planned& member : members_) {
      settle_link(member);
      if (member.entry.type != tar::EntryType::kFile || member.entry.size == 0) {
        TRY(writer->add(member.entry));
        continue;
      }
      ByteSource* content = TRY(contents_of(member.layer).open(member.position));
      const Sha256Digest known = member.layer->index().at(member.position).content;
      TRY_CONTEXT(writer->add_file(member.entry, *content, &known),
                  "write '" + member.entry.path + "'");
    }
    return writer->commit();
  }

 private:
  void settle_link(Planned& member) {
    if (!member.layer || member.entry.type == tar::EntryType::kDirectory) return;
    const auto [first, is_new] =
        names_.try_emplace({member.layer, member.position}, &member.entry.path);
    if (is_new) return;
    member.entry.type = tar::EntryType::kHardlink;
    member.entry.link_target = *first->second;
    member.entry.size = 0;
    member.entry.dev_major = member.entry.dev_minor = 0;
  }
  LayerContents& contents_of(const Layer* layer) {
    std::unique_ptr<LayerContents>& contents = contents_[layer];
    if (!contents) contents = std::make_unique<LayerContents>(*layer);
    return *contents;
  }

  std::vector<Planned> members_;
  std::map<std::pair<const Layer*, size_t>, const std::string*> names_;
  std::map<const Layer*, std::unique_ptr<LayerContents>> contents_;
};

// Position of the file that an entry is (hard links: the file they name).
size_t file_position(const LayerIndex& index, size_t i) {
  if (index.type_at(i) != tar::EntryType::kHardlink) return i;
  return index.find(index.at(i).link_target).value_or(i);
}

// What the new layers hide of everything below them, as paths.
struct Hidden {
  std::unordered_set<std::string> whole;   // the path itself and all below it
  std::unordered_set<std::string> inside;  // what is below the path

  bool by_ancestor(std::string_view path) const {
    if (path.empty()) return false;
    for (std::string_view at = tar::parent_path(path);; at = tar::parent_path(at)) {
      const std::string name(at);
      if (inside.contains(name) || (!at.empty() && whole.contains(name))) return true;
      if (at.empty()) return false;
    }
  }
};

Result<Hidden> collect_hidden(const std::vector<LayerPtr>& layers) {
  Hidden hidden;
  for (const LayerPtr& layer : layers) {
    const LayerIndex& index = layer->index();
    for (size_t i = 0; i < index.size(); ++i) {
      const std::string_view path = index.path_at(i);
      tar::Whiteout whiteout = TRY(tar::classify_whiteout(path));
      if (whiteout.kind == tar::WhiteoutKind::kWhiteout)
        hidden.whole.insert(std::move(whiteout.target));
      else if (whiteout.kind == tar::WhiteoutKind::kOpaque)
        hidden.inside.insert(std::move(whiteout.target));
      else if (whiteout.kind == tar::WhiteoutKind::kNone &&
               index.type_at(i) != tar::EntryType::kDirectory)
        hidden.whole.insert(std::string(path));
    }
  }
  return hidden;
}

bool is_directory(const std::optional<Found>& found) {
  return found && found->type() == tar::EntryType::kDirectory;
}

tar::Entry implicit_directory(std::string path) {
  tar::Entry entry;
  entry.type = tar::EntryType::kDirectory;
  entry.path = std::move(path);
  entry.mode = 0755;
  return entry;
}

}  // namespace

Result<LayerPtr> clamp_layer_times(Store& store, const LayerPtr& layer, int64_t epoch) {
  const LayerIndex& index = layer->index();
  const Timespec limit{epoch, 0};
  bool later = false;
  for (size_t i = 0; i < index.size() && !later; ++i) later = index.at(i).mtime > limit;
  if (!later) return layer;
  NewLayer out;
  for (size_t i = 0; i < index.size(); ++i)
    out.add_name(std::string(index.path_at(i)), layer.get(), file_position(index, i));
  out.for_each([&](tar::Entry& entry) { entry.mtime = std::min(entry.mtime, limit); });
  return out.write(store);
}

Result<LayerPtr> merge_layers(Store& store, const std::vector<LayerPtr>& below,
                              const std::vector<LayerPtr>& layers) {
  const RootfsView base(below);
  const RootfsView merged(layers);
  const Hidden hidden = TRY(collect_hidden(layers));
  NewLayer out;
  const auto add_opaque = [&](const std::string& path) {
    out.add(tar::whiteout_entry(tar::opaque_path(path)));
  };

  if (const std::optional<Found> root = merged.lookup(""); root && !root->implicit)
    out.add_name("", root->layer, root->position);
  if (hidden.inside.contains("") && !base.list("").empty()) add_opaque("");
  TRY(merged.walk("", [&](const Found& found) -> Result<void> {
    if (!found.implicit) out.add_name(found.path, found.layer, found.position);
    if (found.type() != tar::EntryType::kDirectory) return {};
    const bool replaced = hidden.by_ancestor(found.path) || hidden.whole.contains(found.path);
    const bool below_has_it = is_directory(base.lookup(found.path));
    // A directory that no layer lists: without an entry it would get the metadata of the one
    // that it replaces, or not exist when nothing in it is left.
    if (found.implicit && (replaced || !below_has_it)) out.add(implicit_directory(found.path));
    const bool hides = hidden.whole.contains(found.path) || hidden.inside.contains(found.path);
    if (hides && below_has_it && !hidden.by_ancestor(found.path)) add_opaque(found.path);
    return {};
  }));
  for (const std::string& path : hidden.whole)
    if (!hidden.by_ancestor(path) && !merged.lookup(path) && base.lookup(path))
      out.add(tar::whiteout_entry(TRY(tar::whiteout_path(path))));
  return out.write(store);
}

}  // namespace kasane::store
