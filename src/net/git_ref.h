#pragma once
#include <optional>
#include <string>
#include <string_view>
#include "base/result.h"
namespace kasane::net {
struct GitRef { std::string remote; std::string ref; std::string subdir; std::string checksum; std::optional<bool> keep_git_dir; bool submodules = true; bool commit_times = false; bool fetch_by_commit = false; bool is_tag=false, is_branch=false; };
bool looks_like_git(std::string_view text);
Result<GitRef> parse_git_ref(std::string_view text);
bool looks_like_git_context(std::string_view text);
}
