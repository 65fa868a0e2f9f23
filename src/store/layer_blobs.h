// Compressed forms of layers that came with images and are still in blobs/.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "store/store.h"

namespace kasane::store {

struct LayerBlob {
  Sha256Digest digest;     // of the compressed bytes
  uint64_t size = 0;       // bytes of the file
  std::string media_type;  // as the image's manifest says
  std::string path;        // absolute; the caller verifies what it reads
};

// The blob that some image's manifest names for the layer, if it is in the store. The
// smallest image id and manifest digest win, so that equal stores answer equally.
Result<std::optional<LayerBlob>> find_layer_blob(Store& store, const Sha256Digest& diff_id);

// Moves a file of this store's ingest/ to blobs/ under its digest, which the caller computed from
// the bytes. It stays when an image's manifest names it before the store is released.
Result<void> keep_blob_file(Store& store, const std::string& path, const Sha256Digest& digest);

// Blobs of the store that are to stay as long as the image does: an index that it came in, attestations.
Result<void> keep_with_image(Store& store, const Sha256Digest& image, const std::vector<Sha256Digest>& blobs);

}  // namespace kasane::store
