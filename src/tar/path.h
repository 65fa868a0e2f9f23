// Member names of layer archives. Reference X1, X19; OCI image-spec layer.md.
// Pure functions, thread-safe.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kasane::tar {

inline constexpr size_t kMaxPathBytes = 4095;      // PATH_MAX without the final NUL
inline constexpr size_t kMaxComponentBytes = 255;  // NAME_MAX

// The Entry::path form of a name found in an archive: leading '/', "." components,
// repeated and trailing '/' are dropped; ".." is resolved lexically, as docker and
// containerd do ("a/../b" → "b"). "", ".", "/" give "" (the root itself). All other bytes
// are kept exactly. kInvalid: a ".." that leaves the root, or a NUL byte. kLimit: too long.
// The error does not name the member; callers add that context.
Result<std::string> normalise_member_path(std::string_view raw);

// True when `path` is already in the form that normalise_member_path() returns.
bool is_normalised_path(std::string_view path);

// "" for a path of one component (and for "").
std::string_view parent_path(std::string_view path);
// Last component; "" for "".
std::string_view base_name(std::string_view path);

}  // namespace kasane::tar
