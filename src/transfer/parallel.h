// Several transfers at once. Internal to src/transfer.
#pragma once

#include <cstddef>
#include <functional>
#include <stop_token>

#include "base/result.h"

namespace kasane::transfer {

// Runs work(0..count-1) on that many threads; the first error stops the others and is returned.
Result<void> in_parallel(size_t count, int threads, const std::stop_token& stop,
                         const std::function<Result<void>(size_t, const std::stop_token&)>& work);

}  // namespace kasane::transfer
