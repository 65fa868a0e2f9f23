#include "tar/entry.h"

#include <algorithm>
#include <cstring>

namespace kasane::tar {

int compare_paths(std::string_view a, std::string_view b) {
  const size_t common = std::min(a.size(), b.size());
  size_t i = 0;
  while (i < common && a[i] == b[i]) ++i;
  if (i == common) return a.size() < b.size() ? -1 : a.size() > b.size() ? 1 : 0;
  // Names hold no NUL, so 0 is free for '/', which must sort before everything.
  const int left = a[i] == '/' ? 0 : static_cast<unsigned char>(a[i]);
  const int right = b[i] == '/' ? 0 : static_cast<unsigned char>(b[i]);
  return left < right ? -1 : 1;
}

}  // namespace kasane::tar
