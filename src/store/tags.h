// What images.cc and tags.cc share.
#pragma once

#include <string>

#include "oci/reference.h"
#include "store/database.h"

namespace kasane::store {

Error no_such_image(const Sha256Digest& image);

// "name:tag" or "name@digest" in canonical form; another spelling would never be found again.
Result<oci::Reference> parse_canonical(const std::string& reference);

// True when the reference names this image and no other of another platform.
Result<bool> names_only(Database& database, const std::string& reference,
                        const Sha256Digest& image);

// Makes the reference name the image alone. REQUIRES: a write transaction.
Result<void> insert_tag(Database& database, const Sha256Digest& image,
                        const std::string& reference);

}  // namespace kasane::store
