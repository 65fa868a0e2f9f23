// `store check` of what is not named by a digest: rows of images and names, records of builds,
// descriptions of cache mounts.
#pragma once

#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "store/store.h"

namespace kasane::store {

// kNotFound: there is no such image (any more).
Result<void> check_image_record(Store& store, const Sha256Digest& id);
// Tags and digests that no command could have written.
Result<std::vector<DamagedObject>> malformed_names(Database& database);
// Build records and cache mounts. Their contents (logs, data/) are nobody's promise.
std::vector<DamagedObject> damaged_small_files(Store& store);

}  // namespace kasane::store
