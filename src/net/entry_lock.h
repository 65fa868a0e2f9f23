// The flock of one entry of the cache. Freed by the kernel when its process ends.
#pragma once

#include <stop_token>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace kasane::net {

// Waits for the exclusive lock on `path` (made when missing) until the stop. The holder may be
// downloading for minutes, so there is no time limit. The returned fd holds the lock.
Result<UniqueFd> lock_entry(const std::string& path, const std::stop_token& stop);

}  // namespace kasane::net
