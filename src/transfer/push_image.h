// An image of the store in the form that leaves it: push, and copy from the store. Internal to
// src/transfer.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "oci/manifest.h"
#include "store/store.h"
#include "transfer/compressed_layer.h"

namespace kasane::transfer {

// One image on its way.
struct Outgoing {
  Sha256Digest id;
  oci::Platform platform;
  std::string config_json;
  std::vector<Sha256Digest> diff_ids;
  oci::Manifest manifest;    // its layers are filled in as they are made
  std::string manifest_json;
  bool kept = false;         // the manifest came with the image
};

Result<Outgoing> read_image(store::Store& store, const Sha256Digest& id);
oci::Descriptor layer_descriptor(std::string_view media_type, const Sha256Digest& digest, uint64_t size);
// The layer as others get it, where the store has it in such a form. OCI's media types.
Result<std::optional<oci::Descriptor>> known_layer_blob(store::Store& store, const Sha256Digest& diff_id);
// The same, made now where it is not known. Compressed at most once in the life of the store.
Result<oci::Descriptor> layer_blob(store::Store& store, const Sha256Digest& diff_id, const LayerForm& form);
// What was made for others is kept, so that the next time needs no work. Its layers are all made.
Result<void> keep_manifest(store::Store& store, Outgoing& image);

}  // namespace kasane::transfer
