// copy: images between registries, OCI layouts, archives and the store, byte for byte: manifests
// and blobs keep their digests, an index is copied with all that it names. Nothing goes through
// the store, and no blob is fetched that the destination has. Reference 2.2, 2.3, R21.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "oci/platform.h"
#include "transfer/image_destination.h"
#include "transfer/image_source.h"

namespace kasane::transfer {

struct CopyOptions {
  std::optional<oci::Platform> platform;  // the one image of an index that serves exactly it
  bool all_tags = false;
};

struct CopiedImage {
  std::string source, destination;  // as locations
  Sha256Digest digest;
  std::string media_type;
  uint64_t size = 0;         // of the manifest or index
  bool up_to_date = false;   // nothing had to be done
};

struct CopyResult {
  std::vector<CopiedImage> images;
  CopyCounts counts;
};

struct CopyJob {
  const registry::Surroundings& around;
  Location source, destination;
  CopyOptions options;
  store::Store* store = nullptr;  // when one of the two is in it
  CopyEvents events;
};

// kInvalid when the names do not fit together, kNotFound, kCorrupt, and the errors of both sides.
Result<CopyResult> copy_images(const CopyJob& job, const std::stop_token& stop);

// Down to the image of exactly that platform. kNotFound tells which there are.
Result<registry::Document> choose_image(ImageSource& source, registry::Document document,
                                        const oci::Platform& platform, const std::stop_token& stop);

// All documents that `top` leads to; the plan has no name yet.
Result<CopyPlan> plan_copy(ImageSource& source, registry::Document top, const std::stop_token& stop);

}  // namespace kasane::transfer
