// Downloads kept below one directory of the store, so that an unchanged source is not moved
// twice. Rows AD6-AD12, X05, X06.
//   <dir>/http/<key>/{lock, meta, body.<sha256>}   one directory per URL and headers
//   <dir>/git/<key>/{lock, repo/}                  one bare repository per remote
//   <dir>/git/home, <dir>/git/known_hosts          what git and ssh see of a user
// Threads and processes may use one cache at once: each entry has a flock, and what is
// complete appears by rename.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "net/git_ref.h"
#include "net/http.h"

namespace kasane::net {

struct HttpSource {
  std::string file;  // path of the body; the caller only reads it, and opens it soon
  Sha256Digest digest;
  uint64_t size = 0;
  std::string name;                      // AD6: http_source_name(url)
  std::optional<int64_t> last_modified;  // Unix seconds; AD7: none means mtime 0
};

struct HttpSourceOptions {
  std::string checksum;              // "sha256:<hex>" or ""
  std::vector<std::string> headers;  // "Name: value"; Authorization is not part of the entry
  uint64_t max_bytes = 8ull << 30;
};

struct GitOptions {
  std::string ssh_auth_sock;  // agent for ssh remotes; "" = no keys at all
  std::string auth_header;    // "Authorization: …" for this http(s) remote (github.com: all of it)
};

struct GitSource {
  std::string directory;  // the checkout (of ref.subdir), inside `into`
  std::string commit;     // full, lower case
};

// Cheap to make; holds no lock between calls. Thread-safe.
class SourceCache {
 public:
  explicit SourceCache(std::string directory) : directory_(std::move(directory)) {}

  // AD8: asks the server each time, with the stored ETags or Last-Modified; AD9: with a
  // checksum whose body is here, no request is made. Errors: those of http_fetch; kNotFound
  // (404, 410), kPermission (401, 403), kNetwork (429, 5xx), kInvalid (other statuses but 2xx;
  // bad checksum); kCorrupt on a mismatch, showing both digests.
  Result<HttpSource> http(const std::string& url, const HttpSourceOptions& options,
                          std::stop_token stop, const HttpProgress& progress = {});

  // Checks `ref` out into the directory `into`, which it makes (its parent exists, it does not).
  // Regular files have mode 0644 or 0755, directories 0755. `.git` (of submodules too) is
  // there only with keep_git_dir or ref.keep_git_dir. kNotFound (ref, subdir, repository),
  // kCorrupt (checksum), kNetwork, kPermission, kUnsupported (no git or ssh), kCancelled.
  // After an error `into` is gone. The caller deletes it in the end.
  Result<GitSource> git(const GitRef& ref, bool keep_git_dir, const std::string& into,
                        const GitOptions& options, std::stop_token stop);

  // Only the commit that `ref` means now, for cache keys without a checkout. A full commit as
  // ref costs no request.
  Result<std::string> git_commit(const GitRef& ref, const GitOptions& options,
                                 std::stop_token stop);

 private:
  std::string directory_;
};

// AD6: the last element of the URL's path, decoded, as Go's path.Base finds it ("/a/" gives
// "a"); "__unnamed__" when there is none.
std::string http_source_name(std::string_view url);

}  // namespace kasane::net
