// What is done to a checkout after git made it: modes, times, and git's own files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace kasane::net {

struct TidyOptions {
  bool keep_git_dir = false;            // else every ".git" is removed
  std::optional<int64_t> mtime;         // Unix seconds for all entries
};

// Modes 0644, 0755 and, for directories, 0755, whatever the umask was. Never follows a link.
Result<void> tidy_checkout(const std::string& directory, const TidyOptions& options);

// The directory `subdir` of the checkout, all of whose parts are real directories (BuildKit
// refuses links too). kNotFound; kInvalid for links and files.
Result<std::string> resolve_subdir(const std::string& checkout, const std::string& subdir);

}  // namespace kasane::net
