// One blob on its way into a repository: a session that continues after a break, also in the next
// process. Bodies go as one stream, with a length when it is known, in chunks of the transfer
// encoding while the blob is still being made; a server that finds it too large (413) gets it in
// several requests, none below its OCI-Chunk-Min-Length. Reference 2.1, 2.3, R22.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/hash.h"
#include "base/result.h"
#include "base/stream.h"
#include "registry/client.h"

namespace kasane::registry {

struct BlobEnd {
  Sha256Digest digest;
  uint64_t size = 0;
};

// The bytes of a blob, from any place: a broken upload continues where the registry stands.
class UploadSource {
 public:
  virtual ~UploadSource() = default;
  virtual Result<std::unique_ptr<ByteSource>> open(uint64_t offset) = 0;
};

// A blob that is still being made: its bytes come when they are there (a read waits), and what it
// is called is known at its end.
class GrowingSource : public UploadSource {
 public:
  virtual std::optional<BlobEnd> end_if_known() = 0;  // does not wait
  virtual Result<BlobEnd> end() = 0;                  // waits; the error of the maker
};

struct UploadHooks {
  std::function<void(uint64_t current)> progress;
  std::function<void(int seconds)> on_retry;
  // The session's URL, whenever it changes; "" = the session is over. Whoever keeps it can give it
  // to the next run as `session`.
  std::function<void(const std::string& url)> session_changed;
  std::string session;
};

// One upload; used once, by one thread.
class Upload {
 public:
  // Everything is borrowed. `growing` is null when `end` is known.
  Upload(Client& client, UploadSource& source, GrowingSource* growing, std::optional<BlobEnd> end,
         const UploadHooks& hooks, std::stop_token stop);

  // Afterwards the registry said that it took the blob, and a HEAD found it there.
  Result<void> run();

 private:
  struct Session {
    std::string url;
    uint64_t offset = 0;
  };
  Result<void> begin();
  Result<void> resume(const std::string& url);
  Result<ApiAnswer> send_rest();
  Result<ApiAnswer> patch(std::optional<uint64_t> bytes);
  Result<ApiAnswer> finish(uint64_t bytes);
  // What to do about an answer that is no success. True: another try may help.
  bool may_retry(const ApiAnswer& answer, int tries);
  void remember(const std::string& url);
  ApiRequest request(const std::string& method, const std::string& path) const;

  Client& client_;
  UploadSource& source_;
  GrowingSource* growing_;
  std::optional<BlobEnd> end_;
  const UploadHooks& hooks_;
  std::stop_token stop_;
  std::optional<Session> session_;
  bool continued_ = false;         // the session has bytes of another request
  uint64_t min_chunk_ = 0;         // of this registry, for all but the last
  std::optional<uint64_t> chunk_;  // bytes of one request; nullopt: no limit is known
};

// A request to the client's repository with the right to push.
ApiRequest push_request(const Client& client, const std::string& method, const std::string& path);
// docker's words for a push that the registry does not take.
Error push_refused(const ApiAnswer& answer, Client& client);
Result<bool> repository_has_blob(Client& client, const Sha256Digest& digest, const std::stop_token& stop);

}  // namespace kasane::registry
