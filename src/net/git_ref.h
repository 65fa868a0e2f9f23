// Grammar of git sources (AD10) and git contexts (X05). Pure; never touches network or disk.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kasane::net {

struct GitRef {
  std::string remote;    // what git is given; without fragment and query of ours
  std::string ref;       // branch, tag, full ref or commit; "" = default branch
  std::string subdir;    // relative, clean, never leaves the tree; "" = all
  std::string checksum;  // commit or a prefix of it, lower case; "" = none
  std::optional<bool> keep_git_dir;
  bool submodules = true;
  bool commit_times = false;     // mtime=commit
  bool fetch_by_commit = false;
  bool is_tag = false;           // ref came as tag=…
  bool is_branch = false;        // ref came as branch=…
  // "repo" of https://host/owner/repo.git
  std::string name() const;
  bool operator==(const GitRef&) const = default;
};

// git://, ssh://, user@host:path, and http(s) URLs whose path ends in .git.
bool looks_like_git(std::string_view text);
// The same, and the deprecated bare "github.com/owner/repo".
bool looks_like_git_context(std::string_view text);

// kInvalid with a sentence: not a git form, two different refs, a subdir that leaves the
// tree, a bad checksum, an unknown or repeated query value, control characters, parts that
// begin with '-'. Accepts the bare github.com form too.
Result<GitRef> parse_git_ref(std::string_view text);

}  // namespace kasane::net
