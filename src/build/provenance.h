// Provenance of a build: what it was made from and how, as a SLSA v1 predicate
// (reference T01). The output's writer makes the in-toto statement around it.
#pragma once

#include <vector>

#include "build/deliver.h"

namespace kasane::build {

// Adds the attestation to each image (one for each target of the graph), when the build asked
// for one. Passwords in URLs and addresses of agents never appear; ids of secrets do. mode=max
// adds build arguments, labels and the Dockerfile's steps. kPermission when one of these holds
// the value of a secret.
Result<void> add_provenance(const Delivery& delivery, std::vector<transfer::BuiltPlatform>& images);

}  // namespace kasane::build
