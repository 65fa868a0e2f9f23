#include "exec/sandbox/id_trouble.h"

#include <algorithm>
#include <cctype>

namespace kasane::exec {
namespace {

constexpr size_t kMaxLine = 1024;

// Calls that fail whatever they are asked for when no second id exists; apt prints them
// when it drops privileges.
constexpr std::string_view kAlone[] = {"setgroups",    "seteuid",          "setegid", "setresuid",
                                       "setresgid",    "initgroups",       "'_apt'",  "user _apt",
                                       "sandbox user", "cannot set groups"};
// chown(2) to an id without mapping is EINVAL; the programs word it so.
constexpr std::string_view kOwner[] = {"chown", "chgrp", "owner", "lchown"};
constexpr std::string_view kErrors[] = {"invalid argument", "einval", "operation not permitted"};

bool any_of(std::string_view line, const auto& words) {
  return std::any_of(std::begin(words), std::end(words), [&](std::string_view word) {
    return line.find(word) != std::string_view::npos;
  });
}

}  // namespace

void IdTrouble::see(std::string_view bytes) {
  while (found_.empty() && !bytes.empty()) {
    const size_t end = bytes.find('\n');
    const std::string_view part = bytes.substr(0, end);
    current_.append(part.substr(0, kMaxLine - std::min(kMaxLine, current_.size())));
    if (end == std::string_view::npos) return;
    bytes.remove_prefix(end + 1);
    judge();
  }
}

void IdTrouble::finish() { judge(); }

void IdTrouble::judge() {
  std::string line = current_;
  std::transform(line.begin(), line.end(), line.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (found_.empty() && (any_of(line, kAlone) || (any_of(line, kOwner) && any_of(line, kErrors))))
    found_ = current_;
  current_.clear();
}

}  // namespace kasane::exec
