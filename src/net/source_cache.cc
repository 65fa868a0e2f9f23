#include "net/source_cache.h"
namespace kasane::net {
Result<HttpSource> SourceCache::http(const std::string&, const HttpSourceOptions&, std::stop_token, const HttpProgress&) { return Error(ErrorKind::kUnsupported, "x"); }
Result<GitSource> SourceCache::git(const GitRef&, bool, const std::string&, const GitOptions&, std::stop_token) { return Error(ErrorKind::kUnsupported, "x"); }
std::string http_source_name(std::string_view) { return {}; }
}
