// Removing a tag and nothing else, also from registries that delete only manifests.
#pragma once

#include <stop_token>
#include <string>

#include "base/result.h"
#include "registry/pusher.h"
#include "registry/repository.h"

namespace kasane::registry {

// docker-registry and others delete by digest alone, which takes the manifest from all of its tags.
// There the tag is moved to a manifest of its own first, and that one is deleted; whether the
// registry deletes at all is tried before. kNotFound, kUnsupported, kPermission.
// REQUIRES: repository is open_to_change(), both are of the same reference.
Result<void> delete_tag(Repository& repository, Pusher& pusher, const std::string& tag, const std::stop_token& stop);

}  // namespace kasane::registry
