#include "build/source_tree.h"

#include <deque>

namespace kasane::build {
namespace {

constexpr int kMaxLinks = 255;  // as openat2 and Linux's MAXSYMLINKS spirit; reference X21

std::deque<std::string> split_components(std::string_view path) {
  std::deque<std::string> parts;
  size_t begin = 0;
  while (begin <= path.size()) {
    size_t end = path.find('/', begin);
    if (end == std::string_view::npos) end = path.size();
    if (end > begin) parts.emplace_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

}  // namespace

std::string clean_path(std::string_view path) {
  std::vector<std::string> kept;
  for (std::string& part : split_components(path)) {
    if (part == ".") continue;
    if (part == "..") {
      if (!kept.empty()) kept.pop_back();
      continue;
    }
    kept.push_back(std::move(part));
  }
  std::string text;
  for (const std::string& part : kept) {
    if (!text.empty()) text += '/';
    text += part;
  }
  return text;
}

std::string join_path(std::string_view directory, std::string_view name) {
  if (directory.empty()) return std::string(name);
  if (name.empty()) return std::string(directory);
  std::string text(directory);
  text += '/';
  text += name;
  return text;
}

std::string_view base_name(std::string_view path) {
  size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

std::string_view parent_path(std::string_view path) {
  size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

Result<std::optional<std::string>> resolve_in(SourceTree& tree, std::string_view path) {
  std::deque<std::string> pending = split_components(path);
  std::string real;
  int links = 0;
  while (!pending.empty()) {
    std::string part = std::move(pending.front());
    pending.pop_front();
    if (part == ".") continue;
    if (part == "..") {
      real = std::string(parent_path(real));
      continue;
    }
    std::string next = join_path(real, part);
    SourcePtr found = TRY(tree.lookup(next));
    if (!found) return std::optional<std::string>();
    if (found->entry.type != tar::EntryType::kSymlink) {
      real = std::move(next);
      continue;
    }
    if (++links > kMaxLinks)
      return Error(ErrorKind::kInvalid, "too many levels of symbolic links in " + std::string(path));
    const std::string& target = found->entry.link_target;
    if (target.starts_with('/')) real.clear();
    std::deque<std::string> more = split_components(target);
    pending.insert(pending.begin(), more.begin(), more.end());
  }
  return std::optional<std::string>(std::move(real));
}

}  // namespace kasane::build
