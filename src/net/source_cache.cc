#include "net/source_cache.h"
namespace kasane::net {
Result<GitSource> SourceCache::git(const GitRef&, bool, const std::string&, const GitOptions&, std::stop_token) { return Error(ErrorKind::kUnsupported, "x"); }
}
