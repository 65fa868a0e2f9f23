// pull: an image from a registry into the store. Layers are downloaded in parallel, and each is
// verified (size, digest, DiffID) and indexed in the pass that downloads it; nothing is unpacked.
// The compressed bytes are kept beside, so that a push sends the very same.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "oci/platform.h"
#include "oci/reference.h"
#include "registry/repository.h"
#include "store/store.h"

namespace kasane::transfer {

// Called one at a time, from any thread.
struct PullEvents {
  // "Pulling fs layer", "Download complete", ... of a layer (12 hex digits of its digest).
  std::function<void(const std::string& id, const std::string& status)> status;
  std::function<void(const std::string& id, uint64_t current, uint64_t total)> progress;
};

struct PullOptions {
  // None: this host's, with the variant that its processor has; else strictly this or what it
  // can run (containerd's order).
  std::optional<oci::Platform> platform;
  bool name_tag = true;  // else the image gets name@digest only
};

struct Pulled {
  Sha256Digest image;
  Sha256Digest digest;      // what the tag or digest meant: of the index when there is one
  bool newer = false;       // the name means another image than before, or is new
  oci::Platform platform;   // of the image
  bool wrong_platform = false;  // a single image of another platform than was asked for
};

// `reference` has a tag or a digest. The image is named name:tag and name@digest (digest alone
// when the reference has one) in one go, after everything is in the store.
Result<Pulled> pull(store::Store& store, registry::Repository& repository,
                    const oci::Reference& reference, const PullOptions& options,
                    const PullEvents& events, const std::stop_token& stop);

}  // namespace kasane::transfer
