// Small helpers that the files of the store core share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace kasane::store {

int64_t now_ns();           // wall clock, nanoseconds since the epoch
std::string random_name();  // 16 hex digits

// Whether there are layers or blobs. With no database, or an empty one, it was lost.
bool has_objects(const std::string& root);

// Adds the way out to a kNoSpace error; others pass unchanged.
Error with_space_hint(Error error);

}  // namespace kasane::store
