#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>
#include "base/hash.h"
#include "base/result.h"
#include "net/git_ref.h"
namespace kasane::net {
struct HttpSource { std::string file; Sha256Digest digest; uint64_t size = 0; std::string name; std::optional<int64_t> last_modified; };
struct HttpSourceOptions { std::string checksum; std::vector<std::string> headers; };
struct GitSource { std::string directory; std::string commit; };
struct GitOptions { std::string ssh_auth_sock; std::string auth_header; };
using Progress = std::function<void(uint64_t, uint64_t)>;
class SourceCache { public: explicit SourceCache(std::string directory);
  Result<HttpSource> http(const std::string& url, const HttpSourceOptions&, std::stop_token, const Progress& = {});
  Result<GitSource> git(const GitRef&, bool keep_git_dir, const std::string& into, const GitOptions&, std::stop_token);
};
}
