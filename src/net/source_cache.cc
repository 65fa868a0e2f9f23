#include "net/source_cache.h"
namespace kasane::net {
SourceCache::SourceCache(std::string) {}
Result<HttpSource> SourceCache::http(const std::string&, const HttpSourceOptions&, std::stop_token, const Progress&) { return Error(ErrorKind::kUnsupported, "x"); }
Result<GitSource> SourceCache::git(const GitRef&, bool, const std::string&, const GitOptions&, std::stop_token) { return Error(ErrorKind::kUnsupported, "x"); }
}
