// push: images of the store to a registry. Layers that were pulled go as the very bytes that came;
// others are compressed once, sent while that goes on, and kept. Blobs first, manifests before their index, the tag last.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/compress.h"
#include "base/result.h"
#include "oci/platform.h"
#include "oci/reference.h"
#include "registry/pusher.h"
#include "store/store.h"
#include "transfer/layer_blob.h"
#include "transfer/outputs.h"

namespace kasane::transfer {

// Called one at a time, from any thread. Ids: 12 digits of a layer's DiffID.
struct PushEvents {
  std::function<void(const std::string& id, const std::string& status)> status;
  std::function<void(const std::string& id, uint64_t current, uint64_t total)> progress;
};

struct PushOptions {
  std::optional<oci::Platform> platform;  // only this one of a tag that names several
  Compression compression = Compression::kGzip;
  std::optional<int> level;
  bool nondistributable = false;  // sends foreign layers as well
};

struct Pushed {
  Sha256Digest digest;  // of the manifest, or of the index
  uint64_t size = 0;    // its bytes
  std::string media_type;
  std::string descriptor_json = {};  // with annotations; of push_built() only
};

// `reference` has a tag. kNotFound: "tag does not exist: X:T".
Result<Pushed> push(store::Store& store, registry::Pusher& pusher, const oci::Reference& reference,
                    const PushOptions& options, const PushEvents& events, const std::stop_token& stop);

// What a build made, as its output says: annotations, attestations, docker's media types, by digest
// alone (then the tag of `reference` is not touched). Its images are in the store.
Result<Pushed> push_built(store::Store& store, registry::Pusher& pusher, const oci::Reference& reference,
                          const std::vector<BuiltPlatform>& built, const ExportOptions& output,
                          const ReadyBlob& ready, const PushEvents& events, const std::stop_token& stop);

}  // namespace kasane::transfer
