// Provenance of a build: what it was made from and how, as an in-toto statement with a SLSA v1
// predicate (reference T01).
#pragma once

#include <vector>

#include "build/deliver.h"

namespace kasane::build {

// Adds the attestation to each image, when the build asked for one. Values of secrets and
// addresses of agents never appear; ids do. mode=max adds build arguments, labels and the
// Dockerfile's steps.
void add_provenance(const Delivery& delivery, std::vector<transfer::BuiltPlatform>& images);

}  // namespace kasane::build
