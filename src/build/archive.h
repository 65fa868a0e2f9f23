// ADD of local archives (reference AD1-AD4, AD13): recognised by content, unpacked into the
// plan of the layer. Contents are spooled to one file of the store's ingest area, because
// archives come in their own order and layers are written sorted.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "build/copy.h"
#include "store/store.h"

namespace kasane::build {

// A tar, plain or compressed with gzip, bzip2, xz or zstd, whose first header is readable.
Result<bool> is_archive(SourceTree& tree, const SourceEntry& entry);

// Owns the spooled contents; the plans that add() filled must not outlive it.
class UnpackedArchives {
 public:
  explicit UnpackedArchives(store::Store& store);
  ~UnpackedArchives();
  Result<void> add(LayerPlan& plan, const PendingArchive& archive,
                   const std::optional<Owner>& chown);

 private:
  class Spool;
  store::Store& store_;
  std::unique_ptr<Spool> spool_;
};

}  // namespace kasane::build
