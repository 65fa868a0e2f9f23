#include "base/random.h"

#include <sys/random.h>

#include <vector>

#include "base/hash.h"

namespace kasane {

std::string random_hex(size_t bytes) {
  std::vector<uint8_t> raw(bytes);
  for (size_t done = 0; done < bytes;) {
    ssize_t n = ::getrandom(raw.data() + done, bytes - done, 0);
    if (n > 0) done += static_cast<size_t>(n);
  }
  return to_hex(raw);
}

}  // namespace kasane
