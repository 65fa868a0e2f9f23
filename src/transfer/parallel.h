// Several transfers at once. Internal to src/transfer.
#pragma once

#include <cstddef>
#include <functional>
#include <stop_token>
#include <vector>

#include "base/result.h"

namespace kasane::transfer {

// Gets the token that is stopped when another job failed or the caller stops.
using Job = std::function<Result<void>(const std::stop_token& stop)>;

// Runs the jobs, begun in their order, at most `limit` at once. The first error ends the others
// and is returned; kCancelled when `stop` came first and a job was left out for it.
Result<void> run_jobs(const std::vector<Job>& jobs, size_t limit, const std::stop_token& stop);

}  // namespace kasane::transfer
