// Image indexes that are put together from others. Entries are kept as JSON, so that members which
// kasane does not know (os.features, artifactType) survive. Pure values.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "oci/json_build.h"
#include "oci/manifest.h"
#include "oci/platform.h"
#include "registry/repository.h"

namespace kasane::transfer {

struct IndexEdit {
  std::string media_type;          // of the original; "" = by what is in it
  std::vector<oci::Json> entries;  // descriptors
  std::map<std::string, std::string> annotations;

  // An index, or a manifest as its only entry. kInvalid.
  static Result<IndexEdit> of(const registry::Document& document, const oci::Platform* platform);

  // buildx's rule: an entry of the same digest is completed, others are appended.
  void add(oci::Json entry);
  // The entry takes the place of what serves exactly its platform, with that image's attestations.
  void join(oci::Json entry);
  // Of the entry that serves exactly the platform; "".
  std::string digest_for(const oci::Platform& platform) const;

  // docker's list when the original was one or all entries are docker's, else an OCI index.
  std::string type() const;
  // `indent` spaces per level; 0: compact.
  std::string serialize(int indent) const;
};

oci::Json entry_for(const registry::Document& document, const oci::Platform* platform);
// nullopt: the entry has none that can be read.
std::optional<oci::Platform> platform_of(const oci::Json& entry);

}  // namespace kasane::transfer
