// ArchiveView: what load() needs of an image archive, whatever its outer form. Internal.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/stream.h"
#include "store/store.h"
#include "tar/entry.h"

namespace kasane::transfer {

// Paths are as the archive's documents write them ("blobs/sha256/...", "x/layer.tar").
class ArchiveView {
 public:
  virtual ~ArchiveView() = default;
  // Content of a small document; nullopt when there is none of that name.
  virtual Result<std::optional<std::string>> document(const std::string& path) = 0;
  // DiffID of the layer at that path; it is in the store when this returns. For a path
  // below blobs/sha256 the bytes were checked against the name.
  virtual Result<Sha256Digest> layer(const std::string& path) = 0;
};

inline constexpr uint64_t kMaxDocumentBytes = 4u << 20;

// Which member of the archive a link in it stands for: old docker archives link repeated layers to
// their first copy.
std::string archive_link_target(const tar::Entry& entry);

// Reads the whole tar once: keeps the small documents, imports what can be a layer.
Result<std::unique_ptr<ArchiveView>> read_tar_archive(store::Store& store, ByteSource& tar);
// An OCI layout directory, read on demand.
Result<std::unique_ptr<ArchiveView>> open_layout_directory(store::Store& store,
                                                           const std::string& path);

}  // namespace kasane::transfer
