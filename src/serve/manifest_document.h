// What a registry must know of a manifest or index that is pushed: what it refers to, its subject,
// and what a referrers list says about it. Refuses ambiguous documents (R1, R2), sizes below zero
// (R4) and embedded data that is not what its descriptor says (R6).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "serve/digest.h"

namespace kasane::serve {

inline constexpr size_t kMaxManifest = 4u << 20;

// A descriptor that must be in the repository before the document is accepted.
struct ManifestReference {
  std::string digest;  // in grammar; maybe of an algorithm that nothing can be stored under
  uint64_t size = 0;
  bool is_manifest = false;   // entry of an index
  bool may_be_absent = false;  // non-distributable layer
};

struct ManifestDocument {
  std::string media_type;
  std::string artifact_type;  // artifactType, else the config's type; "" for an index without
  std::string annotations;    // JSON object, or ""
  std::optional<ContentDigest> subject;
  std::vector<ManifestReference> references;

  // content_type: of the request, parameters are ignored; "" when there is none. kInvalid or
  // kUnsupported: to be answered with MANIFEST_INVALID.
  static Result<ManifestDocument> parse(std::string_view bytes, std::string_view content_type);

  // This document's entry in a referrers list.
  std::string referrer_descriptor(const ContentDigest& digest, uint64_t size) const;
};

}  // namespace kasane::serve
