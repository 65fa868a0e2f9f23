// Joining images to the index that a tag has in a registry, while others do the same.
//
// A registry that honours If-Match and If-None-Match on PUT of a manifest (kasane registry serve)
// makes it exact: read, change, write if nobody wrote meanwhile, else again. Whether it does is
// tried on a manifest that is there, where the answer changes nothing.
//
// Most registries ignore conditions, so that a writer who read early can undo what others wrote
// after its reading. There each joiner first leaves a marker, a small index under a tag of its own
// (TAG.join-OS-ARCH) that says what it joins; then it reads the markers, then the index, writes the
// index with all that the markers say, and repeats until it reads what it wants. Whoever undoes
// something finds the marker of it when it looks again after its own writing. The last joiner to
// be done removes the markers. What this rests on: the registry shows a write to every
// later reader, and a joiner that undid something does not die before it looks again (then the next
// joiner of the hour repairs it).
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "oci/json.h"
#include "registry/pusher.h"
#include "registry/repository.h"
#include "transfer/index_edit.h"
#include "transfer/push.h"

namespace kasane::transfer {

// `entries` are in the repository. An image that the tag is until now becomes an entry of the new
// index. `probe`: one of the manifests that the entries name.
// REQUIRES: repository is open_to_change(), both are of the same reference.
Result<Pushed> add_to_index(registry::Repository& repository, registry::Pusher& pusher, const std::string& tag,
                            const std::vector<oci::Json>& entries, const registry::Document& probe,
                            const std::stop_token& stop);

// A joiner's word, as it stands in its marker. Pure; for tests.
struct JoinMarker {
  std::vector<oci::Json> entries;
  std::vector<std::string> replaced;  // digests that the platform had before; any of them gives way
  bool settled = false;               // it will not write the index again
  int64_t seconds = 0;                // since the epoch
  std::string digest, tag;            // of the marker itself, when it was read
};
// Adds what the marker says where the platform is missing or has what it replaced.
void apply_marker(IndexEdit& index, const JoinMarker& marker);

}  // namespace kasane::transfer
