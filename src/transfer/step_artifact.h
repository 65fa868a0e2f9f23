// A cached build step in a registry: one OCI manifest for each step key, under a tag made from the
// key, so that no two writers ever change the same document (reference Q09). Layout:
//   config    application/vnd.kasane.step.config.v1+json: key, DiffID, when and what
//   layers[0] the step's layer, as in an image
//   layers[1] the layer's index (compressed with zstd), with which the next steps are looked up
//             while the layer stays where it is
// The small ones are carried inside the manifest too (descriptor.md "data"): a lookup is one request.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/hash.h"
#include "base/result.h"
#include "oci/manifest.h"
#include "registry/pusher.h"
#include "registry/repository.h"
#include "store/layer.h"

namespace kasane::transfer {

struct StepRecord {
  Sha256Digest key;
  Sha256Digest diff_id;
  int64_t created_ns = 0;
  std::string name;  // for people: "[builder 2/4] RUN npm ci"
};

struct StepArtifact {
  StepRecord step;
  oci::Descriptor layer;
  std::optional<oci::Descriptor> index;
};

// "k1-<64 hex digits>": a tag by every registry's rules.
std::string step_tag(const Sha256Digest& key);

// nullopt: the repository has none. kCorrupt and kInvalid: what is there is no artifact of this
// step; kNetwork, kPermission: the repository cannot be read.
Result<std::optional<StepArtifact>> find_step_artifact(registry::Repository& repository, const Sha256Digest& key,
                                                       const std::stop_token& stop);

// The layer's index as the artifact tells it (store/remote_layer.h); nullptr when it tells none
// that this kasane reads.
Result<std::shared_ptr<const store::LayerIndex>> step_layer_index(store::Store& store,
                                                                  registry::Repository& repository,
                                                                  const StepArtifact& artifact,
                                                                  const std::stop_token& stop);

struct StepPushOptions {
  // Gives the layer's blob in the store; afterwards the layer itself is there as well.
  std::function<Result<oci::Descriptor>(const Sha256Digest& diff_id)> layer_blob;
  bool replace = false;  // what has the tag is known to be of no use
};
// False: it was there already. Layer first, the tag last.
Result<bool> push_step_artifact(store::Store& store, registry::Pusher& pusher, const StepRecord& step,
                                const store::Layer& layer, const StepPushOptions& options,
                                const std::stop_token& stop);

}  // namespace kasane::transfer
