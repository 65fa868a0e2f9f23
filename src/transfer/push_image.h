// An image of the store in the form that leaves it: push, and copy from the store. Internal to
// src/transfer.
#pragma once

#include <string>
#include <vector>

#include "oci/manifest.h"
#include "store/store.h"

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
// What was made for others is kept, so that the next time needs no work. Its layers are all made.
Result<void> keep_manifest(store::Store& store, Outgoing& image);

}  // namespace kasane::transfer
