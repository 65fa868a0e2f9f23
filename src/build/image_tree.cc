#include "build/image_tree.h"

namespace kasane::build {

SourceEntry source_entry_of(const store::Found& found) {
  SourceEntry source;
  if (found.implicit) {
    source.entry.type = tar::EntryType::kDirectory;
    source.entry.mode = 0755;
  } else {
    store::EntryView view = found.view();
    source.entry = view.to_entry();
    if (view.type == tar::EntryType::kFile) {
      source.content = view.content;
      if (view.size == 0) source.content = sha256(std::string_view());
      // Names of one inode share layer and index position.
      source.link_group_device = reinterpret_cast<uintptr_t>(found.layer);
      source.link_group_inode = found.position + 1;
    }
  }
  source.entry.path = found.path;
  return source;
}

Result<SourcePtr> ImageTree::lookup(std::string_view path) {
  std::optional<store::Found> found = view_.lookup(path);
  if (!found) return SourcePtr();
  return SourcePtr(std::make_shared<const SourceEntry>(source_entry_of(*found)));
}

Result<std::vector<SourcePtr>> ImageTree::children(std::string_view directory) {
  std::vector<SourcePtr> entries;
  for (const std::string& name : view_.list(directory))
    if (SourcePtr entry = TRY(lookup(join_path(directory, name)))) entries.push_back(std::move(entry));
  return entries;
}

Result<std::unique_ptr<ByteSource>> ImageTree::open(const SourceEntry& entry) {
  std::optional<store::Found> found = view_.lookup(entry.entry.path);
  if (!found || found->implicit)
    return Error(ErrorKind::kInternal, "no content for " + entry.entry.path);
  return found->layer->open_content(found->position);
}

Result<Sha256Digest> ImageTree::digest(const SourceEntry& entry) {
  if (entry.content) return *entry.content;
  return Error(ErrorKind::kInternal, "no digest for " + entry.entry.path);
}

}  // namespace kasane::build
