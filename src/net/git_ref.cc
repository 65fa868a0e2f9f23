#include "net/git_ref.h"
namespace kasane::net {
bool looks_like_git(std::string_view t) { return t.starts_with("git://") || t.ends_with(".git"); }
bool looks_like_git_context(std::string_view t) { return looks_like_git(t); }
Result<GitRef> parse_git_ref(std::string_view t) { GitRef r; r.remote = t; return r; }
}
