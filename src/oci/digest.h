// Digest: OCI image-spec descriptor.md "Digests". sha256 is raw base/hash.h Sha256Digest
// everywhere; this type is for text that comes from outside and may name other algorithms.
#pragma once

#include <string>
#include <string_view>

#include "base/hash.h"
#include "base/result.h"

namespace kasane::oci {

// Grammar check, exact length for sha256 and sha512, lower-case hex. kInvalid otherwise;
// kUnsupported for a well-formed digest of an algorithm that kasane cannot verify.
Result<Sha256Digest> parse_sha256(std::string_view text);
bool is_digest(std::string_view text);  // grammar only

}  // namespace kasane::oci
