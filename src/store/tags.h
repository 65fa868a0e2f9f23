// What images.cc, tags.cc and the repair share.
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

struct ImageRecord;
// The rows of a new image, without tags. kNotFound when a layer has no record. REQUIRES: a write
// transaction.
Result<void> insert_image_record(Database& database, const ImageRecord& image);

// Makes row and layer list of an image that is recorded say what its config says. kNotFound when
// a layer has no record. REQUIRES: a write transaction.
Result<void> rewrite_image(Database& database, const std::string& config_json);

}  // namespace kasane::store
