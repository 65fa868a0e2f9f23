// The index that an image came in, when the store has all that it names: pushed whole, so that its
// digest stays. Internal to src/transfer.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "oci/manifest.h"
#include "registry/repository.h"
#include "transfer/push.h"

namespace kasane::transfer {

struct WholeIndex {
  struct Blob {
    oci::Descriptor descriptor;
    Sha256Digest label;  // what its lines are called: a layer's DiffID
  };
  std::vector<registry::Document> documents;  // children before their index, the whole last
  std::vector<Blob> blobs;
};

// nullopt: the image came in no index, or something of it is not here (another platform was never
// pulled). `foreign`: foreign layers are needed as well.
Result<std::optional<WholeIndex>> find_whole_index(store::Store& store, const Sha256Digest& image, bool foreign);

Result<Pushed> push_index(store::Store& store, registry::Pusher& pusher, const oci::Reference& reference,
                          const WholeIndex& whole, const PushOptions& options, const PushEvents& events,
                          const std::stop_token& stop);

}  // namespace kasane::transfer
