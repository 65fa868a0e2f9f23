#include "tar/path.h"

#include <algorithm>

namespace kasane::tar {
namespace {

Error escapes() { return Error(ErrorKind::kInvalid, "the name leaves the root with '..'"); }

}  // namespace

Result<std::string> normalise_member_path(std::string_view raw) {
  if (raw.find('\0') != std::string_view::npos)
    return Error(ErrorKind::kInvalid, "the name contains a NUL byte");
  std::string path;
  path.reserve(std::min(raw.size(), kMaxPathBytes + 1));
  size_t at = 0;
  while (at < raw.size()) {
    const size_t slash = std::min(raw.find('/', at), raw.size());
    const std::string_view part = raw.substr(at, slash - at);
    at = slash + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (path.empty()) return escapes();
      const size_t cut = path.rfind('/');
      path.resize(cut == std::string::npos ? 0 : cut);
      continue;
    }
    if (part.size() > kMaxComponentBytes)
      return Error(ErrorKind::kLimit, "a component of the name is longer than " +
                                          std::to_string(kMaxComponentBytes) + " bytes");
    if (!path.empty()) path += '/';
    path += part;
    if (path.size() > kMaxPathBytes)
      return Error(ErrorKind::kLimit,
                   "the name is longer than " + std::to_string(kMaxPathBytes) + " bytes");
  }
  return path;
}

bool is_normalised_path(std::string_view path) {
  if (path.empty()) return true;
  if (path.size() > kMaxPathBytes || path.find('\0') != std::string_view::npos) return false;
  size_t at = 0;
  for (;;) {
    const size_t slash = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, slash - at);
    if (part.empty() || part == "." || part == ".." || part.size() > kMaxComponentBytes)
      return false;
    if (slash == path.size()) return true;
    at = slash + 1;
  }
}

std::string_view parent_path(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

std::string_view base_name(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

}  // namespace kasane::tar
