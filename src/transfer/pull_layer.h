// One layer of a pull: download, verification and index in one pass. Internal to src/transfer.
#pragma once

#include <functional>
#include <stop_token>

#include "base/result.h"
#include "oci/manifest.h"
#include "registry/repository.h"
#include "store/store.h"

namespace kasane::transfer {

struct LayerHooks {
  std::function<void(const std::string& status)> status;
  std::function<void(uint64_t current, uint64_t total)> progress;
};

// Brings a blob from wherever it is: registry::Repository::blob().
using BlobFetch = std::function<Result<void>(const oci::Descriptor&, registry::BlobTarget&,
                                             const std::function<void(int seconds)>& on_retry)>;

// Afterwards the layer `diff_id` and the blob of the descriptor are in the store. kCorrupt when
// the bytes are not those of one of the two digests.
Result<void> pull_layer(store::Store& store, const BlobFetch& fetch, const oci::Descriptor& descriptor,
                        const Sha256Digest& diff_id, const LayerHooks& hooks, const std::stop_token& stop);
Result<void> pull_layer(store::Store& store, registry::Repository& repository,
                        const oci::Descriptor& descriptor, const Sha256Digest& diff_id,
                        const LayerHooks& hooks, const std::stop_token& stop);

// kUnsupported for media types that are no image layer.
Result<void> check_layer_type(const oci::Descriptor& descriptor);

}  // namespace kasane::transfer
