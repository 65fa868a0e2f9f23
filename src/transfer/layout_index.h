// index.json of an OCI layout directory: names are added under a lock, by a rename. Internal to
// src/transfer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/manifest.h"

namespace kasane::transfer {

inline constexpr std::string_view kLayoutFile = "{\"imageLayoutVersion\":\"1.0.0\"}";

// The blobs are in place and synced. A new entry takes the place of those with the same names; one
// with a ref.name alone, of all with that ref.name; one without a name, of the same image without
// a name. Entries and members that kasane does not know stay. Makes oci-layout when it is missing.
Result<void> name_in_layout(const std::string& directory, const std::vector<oci::Descriptor>& entries);

}  // namespace kasane::transfer
