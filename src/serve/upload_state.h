// Private to the storage: what is remembered of an upload between two requests.
#pragma once

#include "serve/storage.h"

namespace kasane::serve {

// The hash of the first `hashed` bytes. A server that was restarted has none and reads the file
// again at the end; the file alone is the truth.
struct Storage::HashState {
  std::optional<ContentHasher> hasher;
  uint64_t hashed = 0;
};

}  // namespace kasane::serve
