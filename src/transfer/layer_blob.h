// A layer of the store as one compressed blob, as registries and layouts hold it. Thread-safe.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/compress.h"
#include "base/hash.h"
#include "base/result.h"
#include "oci/manifest.h"
#include "store/store.h"

namespace kasane::transfer {

struct LayerForm {
  Compression compression = Compression::kGzip;
  std::optional<int> level;
  bool force = false;  // compressed bytes of another kind that the store has are not taken
  // Same layer, same text → same bytes: names the form in notes about uploads that broke off.
  std::string text() const;
};

// Blobs of layers that somebody else compresses or has compressed; nullopt: nobody. May be null.
using ReadyBlob = std::function<Result<std::optional<oci::Descriptor>>(const Sha256Digest& diff_id)>;

oci::Descriptor layer_descriptor(std::string_view media_type, const Sha256Digest& digest, uint64_t size);
// The layer as others get it, where the store has it in such a form. OCI's media types.
Result<std::optional<oci::Descriptor>> known_layer_blob(store::Store& store, const Sha256Digest& diff_id,
                                                        const LayerForm& form);
// The same, made now where it is not known. Compressed at most once in the life of the store.
Result<oci::Descriptor> layer_blob(store::Store& store, const Sha256Digest& diff_id, const LayerForm& form);

}  // namespace kasane::transfer
