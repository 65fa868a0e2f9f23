#include "store/store_internal.h"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <span>

#include "base/fd.h"
#include "base/hash.h"
#include "base/random.h"

namespace kasane::store {

int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

std::string random_name() { return random_hex(8); }

bool has_objects(const std::string& root) {
  for (const char* folder : {"/layers", "/blobs/sha256"})
    if (Result<std::vector<std::string>> names = list_directory(root + folder);
        names && !names->empty())
      return true;
  return false;
}

Error with_space_hint(Error error) {
  if (error.kind() != ErrorKind::kNoSpace) return error;
  return std::move(error).hint("free some space, for example with `kasane image prune`");
}

}  // namespace kasane::store
